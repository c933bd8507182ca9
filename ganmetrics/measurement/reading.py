"""The two sides of a comparison: opened, checked before hours are spent on them, and read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

from ganmetrics.errors import OptionError, SourceError, StatisticsError
from ganmetrics.features.extract import Feeds, batch_size_for
from ganmetrics.features.extractor import Extractor
from ganmetrics.images import ImageSource, Summary
from ganmetrics.images.base import IndexedSource
from ganmetrics.measurement.comparability import common_protocol
from ganmetrics.measurement.measurement import Measurement, of_side, require_counts
from ganmetrics.measurement.need import Need
from ganmetrics.measurement.reference_cache import ReferenceCache
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.shared_reading import extract_parts
from ganmetrics.measurement.side import Side
from ganmetrics.printable import printable
from ganmetrics.runtime.distributed import Alone
from ganmetrics.statistics import files
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.transfer import Statistic


def open_side(name: str, source: Any, measurements: Sequence[Measurement], settings: Settings) -> Side:
    """A statistics file where every metric can live on one (a file may hold images beside: ADM's), else images.

    Raises StatisticsError for statistics alone where a metric needs more, SourceError for what cannot be opened.
    """
    in_need = [one.metric.name for one in of_side(measurements, name) if name not in one.metric.moments_serve]
    if in_need and isinstance(source, (files.StatisticsFile, Moments)):
        raise StatisticsError(f"{in_need[0]}: needs the {name} images themselves, got statistics without them")
    if isinstance(source, files.StatisticsFile):
        return Side(name, source, file=source, summary=_remembered(source))
    if isinstance(source, Moments):
        return Side(name, source, file=files.StatisticsFile(source))
    if not in_need and files.is_statistics_file(source):
        file = files.load(source)
        return Side(name, source, file=file, summary=_remembered(file))
    try:
        return Side(name, source, opened=settings.open(source))
    except SourceError as error:
        if in_need and files.is_statistics_file(source):
            raise StatisticsError(
                f"{in_need[0]}: needs the {name} images themselves, and {printable(str(source))} holds statistics "
                "without them"
            ) from error
        raise


def _remembered(file: files.StatisticsFile) -> Summary:
    """What a statistics file tells of its images, as if they had just been read."""
    sizes = {tuple(size): n for size, n in file.protocol.get("sizes") or []}
    return Summary(sizes=Counter(sizes), formats=Counter(file.protocol.get("formats") or {}))


def check(measurements: Sequence[Measurement], sides: Sequence[Side]) -> None:
    """What would make the scores impossible, before hours are spent on them.

    Raises StatisticsError for sides measured in unlike ways, for fewer images than a metric takes and for unlike
    classes; OptionError for images without the classes that a metric is over.
    """
    for one in measurements:
        own = [side for side in sides if side.name in one.metric.sides]
        common_protocol(one, own)
        if one.metric.labelled:
            one.metric.require_classes({side.name: _labels(one, side) for side in own})
    require_counts(measurements, {side.name: count for side in sides if (count := _count(side)) is not None})


def _count(side: Side) -> int | None:
    """How many images it has, where that is known before they are read."""
    if side.file is not None:
        return side.file.moments.count
    return None if side.opened is None else side.opened.n_images


def _labels(measurement: Measurement, side: Side) -> list[str]:
    labels = side.labels
    if labels is None:
        raise OptionError(
            f"{measurement.metric.name}: expected {side.name} images with classes (a folder of class folders, or a "
            f"dataset), and {side.opened.name if side.opened else side.source} has none{_outside(side.opened)}"
        )
    return labels


def _outside(source: ImageSource | None) -> str:
    """Of images beside class folders, how many and the first."""
    if not isinstance(source, IndexedSource):
        return ""
    names = [source.where(i) for i in range(source.count)]
    folders = [name.rpartition("/")[0] for name in names]
    top = min(folders, key=len)
    outside = [name for name, folder in zip(names, folders, strict=True) if folder == top]
    if len(outside) == len(names):
        return ""
    lie = "1 image lies" if len(outside) == 1 else f"{len(outside)} images lie"
    return f": {lie} outside of its class folders, such as {outside[0]}"


def fill(
    side: Side,
    wanted: Sequence[Need],
    settings: Settings,
    watchers: Sequence[Callable[[Tensor], None]] = (),
    group: Alone | None = None,
) -> None:
    """Take a side's statistics for all needs: out of the cache, the others in one pass over the images.

    wanted: each need once; a side from a file has what there is already.
    watchers: called with every stack of images `(b, C, H, W)` read, in order.
    group: processes that share the images; the first of them has the statistics in the end.
    """
    if side.file is not None:
        return
    group = group or Alone()
    side.opened = side.opened or settings.open(side.source)
    skip = settings.on_error == "skip"
    here = settings.cache and group.rank == 0
    cache = ReferenceCache(side, wanted, enabled=here, skip=skip, progress=settings.progress)
    places = group.first(lambda: [wanted.index(need) for need in cache.missing])
    missing = [wanted[place] for place in places]
    if missing or watchers:
        fed = feeds(side, missing)
        side.summary = extract_parts(
            side.opened,
            fed,
            [side.statistic_for(need) for need in missing],
            group,
            batch_size=batch_size_for(fed, settings.batch_size),
            num_workers=settings.num_workers,
            on_error=settings.on_error,
            progress=settings.progress and group.rank == 0,
            label=side.name,
            watchers=watchers,
        )
    if here:
        cache.keep()


def feeds(side: Side, wanted: Iterable[Need]) -> Feeds:
    """Which statistics of a side take in which vectors, each statistic once."""
    taking: dict[Extractor, dict[str, dict[Statistic, None]]] = {}
    for need in wanted:
        taking.setdefault(need.extractor, {}).setdefault(need.tap, {})[side.statistic_for(need)] = None
    return {
        extractor: {tap: [statistic.update for statistic in statistics] for tap, statistics in taps.items()}
        for extractor, taps in taking.items()
    }
