"""`ganmetrics cache`: lists and clears the cached statistics of reference images. Imports no torch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ganmetrics.commands.console import Commands
from ganmetrics.printable import printable
from ganmetrics.runtime.memory import size

if TYPE_CHECKING:
    from ganmetrics.measurement.cache_files import Listed

HEAD = ("source", "features", "kept", "images", "size", "last used")
RIGHT = {3, 4}
DAY = 86_400


@click.group(cls=Commands, short_help="List or clear cached statistics of real images")
def cache() -> None:
    """List or clear the cached statistics of reference images."""


@cache.command("list")
def cache_list() -> None:
    """List every entry, the most recently used first."""
    from ganmetrics.measurement import cache_files as entries

    listed = entries.listed()
    rows = [HEAD, *(_row(entry) for entry in listed)] if listed else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [c.rjust(w) if i in RIGHT else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        click.echo("  ".join(cells).rstrip())
    total = size(sum(entry.nbytes for entry in listed))
    usage = f"{_count(len(listed))}, {total} of at most {size(entries.limit())}"
    click.echo(printable(f"{usage}, in {entries.folder()}"))


def _row(entry: Listed) -> tuple[str, ...]:
    about = entry.about
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
    if not about:
        return ("cannot be read", "-", "-", "-", size(entry.nbytes), used)
    images = str(about["summary"]["n_images"])
    kind = about["statistic"].lower()
    return (printable(str(about["source"])), str(about["features"]), kind, images, size(entry.nbytes), used)


@cache.command("clear")
@click.option(
    "--older-than", type=click.FloatRange(0), metavar="DAYS", default=0.0, help="Only entries not used for that long."
)
def cache_clear(older_than: float) -> None:
    """Remove all entries, or those not used for DAYS days. Weights are kept."""
    from ganmetrics.measurement import cache_files as entries

    n, nbytes = entries.clear(older_than * DAY)
    click.echo(printable(f"removed {_count(n)}, {size(nbytes)}, from {entries.folder()}"))


def _count(n: int) -> str:
    return f"{n} {'entry' if n == 1 else 'entries'}"
