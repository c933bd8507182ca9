"""`ganmetrics stats` saves the statistics of a source; `ganmetrics merge` joins those of shards."""

from __future__ import annotations

from typing import Any

import click

from ganmetrics.commands.options import EPILOG, MEASURING, print_remarks, with_options
from ganmetrics.printable import printable
from ganmetrics.runtime import launcher


@click.command(epilog=EPILOG, short_help="Save the statistics of SOURCE in a file")
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="FILE", help="An .npz; pytorch-fid can read it too.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@with_options(MEASURING)
def stats(source: str, output: str, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Save the statistics of SOURCE in a file that can replace it in `fid` and `merge`."""
    from ganmetrics.measurement.settings import Settings
    from ganmetrics.runtime.distributed import processes
    from ganmetrics.sharding import shared_stats
    from ganmetrics.statistics.files import require_writable, write

    with processes(launcher.size() > 1) as group:
        # Checked before the slow part; only rank 0 writes.
        group.first(lambda: require_writable(output, overwrite=overwrite))
        file = shared_stats(source, Settings(progress=not quiet, **options), group)
        group.first(lambda: write(output, file, overwrite=overwrite))
    contents = f"{file.moments.count} images, {file.moments.dim} dimensions, {file.protocol['features']}"
    click.echo(f"{printable(output)}: {contents}")
    print_remarks(file.protocol["warnings"], file.protocol["skipped"])


@click.command(short_help="Join the statistics files of shards")
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
