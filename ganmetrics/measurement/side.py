"""One side of a comparison (real or fake): its source and the statistics of its images."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
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
    """An opened source or a statistics file, its statistics by need, and what was noticed while reading.

    Attributes:
        name: "real", "fake", or another name that a metric gives its sides.
        source: as the caller gave it; None for a side that is fed batch by batch.
        opened: the images of the source.
        file: statistics from a file; they are used for every need.
        summary: what was noticed while the images were read.
        statistics: one statistic for each need, filled in one pass over the images.
        cached: the needs whose statistics were read from the cache.
        batch_labels: class names passed with batches, in the order of the images.
        owns_file: whether the statistics of the file are a copy that may be updated.
    """

    name: str
    source: Any = None
    opened: ImageSource | None = None
    file: StatisticsFile | None = None
    summary: Summary = field(default_factory=Summary)
    statistics: dict[Need, Statistic] = field(default_factory=dict)
    cached: set[Need] = field(default_factory=set)
    batch_labels: list[str] = field(default_factory=list)
    owns_file: bool = False

    def statistic_for(self, need: Need) -> Statistic:
        """The statistic for a need; a new, empty one if there is none yet. Of a file always its moments."""
        if self.file is not None:
            return self.file.moments
        if need not in self.statistics:
            self.statistics[need] = need.keep()
        return self.statistics[need]

    def own_file(self) -> None:
        """Copy the statistics of a file object that the caller may use elsewhere, before they are updated."""
        if self.file is not None and not self.owns_file:
            self.file, self.owns_file = replace(self.file, moments=copy.deepcopy(self.file.moments)), True

    def moments(self, need: Need) -> Moments:
        """The moments for a need, computed from the vectors if those are kept."""
        statistic = self.statistic_for(need)
        return statistic if isinstance(statistic, Moments) else statistic.moments()

    def metric_input(self, measurement: Measurement) -> Statistic:
        """The statistic that the metric is computed from."""
        # `measurement.need` loads the extractor, so a file is used without it: the weights may not be installed.
        return self.statistic_for(measurement.need) if self.file is None else self.file.moments

    @property
    def origin(self) -> Any:
        """The source, or the image source that a statistics file names in its protocol."""
        return (self.file.protocol.get("source") or self.source) if self.file else self.source

    @property
    def labels(self) -> list[str] | None:
        """The class of every image read, in order; None if neither the source nor the caller gives classes."""
        if self.opened is None:
            return self.batch_labels or None
        if self.opened.labels is None:
            return None
        left_out = set(self.summary.left_out)
        return [*(label for i, label in enumerate(self.opened.labels) if i not in left_out), *self.batch_labels]

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Images left out, including those left out when a statistics file was made."""
        return [*self.summary.skipped, *((self.file.protocol.get("skipped") or []) if self.file else [])]


def needs(side: str, measurements: Iterable[Measurement]) -> list[Need]:
    """The needs of all metrics over this side, without duplicates, in order."""
    return list(dict.fromkeys(measurement.need for measurement in measurements if side in measurement.metric.sides))


def metric_over_sides(measurement: Measurement, sides: Iterable[Side]) -> Metric:
    """A copy of the metric that computes from the statistics of these sides."""
    own = [side for side in sides if side.name in measurement.metric.sides]
    labels = {side.name: side.labels for side in own if side.labels is not None} if measurement.metric.labelled else {}
    return measurement.metric.over({side.name: side.metric_input(measurement) for side in own}, labels)
