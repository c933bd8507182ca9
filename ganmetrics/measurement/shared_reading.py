"""A source read by several processes, a run of consecutive images each, and what they saw put together in that order.

Where one part ends another begins, at a border between batches, so that every batch holds the images that it would
hold in one process and the vectors are the same bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ganmetrics.errors import ProcessError
from ganmetrics.features.extract import Feeds, extract
from ganmetrics.features.pixels import Pixels
from ganmetrics.images import ImageSource, Summary, require_images
from ganmetrics.images.base import IndexedSource
from ganmetrics.runtime.distributed import Alone
from ganmetrics.statistics.transfer import Statistic, description, give, take


@dataclass(frozen=True)
class PartReport:
    """What a process says of its part before it hands over the numbers."""

    summary: dict[str, Any]
    statistics: list[dict[str, Any]]
    shapes: list[torch.Size | None]


def borders(n_images: int, batch_size: int, size: int) -> list[int]:
    """Where the parts of `size` processes begin, and the end."""
    batches = -(-n_images // batch_size)
    return [min(n_images, batches * rank // size * batch_size) for rank in range(size + 1)]


def extract_parts(
    source: ImageSource,
    feeds: Feeds,
    statistics: Sequence[Statistic],
    group: Alone,
    *,
    batch_size: int,
    num_workers: int | None,
    on_error: Literal["fail", "skip"],
    progress: bool,
    label: str,
    watchers: Sequence[Callable[[Tensor], None]] = (),
) -> Summary:
    """`extract`, shared by all processes of the group; in the first of them summary and statistics are of the whole.

    What cannot be divided (a stream, or images that are watched on the way) the first reads alone.
    `statistics` are those that the feeds fill, in one order everywhere.

    Raises ProcessError where the processes see different images under one name, and what `extract` raises.
    """

    def read(part: ImageSource) -> Summary:
        stop: list[Callable[[Tensor], None]] = [lambda stack: group.glance()] if group.size > 1 else []
        return extract(
            part, feeds, batch_size=batch_size, num_workers=num_workers, on_error=on_error, progress=progress,
            label=label, watchers=[*watchers, *stop],
        )  # fmt: skip

    if group.size == 1:
        return read(source)
    found = borders(source.n_images or 0, batch_size, group.size)
    _require_same(source, found, group)
    start, stop = found[group.rank : group.rank + 2]
    part = None if watchers or source.n_images is None else source.part(start, stop)
    if part is None and group.rank == 0:
        part, start, stop = source, 0, 1
    summary = Summary()

    def told() -> PartReport:
        nonlocal summary
        summary = read(part) if part is not None and start < stop else summary
        held = summary.to_dict()
        held["left_out"] = summary.left_out = [start + place for place in summary.left_out]
        shapes = [extractor.shape for extractor in feeds if isinstance(extractor, Pixels)]
        return PartReport(held, [description(one) for one in statistics], shapes)

    summary_of = group.agree(told)
    _join(summary_of, feeds)
    if group.rank:
        for one in statistics:
            give(one, group.send)
        return summary
    for rank, theirs in enumerate(summary_of[1:], 1):
        for one, about in zip(statistics, theirs.statistics, strict=True):
            take(one, about, partial(group.receive, rank=rank))
        summary.join(Summary.from_dict(theirs.summary, source))
    require_images(source, summary)
    return summary


def _join(told: Sequence[PartReport], feeds: Feeds) -> None:
    """Images of one shape, where that is asked for, in all parts. Raises StatisticsError."""
    pixels = [extractor for extractor in feeds if isinstance(extractor, Pixels)]
    for place, extractor in enumerate(pixels):
        extractor.shape = None
        for shape in (one.shapes[place] for one in told):
            if shape is not None:
                extractor.require(shape)


def _require_same(source: ImageSource, found: Sequence[int], group: Alone) -> None:
    names = []
    if isinstance(source, IndexedSource):
        names = [source.where(place) for place in found if place < source.count]
    seen = group.agree(lambda: (source.n_images, names))
    for rank, theirs in enumerate(seen):
        if theirs != seen[0]:
            what = "others" if theirs[0] == seen[0][0] else f"{theirs[0]}"
            raise ProcessError(
                f"{source.name}: process 0 sees {seen[0][0]} images there, and process {rank} {what}; every machine "
                "needs the same, in a folder that they share or in copies"
            )
