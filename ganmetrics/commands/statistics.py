"""`ganmetrics stats` saves the statistics of a source; `ganmetrics merge` joins those of shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ganmetrics.commands.options import (
    EPILOG,
    MEASURING,
    SEED,
    metric_names,
    print_remarks,
    require_generator,
    with_options,
)
from ganmetrics.printable import printable
from ganmetrics.runtime import launcher

if TYPE_CHECKING:
    from ganmetrics.statistics.files import StatisticsFile


@click.command(epilog=EPILOG, short_help="Save the statistics of SOURCE in a file")
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="FILE", help="An .npz; pytorch-fid can read it too.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option(
    "-m",
    "--metric",
    "metrics",
    multiple=True,
    callback=metric_names,
    metavar="NAME",
    help="What the file is to serve; repeat it, or use commas.  [default: fid]",
)
@click.option(
    "--keep",
    type=click.Choice(["moments", "vectors"]),
    help="Keep the vectors too, for KID, PRDC, intervals and so on.  [default: what the metrics need]",
)
@click.option(
    "--for",
    "tool",
    type=click.Choice(["adm"]),
    help="A reference file for guided-diffusion: moments for FID and sFID, and 10,000 images.",
)
@with_options(MEASURING, [SEED])
def stats(
    source: str,
    output: str,
    overwrite: bool,
    metrics: list[str],
    keep: str | None,
    tool: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Save the statistics of SOURCE in a file that can replace it wherever they are enough."""
    if tool and (metrics or keep):
        raise click.UsageError("--for adm says what is kept; leave out --metric and --keep")
    from ganmetrics.measurement.settings import Settings
    from ganmetrics.runtime.distributed import processes
    from ganmetrics.sharding import adm_reference, shared_stats
    from ganmetrics.statistics.files import require_writable, write

    require_generator(options["n_samples"], source)
    with processes(launcher.size() > 1) as group:
        # Checked before the slow part; only rank 0 writes.
        group.first(lambda: require_writable(output, overwrite=overwrite))
        settings, images = Settings(progress=not quiet, **options), dict[str, Any]()
        if tool is None:
            file = shared_stats(source, settings, group, metrics or ["fid"], keep=keep)
        else:
            file, images = adm_reference(source, settings, group)
        group.first(lambda: write(output, file, overwrite=overwrite, images=images))
    _tell(output, file)


def _tell(output: str, file: StatisticsFile) -> None:
    """Say what was written, and what was noticed."""
    plain = [part.holding for part in file.parts] == ["moments of features"]
    held = [] if plain else [f" ({', '.join(part.holding for part in file.parts)})"]
    count = "an unknown number of" if file.count is None else file.count
    features = file.protocol.get("features") or "features unknown"
    click.echo(f"{printable(output)}: {count} images, {file.dim} dimensions, {features}{''.join(held)}")
    print_remarks(file.protocol.get("warnings") or [], file.protocol.get("skipped") or [])


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
    click.echo(f"{printable(output)}: {file.count} images from {len(files)} files")
    print_remarks(file.protocol.get("warnings") or [], file.protocol.get("skipped") or [])
