"""What every metric is: it states what it needs of each side, and computes Results from what it is handed."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.index import Entry
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples

if TYPE_CHECKING:
    from typing_extensions import Self


Kind = Literal["features", "logits", "spatial"]
T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """`value` in the metric's range, `raw` before it was clamped into it, `spread` as the protocol defines it."""

    value: float
    spread: float | None = None
    raw: float | None = None
    warnings: Sequence[str] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)


class Metric(ABC):
    """A metric as configured. It knows vectors and nothing of images or networks.

    `over` hands it the statistics that the sides of a measurement hold. Used alone, it keeps its own: `update`, `merge`
    and `reset` fill them, and results are of everything seen so far.

    Attributes:
        entry: its line in the index.
        canonical: the (features, tap) that the name alone stands for.
        kind: the vectors it needs of each side: an extractor's "features", "logits" or "spatial" ones.
        statistic: as what it needs them: moments, or the vectors themselves.
        moments_serve: the sides of which a statistics file, moments alone, says enough.
        labelled: whether it needs the class of every image.
        noun: what messages call it; the title where it is empty.
        statistics: what it computes from, by side.
        labels: class names in the order of the vectors, by side; filled for a labelled metric alone.
    """

    entry: ClassVar[Entry]
    canonical: ClassVar[tuple[str, str]]
    kind: ClassVar[Kind]
    statistic: type[Moments] | type[Samples]
    moments_serve: ClassVar[Sequence[str]] = ()
    labelled: ClassVar[bool] = False
    noun: ClassVar[str] = ""
    _known: tuple[list[Any], Any] | None = None

    def __init__(self) -> None:
        self.reset()

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def sides(self) -> Sequence[str]:
        return self.entry.sides

    @classmethod
    @abstractmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> Self:
        """As a protocol and the user's options say. Raises OptionError."""

    def least(self, side: str) -> int:
        """How many images of a side it takes."""
        return 1

    def require(self, side: str, count: int) -> None:
        """Raises StatisticsError for fewer images of a side than `least`; asked before they are read where possible."""
        if count < self.least(side):
            raise StatisticsError(self.too_few(side, count))

    def too_few(self, side: str, count: int) -> str:
        """The message for fewer images of a side than `least`."""
        least = self.least(side)
        return f"{self.noun or self.entry.title} needs at least {least} {side} image{'s' * (least > 1)}, got {count}"

    def require_classes(self, labels: Mapping[str, Sequence[str]]) -> None:  # noqa: B027 - most know no classes
        """Raises StatisticsError for classes, by side those of all images, that a labelled metric cannot be over."""

    @abstractmethod
    def results(self) -> Mapping[str, Result]:
        """Every value of `entry.values` of everything seen so far; StatisticsError where that is too little."""

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """`(n,)` float64 values on images drawn from those seen, with replacement, as many as there are; by name.

        A name that is absent has no interval on these statistics. See `ganmetrics/measurement/confidence.py`.
        """
        return {}

    def without_interval(self, name: str) -> str:
        """Why `replicates` lacks a name, for a warning."""
        return "none is known on these statistics"

    def over(self, statistics: Mapping[str, Any], labels: Mapping[str, Sequence[str]] | None = None) -> Self:
        """The same metric over statistics that others keep, by side; its results are of these.

        labels: class names in the order of the vectors, by side, for a labelled metric.
        """
        handed = copy.copy(self)
        handed.statistics, handed.labels, handed._known = dict(statistics), dict(labels or {}), None
        return handed

    def once(self, compute: Callable[[], T]) -> T:
        """What `compute` gives, kept until there are more vectors: results and intervals share one computation."""
        seen = [part for kept in self.statistics.values() for part in (kept, kept.count)]
        if self._known is None or self._known[0] != seen:
            self._known = seen, compute()
        return self._known[1]

    def reset(self, side: str | None = None) -> None:
        """Forget one side, or both."""
        if side is None:
            self.statistics: dict[str, Any] = {name: self.statistic() for name in self.sides}
            self.labels: dict[str, Sequence[str]] = {}
        else:
            self.statistics[side] = self.statistic()
            self.labels.pop(side, None)

    def update(self, vectors: Tensor, side: str = "fake") -> None:
        """Take in vectors `(N, D)` of one side."""
        self.statistics[side].update(vectors)

    def merge(self, other: Self) -> None:
        """Take in all that another has seen; equal to one pass over both."""
        for side in self.sides:
            self.statistics[side].merge(other.statistics[side])


class SingleValued(Metric):
    """A metric of one value, named like itself."""

    @abstractmethod
    def compute(self) -> Result:
        """From everything seen so far. Raises StatisticsError where that is too little."""

    def results(self) -> Mapping[str, Result]:
        return {self.name: self.compute()}
