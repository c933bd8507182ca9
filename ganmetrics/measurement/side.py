"""One side of a comparison, which owns everything that is known of it: its source and the statistics taken of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ganmetrics.images import ImageSource, Summary
from ganmetrics.measurement.measurement import Measurement
from ganmetrics.measurement.need import Need
from ganmetrics.metrics.base import Metric
from ganmetrics.statistics.files import StatisticsFile
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.transfer import Statistic


@dataclass
class Side:
    """An opened source, or statistics from a file; what reading it brought to light; its statistics by need.

    Attributes:
        name: "real" or "fake", or what else a metric calls its sides.
        source: as the caller gave it; None for a side that is fed batch by batch.
        opened: its images.
        file: statistics from a file, which serve every need.
        summary: what was noticed while the images were read.
        statistics: what is kept, by need; filled in one pass over the images.
        cached: the needs whose statistics came out of the cache.
        batch_labels: classes that came with batches, in the order of the images.
    """

    name: str
    source: Any = None
    opened: ImageSource | None = None
    file: StatisticsFile | None = None
    summary: Summary = field(default_factory=Summary)
    statistics: dict[Need, Statistic] = field(default_factory=dict)
    cached: set[Need] = field(default_factory=set)
    batch_labels: list[str] = field(default_factory=list)

    def statistic_for(self, need: Need) -> Statistic:
        """The statistic for a need, empty before anything was read."""
        if self.file is not None:
            return self.file.moments
        if need not in self.statistics:
            self.statistics[need] = need.keep()
        return self.statistics[need]

    def moments(self, need: Need) -> Moments:
        """The statistic for a need of moments."""
        held = self.statistic_for(need)
        return held if isinstance(held, Moments) else held.moments()

    def metric_input(self, measurement: Measurement) -> Statistic:
        """What the metric is handed. A file serves without its extractor, whose weights may not be here."""
        return self.statistic_for(measurement.need) if self.file is None else self.file.moments

    @property
    def origin(self) -> Any:
        """What was given, or where a statistics file says that its images were."""
        return (self.file.protocol.get("source") or self.source) if self.file else self.source

    @property
    def labels(self) -> list[str] | None:
        """The class of every image that was read, in order, where the source or the caller tells them."""
        if self.opened is None:
            return self.batch_labels or None
        if self.opened.labels is None:
            return None
        left_out = set(self.summary.left_out)
        return [*(label for i, label in enumerate(self.opened.labels) if i not in left_out), *self.batch_labels]

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Images left out, those that the makers of a statistics file left out included."""
        return [*self.summary.skipped, *((self.file.protocol.get("skipped") or []) if self.file else [])]


def needs(side: str, measurements: Iterable[Measurement]) -> list[Need]:
    """What the metrics need of a side, each once."""
    return list(dict.fromkeys(one.need for one in measurements if side in one.metric.sides))


def metric_over_sides(measurement: Measurement, sides: Iterable[Side]) -> Metric:
    """The metric over what the sides hold for it."""
    own = [side for side in sides if side.name in measurement.metric.sides]
    labels = {side.name: side.labels for side in own if side.labels is not None} if measurement.metric.labelled else {}
    return measurement.metric.over({side.name: side.metric_input(measurement) for side in own}, labels)
