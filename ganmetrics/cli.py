"""`ganmetrics COMMAND ...`: parses, calls, prints. Scores go to stdout; progress, warnings and errors to stderr.

torch is imported inside the commands, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ganmetrics.cli_cache import cache
from ganmetrics.cli_options import EPILOG, MEASURING, print_remarks, with_options
from ganmetrics.cli_parzen import parzen
from ganmetrics.cli_reconstruction import reconstruction
from ganmetrics.cli_report import report
from ganmetrics.cli_scores import COMMANDS as SCORE_COMMANDS
from ganmetrics.console import CONTEXT, Commands, run
from ganmetrics.errors import GanMetricsError
from ganmetrics.text import printable
from ganmetrics.version import __version__


@click.group(cls=Commands, context_settings=CONTEXT, epilog=EPILOG)
@click.version_option(__version__, prog_name="ganmetrics")
def cli() -> None:
    """GAN evaluation metrics whose numbers say how they were measured."""


for _command in SCORE_COMMANDS:
    cli.add_command(_command)
cli.add_command(parzen)
cli.add_command(reconstruction)
cli.add_command(report)
cli.add_command(cache)


@cli.command(epilog=EPILOG)
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="FILE", help="An .npz; pytorch-fid can read it too.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@with_options(MEASURING)
def stats(source: str, output: str, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Keep the statistics of SOURCE in a file that stands for it in `fid` and `merge`."""
    from ganmetrics.sharding import stats
    from ganmetrics.statistics.files import require_writable, write

    require_writable(output, overwrite=overwrite)
    file = stats(source, progress=not quiet, **options)
    write(output, file, overwrite=overwrite)
    held = f"{file.moments.count} images, {file.moments.dim} dimensions, {file.protocol['features']}"
    click.echo(f"{printable(output)}: {held}")
    print_remarks(file.protocol["warnings"], file.protocol["skipped"])


@cli.command()
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="FILE", help="An .npz.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
def merge(files: tuple[str, ...], output: str, overwrite: bool) -> None:
    """Join the statistics FILES of shards; the result equals one pass over the whole."""
    from ganmetrics.sharding import merge
    from ganmetrics.statistics.files import require_writable, write

    require_writable(output, overwrite=overwrite)
    file = merge(files)
    write(output, file, overwrite=overwrite)
    click.echo(f"{printable(output)}: {file.moments.count} images from {len(files)} files")
    print_remarks(file.protocol["warnings"], file.protocol["skipped"])


@cli.group()
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


@weights.command("verify")
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
        raise WeightsError(f"{target}: expected SHA-256 {entry.sha256} ({name}), came {sha256}")
    click.echo(printable(f"{target}: SHA-256 {sha256}, the official {name} file"))


def main() -> None:
    """The console script."""
    run(cli, "ganmetrics")
