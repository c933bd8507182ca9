"""Opens the sides of a measurement, checks them before anything slow begins, and reads each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
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
from ganmetrics.metrics.base import Metric
from ganmetrics.printable import printable
from ganmetrics.runtime.distributed import Alone
from ganmetrics.statistics import files
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.transfer import Statistic


def open_side(name: str, source: Any, measurements: Sequence[Measurement], settings: Settings) -> Side:
    """A side from a statistics file if that is enough for every metric, else from images.

    A file may hold both, as the reference batches of ADM do.

    Raises StatisticsError if there are only statistics and a metric needs images, SourceError if nothing can be opened.
    """
    over_side = [measurement.metric for measurement in of_side(measurements, name)]
    image_metrics = [metric.name for metric in over_side if name not in metric.moments_serve]
    if image_metrics and isinstance(source, (files.StatisticsFile, Moments)):
        raise StatisticsError(f"{image_metrics[0]}: needs the {name} images themselves, got statistics without them")
    if isinstance(source, files.StatisticsFile):
        return Side(name, source, file=source, summary=_summary_from_file(source))
    if isinstance(source, Moments):
        return Side(name, source, file=files.StatisticsFile(source))
    if not image_metrics and files.is_statistics_file(source):
        file = files.load(source)
        return Side(name, source, file=file, summary=_summary_from_file(file))
    try:
        return Side(name, source, opened=settings.open(source))
    except SourceError as error:
        if image_metrics and files.is_statistics_file(source):
            raise StatisticsError(
                f"{image_metrics[0]}: needs the {name} images themselves, and {printable(str(source))} holds "
                "statistics without them"
            ) from error
        raise


def _summary_from_file(file: files.StatisticsFile) -> Summary:
    """The sizes and formats of its images that a statistics file records."""
    sizes = {tuple(size): n for size, n in file.protocol.get("sizes") or []}
    return Summary(sizes=Counter(sizes), formats=Counter(file.protocol.get("formats") or {}))


def check(measurements: Sequence[Measurement], sides: Sequence[Side]) -> None:
    """Raises what would make scores impossible, before any image is read.

    Raises StatisticsError for sides measured differently, fewer images than a metric needs, or different classes;
    OptionError for images without classes if a metric needs them.
    """
    for measurement in measurements:
        metric = measurement.metric
        own = [side for side in sides if side.name in metric.sides]
        common_protocol(measurement, own)
        if metric.labelled and own:  # a metric over fakes alone has no part in a real side that is read first
            metric.require_classes({side.name: _labels(metric, side) for side in own})
    require_counts(measurements, {side.name: count for side in sides if (count := _count(side)) is not None})


def _count(side: Side) -> int | None:
    """The number of images; None if it is known only after reading."""
    if side.file is not None:
        return side.file.moments.count
    return None if side.opened is None else side.opened.n_images


def _labels(metric: Metric, side: Side) -> list[str]:
    labels = side.labels
    if labels is None:
        raise OptionError(
            f"{metric.name}: expected {side.name} images with classes (a folder of class folders, or a "
            f"dataset), and {side.opened.name if side.opened else side.source} has none{_outside(side.opened)}"
        )
    return labels


def _outside(source: ImageSource | None) -> str:
    """For the message: how many images lie beside the class folders, and the first of them."""
    if not isinstance(source, IndexedSource):
        return ""
    names = [source.where(i) for i in range(source.count)]
    folders = [name.rpartition("/")[0] for name in names]
    top = min(folders, key=len)
    outside = [name for name, folder in zip(names, folders, strict=True) if folder == top]
    if len(outside) == len(names):
        return ""
    subject = "1 image lies" if len(outside) == 1 else f"{len(outside)} images lie"
    return f": {subject} outside of its class folders, such as {outside[0]}"


def fill(
    side: Side,
    wanted: Sequence[Need],
    settings: Settings,
    watchers: Sequence[Callable[[Tensor], None]] = (),
    group: Alone | None = None,
) -> None:
    """Fill the statistics of a side: from the cache where possible, the rest in one pass over the images.

    A side from a statistics file is left as it is.

    wanted: the needs, without duplicates.
    watchers: called with every stack of images `(b, C, H, W)` read, in order.
    group: processes that share the reading; afterwards rank 0 has the statistics.
    """
    if side.file is not None:
        return
    group = group or Alone()
    side.opened = side.opened or settings.open(side.source)
    skip = settings.on_error == "skip"
    use_cache = settings.cache and group.rank == 0  # only rank 0 has the statistics of all images
    cache = ReferenceCache(side, wanted, enabled=use_cache, skip=skip, progress=settings.progress)
    # All processes compute the same needs. Indices are sent because a Need holds an extractor.
    indices = group.first(lambda: [wanted.index(need) for need in cache.missing])
    missing = [wanted[index] for index in indices]
    if missing or watchers:
        consumers = feeds(side, missing)
        side.summary = extract_parts(
            side.opened,
            consumers,
            [side.statistic_for(need) for need in missing],
            group,
            batch_size=batch_size_for(consumers, settings.batch_size),
            num_workers=settings.num_workers,
            on_error=settings.on_error,
            progress=settings.progress and group.rank == 0,
            label=side.name,
            watchers=watchers,
        )
    if use_cache:
        cache.keep()


def feeds(side: Side, wanted: Sequence[Need]) -> Feeds:
    """For each extractor and tap, the `update` methods of the statistics of these needs, each statistic once.

    Raises StatisticsError for statistics from a file that would be updated with vectors of several feature spaces.
    """
    by_tap: dict[Extractor, dict[str, dict[Statistic, None]]] = {}
    if side.file is not None and len({(need.extractor, need.tap) for need in wanted}) > 1:
        raise StatisticsError(
            f"{side.name}: statistics from a file are of one feature space, and the metrics read several; "
            "give the images, or measure each feature space on its own"
        )
    for need in wanted:
        by_tap.setdefault(need.extractor, {}).setdefault(need.tap, {})[side.statistic_for(need)] = None
    return {
        extractor: {tap: [statistic.update for statistic in statistics] for tap, statistics in taps.items()}
        for extractor, taps in by_tap.items()
    }
