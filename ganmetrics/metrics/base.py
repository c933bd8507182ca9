"""The interface of metrics: a metric states what it needs of each side, and computes Results from statistics."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.index import Entry
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.parts import Kind
from ganmetrics.statistics.samples import Samples

if TYPE_CHECKING:
    from typing_extensions import Self


T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """One value of a metric.

    Attributes:
        value: clamped to the metric's range.
        spread: uncertainty as the protocol defines it, or None.
        raw: the value before clamping; None if equal.
        warnings: full sentences about what may mislead.
        protocol: what the metric adds to the protocol of its score.
    """

    value: float
    spread: float | None = None
    raw: float | None = None
    warnings: Sequence[str] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)


class Metric(ABC):
    """A metric with its options set. It works on vectors and knows nothing about images or networks.

    In a measurement, `over` gives it the statistics of the sides. Used alone, it keeps its own statistics: `update` and
    `merge` add to them, `reset` clears them, and results are over everything added so far.

    Attributes:
        entry: its line in the index.
        canonical: the standard (features, tap), for which the score has the plain name ("fid").
        kind: which output of an extractor it needs: "features", "logits" or "spatial".
        statistic: what it keeps of these vectors: Moments, or Samples, which hold the vectors themselves.
        moments_serve: the sides for which moments are enough, so that a statistics file can replace the images.
        moments_beside: the sides whose moments may be of a larger set than their vectors, as in the files of ADM.
        noun: the name of the metric in messages; empty means its title.
        statistics: what it computes from, by side.
        labels: class names in the order of the vectors, by side; only for a labelled metric.
        image_shape: (C, H, W) of the images whose pixels the vectors are; only for a metric of pixels, and if known.
    """

    entry: ClassVar[Entry]
    canonical: ClassVar[tuple[str, str]]
    kind: ClassVar[Kind]
    statistic: type[Moments] | type[Samples]
    moments_serve: ClassVar[Sequence[str]] = ()
    moments_beside: ClassVar[Sequence[str]] = ()
    noun: ClassVar[str] = ""
    image_shape: Sequence[int] | None = None
    _cached: tuple[list[Any], Any] | None = None  # of `once`: statistics and counts, result

    def __init__(self) -> None:
        self.reset()

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def sides(self) -> Sequence[str]:
        return self.entry.sides

    @property
    def labelled(self) -> bool:
        """Whether it needs the class of every image."""
        return self.entry.labelled

    @classmethod
    @abstractmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> Self:
        """The metric with the rules of a protocol and the user's options. Raises OptionError."""

    def least(self, side: str) -> int:
        """Smallest number of images that it needs of a side."""
        return 1

    def require(self, side: str, count: int) -> None:
        """Raises StatisticsError for fewer images of a side than `least`; called before they are read if possible."""
        if count < self.least(side):
            raise StatisticsError(self.too_few(side, count))

    def too_few(self, side: str, count: int) -> str:
        """The message for fewer images of a side than `least`."""
        least = self.least(side)
        return f"{self.noun or self.entry.title} needs at least {least} {side} image{'s' * (least > 1)}, got {count}"

    def require_classes(self, labels: Mapping[str, Sequence[str]]) -> None:  # noqa: B027 - most metrics use no classes
        """Raises StatisticsError if these classes of all images, by side, do not suit a labelled metric."""

    @abstractmethod
    def results(self) -> Mapping[str, Result]:
        """All values named in `entry.values`, over everything added so far; StatisticsError for too few images."""

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Bootstrap values `(n,)` float64 by name, each on N images drawn with replacement from the N that were added.

        A missing name has no interval with these statistics. See `ganmetrics/measurement/confidence.py`.
        """
        return {}

    def held_fixed(self, name: str) -> str:
        """What `replicates` does not resample although it is a sample too, for the score; empty if there is nothing."""
        return ""

    def without_interval(self, name: str) -> str:
        """Why `replicates` has no values for a name; the reason in a warning."""
        return "no method is known for these statistics"

    def over(self, statistics: Mapping[str, Any], labels: Mapping[str, Sequence[str]] | None = None) -> Self:
        """A copy of the metric that computes from these statistics, by side. They are not copied.

        labels: class names in the order of the vectors, by side, for a labelled metric.
        """
        metric = copy.copy(self)
        metric.statistics, metric.labels, metric._cached = dict(statistics), dict(labels or {}), None
        return metric

    def once(self, compute: Callable[[], T]) -> T:
        """The result of `compute`, cached until vectors are added: results and intervals share one computation."""
        state = [part for statistic in self.statistics.values() for part in (statistic, statistic.count)]
        if self._cached is None or self._cached[0] != state:
            self._cached = state, compute()
        return self._cached[1]

    def reset(self, side: str | None = None) -> None:
        """Clear one side, or all."""
        if side is None:
            self.statistics: dict[str, Any] = {name: self.statistic() for name in self.sides}
            self.labels: dict[str, Sequence[str]] = {}
        else:
            self.statistics[side] = self.statistic()
            self.labels.pop(side, None)

    def update(self, vectors: Tensor, side: str = "fake") -> None:
        """Add vectors `(N, D)` to one side."""
        self.statistics[side].update(vectors)

    def merge(self, other: Self) -> None:
        """Add everything that another has seen; equal to one pass over both (class labels are not merged)."""
        for side in self.sides:
            self.statistics[side].merge(other.statistics[side])


class SingleValued(Metric):
    """A metric with one value, which has the name of the metric."""

    @abstractmethod
    def compute(self) -> Result:
        """The value over everything added so far. Raises StatisticsError for too few images."""

    def results(self) -> Mapping[str, Result]:
        return {self.name: self.compute()}
