"""docs/reference_models.md is executed: its Python runs, its commands exist, its new variant trains."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reference_models.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def help_of(words: list[str]) -> str:
    """`--help` of the command that `words` begin with."""
    import click

    from reference_models.cli import cli

    command: click.Command = cli
    context = click.Context(cli, info_name="reference-models")
    for word in words:
        if not isinstance(command, click.Group) or (found := command.get_command(context, word)) is None:
            break
        command, context = found, click.Context(found, info_name=word, parent=context)
    return command.get_help(context)


def test_the_python_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    exec(compile(blocks("python")[0], "reference_models.md", "exec"), namespace)
    assert tuple(namespace["images"].shape) == (100, 1, 8, 8)


def test_commands_and_options_exist() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    checked = 0
    for words in (shlex.split(line, comments=True) for line in lines):
        if words and words[0] == "reference-models":
            listed = help_of(words[1:])
            assert all(word in listed for word in words if word.startswith("--")), words
            checked += 1
    assert checked >= 10
