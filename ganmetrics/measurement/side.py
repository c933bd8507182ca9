"""One side of a comparison (real or fake): its source and the statistics of its images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ganmetrics.features.pixels import Pixels
from ganmetrics.images import ImageSource, Summary
from ganmetrics.images.classes import Classes
from ganmetrics.measurement.measurement import Measurement, of_side
from ganmetrics.measurement.need import Need
from ganmetrics.metrics.base import Metric
from ganmetrics.statistics.files import StatisticsFile
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.parts import Part
from ganmetrics.statistics.samples import Samples
from ganmetrics.statistics.transfer import Statistic


@dataclass
class Side:
    """An opened source, a statistics file or both, its statistics by need, and what was noticed while reading.

    A file may hold both statistics and images, as the reference batches of ADM do; each metric takes what is its own.

    Attributes:
        name: "real", "fake", or another name that a metric gives its sides.
        source: as the caller gave it; None for a side that is fed batch by batch.
        opened: the images of the source.
        file: statistics from a file.
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
        """The statistic of the images for a need; a new, empty one if there is none yet."""
        if need not in self.statistics:
            self.statistics[need] = need.keep()
        return self.statistics[need]

    def part_for(self, measurement: Measurement) -> Part | None:
        """The part of the file that serves the metric; None if it takes the images, or if there is no file."""
        metric, need = measurement.metric, measurement.need
        if metric.labelled and self.file is not None and self.file.labels is None:
            return None
        part = self.part(need)
        enough = part is None and self.name in metric.moments_serve
        return self.part(replace(need, keep=Moments)) if enough else part

    def part(self, need: Need) -> Part | None:
        """The part of the file that serves a need; None if the images do, or if there is no file."""
        if self.file is None:
            return None
        part = self.file.part(need.kind, need.keep, need.settings.suits)
        # A file may hold both: other features than those of its statistics are measured on its images.
        measured = part is not None and self.file.has_images and not need.settings.suits(part.protocol)
        return None if measured else part

    def _beside(self, measurement: Measurement) -> Part | None:
        """The moments in the file that go with the metric's own vectors, and may be of a larger set."""
        beside = self.name in measurement.metric.moments_beside
        part = self.part(replace(measurement.need, keep=Moments)) if beside else None
        return part if part is not None and isinstance(part.statistic, Moments) else None

    def _whole_for(self, measurement: Measurement, statistic: Statistic) -> Part | None:
        """The moments in the file of a larger set than the metric's own vectors; None if there are none."""
        part = self._beside(measurement) if isinstance(statistic, Samples) else None
        return part if part is not None and part.statistic.count != statistic.count else None

    def own_file(self) -> None:
        """Copy the statistics of a file object that the caller may use elsewhere, before they are updated."""
        if self.file is not None and not self.owns_file:
            self.file, self.owns_file = replace(self.file, parts=[part.copied() for part in self.file.parts]), True

    def targets(self, measurements: Iterable[Measurement]) -> list[tuple[Need, Statistic]]:
        """Which statistics new images go to, without duplicates: those of a file where it serves the metric."""
        pairs = {}
        for measurement in of_side(measurements, self.name):
            part = self.part_for(measurement)
            statistic = self.statistic_for(measurement.need) if part is None else part.statistic
            pairs[measurement.need, id(statistic)] = measurement.need, statistic
            if beside := self._beside(measurement):
                need = replace(measurement.need, keep=Moments)
                pairs[need, id(beside.statistic)] = need, beside.statistic
        return list(pairs.values())

    def metric_input(self, measurement: Measurement) -> Statistic:
        """The statistic that the metric is computed from."""
        part = self.part_for(measurement)
        if part is not None and measurement.metric.statistic is Moments:
            return part.moments()
        statistic = self.statistic_for(measurement.need) if part is None else part.statistic
        whole = self._whole_for(measurement, statistic)
        return statistic.with_moments_of(whole.moments()) if whole and isinstance(statistic, Samples) else statistic

    def used(self, measurement: Measurement) -> str | None:
        """What of a file that holds several things the metric is computed from; None for any other source."""
        if self.file is None or not (self.file.has_images or len(self.file.parts) > 1):
            return None
        part = self.part_for(measurement)
        names = [part.arrays if part else "images"]
        if whole := self._whole_for(measurement, self.metric_input(measurement)):
            names.insert(0, whole.arrays)
        return ", ".join(names)

    @property
    def stated(self) -> bool:
        """Whether its features are what the user says they are: vectors that were measured elsewhere."""
        return self.file is not None and bool(self.file.protocol.get("stated"))

    @property
    def origin(self) -> Any:
        """The source, or the image source that a statistics file names in its protocol."""
        return (self.file.protocol.get("source") or self.source) if self.file and not self.opened else self.source

    @property
    def labels(self) -> list[str] | None:
        """The class of every image read, in order; None if neither the source nor the caller gives classes."""
        if self.opened is None and self.file is not None and self.file.labels is not None:
            return [*self.file.labels, *self.batch_labels]
        if self.opened is None:
            return self.batch_labels or None
        if self.opened.labels is None:
            came = [*self.summary.labels, *self.batch_labels]
            return came if came and len(came) == self.summary.n_images else None
        left_out = set(self.summary.left_out)
        return [*(label for i, label in enumerate(self.opened.labels) if i not in left_out), *self.batch_labels]

    @property
    def classes(self) -> Classes:
        """The classes of the images read, with what names them."""
        if self.opened is None and self.file is not None:
            return Classes(self.labels, "the statistics file", notes=self.file.protocol.get("class_notes") or ())
        if self.opened is None:
            return Classes(self.labels, "labels of the batches")
        return replace(self.opened.classes, labels=self.labels)

    @property
    def choice(self) -> Mapping[str, Sequence[str]]:
        """The patterns by which its images were chosen, by option, "include" or "exclude"."""
        if self.opened is not None:
            return self.opened.selection.to_dict()
        protocol = self.file.protocol if self.file else {}
        return {option: protocol[option] for option in ("include", "exclude") if option in protocol}

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Images left out, including those left out when a statistics file was made."""
        return [*self.summary.skipped, *((self.file.protocol.get("skipped") or []) if self.file else [])]


def needs(side: Side, measurements: Iterable[Measurement]) -> list[Need]:
    """What all metrics over this side need of its images, without duplicates, in order."""
    own = of_side(measurements, side.name)
    return list(dict.fromkeys(measurement.need for measurement in own if side.part_for(measurement) is None))


def images_of(sides: Iterable[Side]) -> dict[str, Any]:
    """What the protocol says about the images of sides: what made them, and which were chosen by their names."""
    said: dict[str, Any] = {}
    for side in sides:
        made = {"generated": dict(side.opened.about)} if side.opened and side.opened.about else {}
        for key, value in {**made, **side.choice}.items():
            said.setdefault(key, {})[side.name] = value
    return said


def metric_over_sides(
    measurement: Measurement, sides: Iterable[Side], labels: Mapping[str, Sequence[str]] | None = None
) -> Metric:
    """A copy of the metric that computes from the statistics of these sides; `labels` are classes by side."""
    own = [side for side in sides if side.name in measurement.metric.sides]
    metric = measurement.metric.over({side.name: side.metric_input(measurement) for side in own}, labels)
    if metric.entry.smallest and isinstance(extractor := measurement.settings.extractor, Pixels):
        metric.image_shape = extractor.shape
    return metric
