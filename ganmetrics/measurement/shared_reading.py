"""Reading of one source by several processes: each reads a range of images, rank 0 joins the results in order.

Ranges begin and end between two batches. So every batch holds the same images as in a single process, and the vectors
are identical to the last bit.
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
    """What a process reports of its range of images, before it sends the statistics themselves."""

    summary: dict[str, Any]
    statistics: list[dict[str, Any]]
    shapes: list[torch.Size | None]


def borders(n_images: int, batch_size: int, size: int) -> list[int]:
    """The first image of each of `size` processes, and the number of images: `size + 1` numbers."""
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
    """`extract`, shared by all processes of the group; rank 0 gets the summary and the statistics of all images.

    Rank 0 reads alone what cannot be divided: a stream, or any source with `watchers`.

    statistics: those that the feeds fill, in the same order in every process.

    Raises ProcessError if the processes see different images under the same name, and what `extract` raises.
    """

    def read(part: ImageSource) -> Summary:
        stop_on_failure: list[Callable[[Tensor], None]] = [lambda stack: group.glance()] if group.size > 1 else []
        return extract(
            part, feeds, batch_size=batch_size, num_workers=num_workers, on_error=on_error, progress=progress,
            label=label, watchers=[*watchers, *stop_on_failure],
        )  # fmt: skip

    if group.size == 1:
        return read(source)
    starts = borders(source.n_images or 0, batch_size, group.size)
    _require_same(source, starts, group)
    start, stop = starts[group.rank : group.rank + 2]
    part = None if watchers or source.n_images is None else source.part(start, stop)
    if part is None and group.rank == 0:
        part, start, stop = source, 0, 1  # read as one part; `stop` only has to be above `start`
    summary = Summary()

    def read_part() -> PartReport:
        nonlocal summary
        summary = read(part) if part is not None and start < stop else summary
        as_dict = summary.to_dict()
        as_dict["left_out"] = summary.left_out = [start + index for index in summary.left_out]
        shapes = [extractor.shape for extractor in feeds if isinstance(extractor, Pixels)]
        return PartReport(as_dict, [description(statistic) for statistic in statistics], shapes)

    reports = group.agree(read_part)
    _require_one_shape(reports, feeds)
    if group.rank:
        for statistic in statistics:
            give(statistic, group.send)
        return summary
    for rank, report in enumerate(reports[1:], 1):
        for statistic, about in zip(statistics, report.statistics, strict=True):
            take(statistic, about, partial(group.receive, rank=rank))
        summary.join(Summary.from_dict(report.summary, source))
    require_images(source, summary)
    return summary


def _require_one_shape(reports: Sequence[PartReport], feeds: Feeds) -> None:
    """Raises StatisticsError if an extractor of pixels saw images of different shapes in different processes."""
    pixels = [extractor for extractor in feeds if isinstance(extractor, Pixels)]
    for i, extractor in enumerate(pixels):
        extractor.shape = None
        for shape in (report.shapes[i] for report in reports):
            if shape is not None:
                extractor.require(shape)


def _require_same(source: ImageSource, starts: Sequence[int], group: Alone) -> None:
    """Raises ProcessError unless all processes see as many images, with the same names where the parts begin."""
    names = []
    if isinstance(source, IndexedSource):
        names = [source.where(start) for start in starts if start < source.count]
    seen = group.agree(lambda: (source.n_images, names))
    for rank, (n_images, _) in enumerate(seen):
        if seen[rank] != seen[0]:
            difference = "others" if n_images == seen[0][0] else f"{n_images}"
            raise ProcessError(
                f"{source.name}: process 0 sees {seen[0][0]} images there, and process {rank} {difference}; every "
                "machine needs the same, in a folder that they share or in copies"
            )
