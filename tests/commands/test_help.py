"""The help of both command lines: every command in one section, every line whole at the width of a plain terminal."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

import ganmetrics.cli
import reference_models.cli
from tests.helpers.commands import Cli, Ran

GROUPS = {"ganmetrics": ganmetrics.cli.cli, "reference-models": reference_models.cli.cli}


def groups(command: click.Command, name: str) -> Iterator[tuple[str, click.Group]]:
    """A group and those below it, with what is typed to reach them."""
    if isinstance(command, click.Group):
        yield name, command
        context = click.Context(command)
        for child in command.list_commands(context):
            below = command.get_command(context, child)
            assert below is not None
            yield from groups(below, f"{name} {child}")


ALL = [pair for name, group in GROUPS.items() for pair in groups(group, name)]


@pytest.mark.parametrize(("name", "group"), ALL, ids=[name for name, _ in ALL])
def test_no_line_of_a_list_of_commands_is_cut(name: str, group: click.Group) -> None:
    text = group.get_help(click.Context(group, info_name=name, terminal_width=80))
    assert "..." not in text.replace("[ARGS]...", "")
    assert max(map(len, text.splitlines())) <= 90
    context, lines = click.Context(group), [line.split() for line in text.splitlines()]
    for child in group.list_commands(context):
        command = group.get_command(context, child)
        assert command is not None
        assert [child, *command.get_short_help_str(200).split()] in lines  # on one line, whole


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_every_command_stands_in_one_section(group: click.Group) -> None:
    shown = [name for names in group.sections.values() for name in names]  # type: ignore[attr-defined]
    assert sorted(shown) == sorted(group.commands)


def test_help_of_every_command(cli: Cli):
    for command in ((), ("fid",), ("is",), ("stats",), ("merge",), ("weights",), ("weights", "verify")):
        ran = cli(*command, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith(" ".join(("Usage: ganmetrics", *command)))
    assert cli("--version") == Ran(0, f"ganmetrics, version {ganmetrics.__version__}\n", "")
