"""Opens the sides of a measurement, checks them before anything slow begins, and reads each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features.extract import Feeds, batch_size_for
from ganmetrics.features.extractor import Extractor
from ganmetrics.images import Summary
from ganmetrics.measurement import choice
from ganmetrics.measurement.class_remarks import come_later, labels_by_side
from ganmetrics.measurement.comparability import common_protocol
from ganmetrics.measurement.measurement import Measurement, of_side, require_counts
from ganmetrics.measurement.need import Need
from ganmetrics.measurement.reference_cache import ReferenceCache
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.shared_reading import extract_parts
from ganmetrics.measurement.side import Side
from ganmetrics.measurement.vectors import vectors_of
from ganmetrics.metrics import METRICS
from ganmetrics.runtime.distributed import Alone
from ganmetrics.statistics import loading
from ganmetrics.statistics.files import StatisticsFile
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.transfer import Statistic


def open_side(
    name: str, source: Any, measurements: Sequence[Measurement], settings: Settings, *, with_images: bool = False
) -> Side:
    """A side from a statistics file or from images; from both for a file that holds both, if a metric needs images.

    with_images: open the images of such a file even if no metric needs them.
    Raises StatisticsError if there are only statistics and a metric needs images, SourceError if nothing can be opened.
    """
    side = unopened_side(name, source, settings)
    choice.require_sides(settings.include, settings.exclude, _sides_of(measurements))
    if side.file is None:
        side.opened = settings.open(source, name)
        return side
    unserved = [one for one in of_side(measurements, name) if side.part_for(one) is None]
    if unserved:
        require_images(side.file, name, unserved[0].metric.name)
    if unserved or (with_images and side.file.has_images):
        side.opened = settings.open(source, name)
    else:
        settings.refuse_selection(name, "is statistics without images")
    return side


def _sides_of(measurements: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(side for measurement in measurements for side in measurement.metric.sides))


def unopened_side(name: str, source: Any, settings: Settings) -> Side:
    """A side with the statistics of its source, if that is a statistics file or vectors; images are not opened."""
    file = _file_of(source, settings)
    if file is None:
        return Side(name, source)
    return Side(name, source, file=file, summary=Summary.of_record(file.protocol))


def _file_of(source: Any, settings: Settings) -> StatisticsFile | None:
    """The statistics of a source that holds some; vectors are statistics that keep them."""
    if isinstance(source, StatisticsFile):
        return source
    if isinstance(source, Moments):
        return StatisticsFile.of(source)
    return loading.load(source) if loading.is_statistics_file(source) else vectors_of(source, settings.features_are)


def require_images(file: StatisticsFile, side: str, asking: str) -> None:
    """Raises StatisticsError for a file without images, for a metric that its statistics do not serve."""
    if file.protocol.get("stated") and asking in METRICS:
        metric = METRICS[asking].load()
        kind = metric.kind
        served = any(part.kind == kind for part in file.parts)
        if metric.entry.smallest:
            raise StatisticsError(f"{asking}: compares the images themselves, and {file.origin} holds vectors")
        if served and not metric.entry.labelled:
            raise StatisticsError(f"images are needed here, and {file.origin} holds vectors; give the images")
        if served and file.labels is None:
            raise StatisticsError(
                f"{asking}: needs the class of each vector, and {file.origin} has none; give an .npz with whole "
                "numbers or names, one for each vector, in an array labels"
            )
        raise StatisticsError(
            f"{asking}: needs {kind}, and {file.origin} is taken for {file.parts[0].kind}; if they are {kind}, "
            f"say so with --features-are NAME:{kind} or inception:TAP"
        )
    if not file.has_images:
        raise StatisticsError(
            f"{asking}: needs the {side} images themselves, and {file.origin or 'the source'} holds statistics without "
            f"them; give the images, or statistics made with ganmetrics stats -m {asking}"
        )


def check(measurements: Sequence[Measurement], sides: Sequence[Side]) -> None:
    """Raises what would make scores impossible, before any image is read.

    Raises StatisticsError for sides measured differently, fewer images than a metric needs, or different classes;
    OptionError for images without classes if a metric needs them.
    """
    expected: dict[Extractor, list[str]] = {}
    for measurement in measurements:
        metric, asked = measurement.metric, measurement.settings.features_are
        own = [side for side in sides if side.name in metric.sides]
        if asked is not None and not any(side.stated for side in sides):
            raise OptionError(f"--features-are {asked}: is for sources of vectors (N, D), and here are none")
        common_protocol(measurement, own)
        _require_one_dimension(measurement, own)
        if any(side.part_for(measurement) is None for side in own):
            expected.setdefault(measurement.settings.extractor, []).append(measurement.need.tap)
        if metric.labelled and own:  # a metric over fakes alone has no part in a real side that is read first
            known = labels_by_side(metric, [side for side in own if not come_later(side)])
            if known:
                metric.require_classes(known)
        require_counts([measurement], {side.name: count for side in own if (count := _count(side, measurement))})
    for extractor, taps in expected.items():
        extractor.expect(taps)


def _require_one_dimension(measurement: Measurement, sides: Sequence[Side]) -> None:
    """Raises StatisticsError if the statistics of files have vectors of several lengths."""
    parts = {side.name: part for side in sides if (part := side.part_for(measurement)) is not None}
    dims = {name: part.statistic.dim for name, part in parts.items()}
    if len(set(dims.values())) > 1:
        shown = " and ".join(f"{dim} ({name})" for name, dim in dims.items())
        raise StatisticsError(f"expected features of one dimension, got {shown}")


def _count(side: Side, measurement: Measurement) -> int | None:
    """The number of images; None if it is known only after reading."""
    part = side.part_for(measurement)
    if part is not None:
        return part.statistic.count
    return None if side.opened is None else side.opened.n_images


def fill(
    side: Side,
    wanted: Sequence[Need],
    settings: Settings,
    watchers: Sequence[Callable[[Tensor], None]] = (),
    group: Alone | None = None,
) -> None:
    """Fill the statistics of a side: from the cache where possible, the rest in one pass over the images.

    wanted: the needs, without duplicates.
    watchers: called with every stack of images `(b, C, H, W)` read, in order.
    group: processes that share the reading; afterwards rank 0 has the statistics.
    """
    group = group or Alone()
    side.opened = side.opened or settings.open(side.source, side.name)
    skip = settings.on_error == "skip"
    use_cache = settings.cache and group.rank == 0  # only rank 0 has the statistics of all images
    cache = ReferenceCache(side, wanted, enabled=use_cache, skip=skip, progress=settings.progress)
    # All processes compute the same needs. Indices are sent because a Need holds an extractor.
    indices = group.first(lambda: [wanted.index(need) for need in cache.missing])
    missing = [wanted[index] for index in indices]
    if missing or watchers:
        consumers = feeds([(need, side.statistic_for(need)) for need in missing])
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


def feeds(targets: Iterable[tuple[Need, Statistic]]) -> Feeds:
    """For each extractor and tap, the `update` methods of the statistics of these needs, each statistic once.

    Raises StatisticsError for statistics from a file that would be updated with vectors of several feature spaces.
    """
    by_tap: dict[Extractor, dict[str, dict[Statistic, None]]] = {}
    spaces: dict[Statistic, tuple[Extractor, str]] = {}
    for need, statistic in targets:
        space = need.extractor, need.tap
        if spaces.setdefault(statistic, space) != space:
            raise StatisticsError(
                "statistics from a file are of one feature space, and the metrics read several; "
                "give the images, or measure each feature space on its own"
            )
        by_tap.setdefault(need.extractor, {}).setdefault(need.tap, {})[statistic] = None
    return {
        extractor: {
            tap: [partial(statistic.update, divisor=extractor.divisor) for statistic in statistics]
            for tap, statistics in taps.items()
        }
        for extractor, taps in by_tap.items()
    }
