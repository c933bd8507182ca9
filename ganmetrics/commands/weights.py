"""`ganmetrics weights list|path|fetch|verify`: the weights files of the extractors."""

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
    """List every weights file, and where it is if it is installed."""
    from ganmetrics.features import weights as w

    for name, entry in w.WEIGHTS.items():
        try:
            file = w.find_weights(entry, download=False)
            state = f"{file.path} ({file.origin}, SHA-256 verified)"
        except GanMetricsError as error:
            # With GANMETRICS_WEIGHTS set, the error says what is wrong with that path.
            problem = os.environ.get("GANMETRICS_WEIGHTS") and str(error)
            state = problem or f"not here; `ganmetrics weights fetch {name}` downloads it"
        click.echo(printable(f"{name}  {entry.filename}  {entry.licence}  {state}"))
    click.echo(f"efficientnet-lite0  {w.embedded_efficientnet_lite0().name}  embedded, no download")


@weights.command("path")
@click.argument("name", default="inception")
def weights_path(name: str) -> None:
    """Print the path of the file; fails if it is not installed."""
    from ganmetrics.features import weights as w

    click.echo(w.find_weights(w.by_name(name), download=False).path)


@weights.command("fetch")
@click.argument("name", default="inception")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def weights_fetch(name: str, quiet: bool) -> None:
    """Download into the cache, unless a verified file is installed."""
    from ganmetrics.features import weights as w

    file = w.find_weights(w.by_name(name), progress=not quiet)
    click.echo(printable(f"{file.path} ({file.origin}, SHA-256 verified)"))


@weights.command("verify", short_help="Compare the SHA-256 of a file with the published one.")
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
