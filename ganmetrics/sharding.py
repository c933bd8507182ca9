"""Statistics of a source, and merging the statistics of shards: `ganmetrics stats` and `ganmetrics merge`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.measurement.comparability import IDENTITY, PRECISION, require_alike
from ganmetrics.measurement.measurement import configured
from ganmetrics.measurement.reading import fill
from ganmetrics.measurement.remarks import summary_remarks
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side
from ganmetrics.runtime.distributed import Alone
from ganmetrics.statistics import files
from ganmetrics.statistics.moments import Moments


def stats(source: Any, *, settings: Settings | None = None, **options: Any) -> files.StatisticsFile:
    """Moments of a source's feature vectors with their protocol, to save, merge or compare; see `Settings`."""
    return shared_stats(source, Settings.of(settings, options), Alone())


def shared_stats(source: Any, settings: Settings, group: Alone) -> files.StatisticsFile:
    """`stats`, read by several processes: rank 0 returns those of all images, the others those of their part."""
    if settings.confidence:
        raise OptionError("confidence: statistics files hold moments, without images to resample; leave it out")
    (measurement,) = configured(["fid"], settings)
    side = Side("fake", source, opened=settings.open(source))
    fill(side, [measurement.need], settings, group=group)
    protocol = {
        **settings.describe(measurement.tap),
        "warnings": [*settings.warnings, *summary_remarks(side.summary, "images")],
        "skipped": side.skipped,
        "source": os.path.realpath(source) if isinstance(source, (str, os.PathLike)) else str(side.opened),
        "sizes": [[list(size), n] for size, n in side.summary.sizes.most_common(20)],
        "formats": dict(side.summary.formats),
    }
    return files.StatisticsFile(side.moments(measurement.need), protocol)


def merge(paths: Sequence[Any]) -> files.StatisticsFile:
    """Merge statistics files of shards; the result equals one pass over all images.

    Raises OptionError for no file; StatisticsError for files measured differently, for files of other tools, which
    do not store their count, and for a file named twice.
    """
    if not paths:
        raise OptionError("merge: expected at least one statistics file, got none")
    loaded = [files.load(path) for path in paths]
    resolved = [os.path.realpath(path) for path in paths]
    for file, path in zip(loaded, resolved, strict=True):
        if resolved.count(path) > 1:
            raise StatisticsError(f"{file.origin}: is named twice; its images would count twice")
    for file in loaded:
        if file.moments.count is None:
            raise StatisticsError(
                f"{file.origin}: does not say over how many images it was taken; measure them instead"
            )
    require_alike({file.origin: file.protocol for file in loaded}, [*IDENTITY, *PRECISION])
    merged = Moments()
    for file in loaded:
        merged.merge(file.moments)
    skipped = [entry for file in loaded for entry in file.protocol.get("skipped") or []]
    warnings = dict.fromkeys(text for file in loaded for text in file.protocol.get("warnings") or [])
    protocol = {**loaded[0].protocol, "warnings": list(warnings), "skipped": skipped, "source": "merged"}
    return files.StatisticsFile(merged, protocol, "merged")
