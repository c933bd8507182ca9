"""`ganmetrics COMMAND ...`: parses, calls, prints. Scores go to stdout; progress, warnings and errors to stderr.

torch, which takes seconds to import, is imported inside the commands, so that `--help` and completion are fast.
"""

from __future__ import annotations

import click

from ganmetrics.commands import scores
from ganmetrics.commands.cache import cache
from ganmetrics.commands.console import CONTEXT, Commands, run
from ganmetrics.commands.options import EPILOG
from ganmetrics.commands.parzen import parzen
from ganmetrics.commands.reconstruction import reconstruction
from ganmetrics.commands.report import report
from ganmetrics.commands.statistics import merge, stats
from ganmetrics.commands.weights import weights
from ganmetrics.metrics.index import OF_IMAGES
from ganmetrics.runtime import launcher
from ganmetrics.version import __version__

SHARED = {"stats", *(command.name for command in scores.COMMANDS)}


class Launched(Commands):
    """With several processes, all of them run the commands in SHARED; only rank 0 runs any other command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        resolved = super().resolve_command(ctx, args)
        if launcher.rank() and resolved[0] not in SHARED:
            ctx.exit()
        return resolved


COMMANDS = (*scores.COMMANDS, parzen, reconstruction, stats, merge, report, weights, cache)
SECTIONS = {
    "Scores of FAKE against REAL": [*(name for name, entry in OF_IMAGES.items() if "real" in entry.sides), "evaluate"],
    "Scores of FAKE alone": [name for name, entry in OF_IMAGES.items() if "real" not in entry.sides],
    "Scores of a generator": ["parzen", "reconstruction"],
    "Statistics": ["stats", "merge"],
    "Weights and cache": ["weights", "cache"],
    "Reports": ["report"],
}


@click.group(cls=Launched, sections=SECTIONS, context_settings=CONTEXT, epilog=EPILOG)
@click.version_option(__version__, prog_name="ganmetrics")
def cli() -> None:
    """GAN evaluation metrics whose numbers say how they were measured."""


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """The console script."""
    with launcher.one_voice():
        run(cli, "ganmetrics")
