"""`ganmetrics weights list|path|fetch|verify`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ganmetrics.commands.console import Commands
from ganmetrics.errors import GanMetricsError
from ganmetrics.printable import printable


@click.group(cls=Commands, short_help="Find, fetch and verify the extractors' weights")
def weights() -> None:
    """Find, fetch and verify the weights of the extractors."""


@weights.command("list")
def weights_list() -> None:
    """Every weights file, whether it is here, and where."""
    from ganmetrics.features import weights as w

    for name, entry in w.WEIGHTS.items():
        try:
            found = w.find_weights(entry, download=False)
            state = f"{found.path} ({found.origin}, SHA-256 verified)"
        except GanMetricsError as error:
            wrong = os.environ.get("GANMETRICS_WEIGHTS") and str(error)
            state = wrong or f"not here; `ganmetrics weights fetch {name}` downloads it"
        click.echo(printable(f"{name}  {entry.filename}  {entry.licence}  {state}"))
    click.echo(f"efficientnet-lite0  {w.embedded_efficientnet_lite0().name}  embedded, no download")


@weights.command("path")
@click.argument("name", default="inception")
def weights_path(name: str) -> None:
    """Print where the file is; fails where it is not here."""
    from ganmetrics.features import weights as w

    click.echo(w.find_weights(w.by_name(name), download=False).path)


@weights.command("fetch")
@click.argument("name", default="inception")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def weights_fetch(name: str, quiet: bool) -> None:
    """Download into the cache, unless a verified file is here already."""
    from ganmetrics.features import weights as w

    found = w.find_weights(w.by_name(name), progress=not quiet)
    click.echo(printable(f"{found.path} ({found.origin}, SHA-256 verified)"))


@weights.command("verify", short_help="Compare the SHA-256 of a file with the published one")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--name", default="inception", show_default=True, help="The weights it should be.")
def weights_verify(path: Path | None, name: str) -> None:
    """Compare the SHA-256 of PATH (or of the file that would be used) with the published one."""
    from ganmetrics.errors import WeightsError
    from ganmetrics.features import weights as w

    entry = w.by_name(name)
    target = path or w.find_weights(entry, download=False).path
    sha256, official = w.verify(target, entry)
    if not official:
        raise WeightsError(f"{target}: expected SHA-256 {entry.sha256} ({name}), got {sha256}")
    click.echo(printable(f"{target}: SHA-256 {sha256}, the official {name} file"))
