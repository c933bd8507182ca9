"""Shared by both command lines: an error is printed as one line, Ctrl-C is exit code 130. Imports no torch."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import IO, Any

import click

from ganmetrics.errors import GanMetricsError
from ganmetrics.printable import printable, reason_of

NO_MEMORY = "not enough memory; use a smaller --batch-size, a smaller network or fewer workers"
CONTEXT = {"help_option_names": ["--help", "-h"], "max_content_width": 110}


class NoCommand(click.UsageError):
    """A group was called without a command; the message is its help."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, file=file, err=True)


class Commands(click.Group):
    """A group whose help lists its commands in sections.

    It also changes two answers of click: an empty line at Ctrl-C, and, before 8.2, exit code 0 without a command.

    sections: the names of the commands under each heading, in the order shown.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sections = sections or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        width = max(map(len, commands))  # aligns the second columns of all sections
        for heading, names in (self.sections or {"Commands": list(commands)}).items():
            shown = [(name, command) for name in names if (command := commands[name]) is not None]
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), command.get_short_help_str(200)) for name, command in shown])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            raise NoCommand(ctx.get_help(), ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


def run(cli: click.Command, name: str) -> None:
    """Run the command line called `name` and exit."""
    if sys.stderr is None:  # closed by the caller; the score can still go to stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # warnings of other packages; ours are part of the score
    try:
        code = cli.main(prog_name=name, standalone_mode=False)
    except GanMetricsError as error:
        code = fail(f"Error: {' '.join(str(error).split())}", 1)
    except MemoryError:
        code = fail(f"Error: {NO_MEMORY}", 1)
    except (click.Abort, KeyboardInterrupt):
        if sys.stderr.isatty():
            click.echo(err=True)  # the terminal has printed ^C on this line
        code = fail("Interrupted: nothing was written.", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except RuntimeError as error:
        if "out of memory" in str(error) or "can't allocate memory" in str(error):  # of torch, on a GPU or a CPU
            sys.exit(fail(f"Error: {NO_MEMORY}", 1))
        if "home directory" not in str(error):
            raise
        code = fail("Error: this user has no home directory; set HOME, or GANMETRICS_CACHE and TORCH_HOME", 1)
    except OSError as error:  # a full disk, a removed device; click handles a closed pipe itself
        code = fail(f"Error: {f'{error.filename}: ' if error.filename else ''}{reason_of(error)}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def fail(line: str, code: int) -> int:
    """Print one line on stderr. Returns the exit code."""
    click.echo(printable(line), err=True)
    return code
