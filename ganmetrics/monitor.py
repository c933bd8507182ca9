"""Metrics inside a training loop: `gm.FID(real=...)`, then update, compute, reset with batches on any device."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ganmetrics.comparison import Side, common_protocol, require_alike
from ganmetrics.errors import OptionError, SourceError
from ganmetrics.evaluation import configured, fill, open_side, score
from ganmetrics.features.extract import default_batch_size, feed
from ganmetrics.images import Summary, to_uint8
from ganmetrics.metrics.base import Metric
from ganmetrics.runtime import exact_arithmetic
from ganmetrics.score import Score
from ganmetrics.settings import Settings


class StreamingMetric:
    """A metric fed with batches of images; the real side, where there is one, is read once and kept.

    Args:
        real: any source or statistics file; None to feed that side by `update(batch, side="real")`.
        **options: see `ganmetrics.Settings`. `value_range` may be given here or with each batch.
    """

    name: ClassVar[str]

    def __init__(self, real: Any = None, **options: Any):
        self.settings = Settings.of(None, options)
        self.metric: Metric = configured([self.name], self.settings)[0]
        self._sides = {name: Side(name, None) for name in self.metric.sides}
        if real is not None:
            if "real" not in self._sides:
                raise OptionError(f"{self.name}: compares with nothing, so it takes no real source")
            self._sides["real"] = open_side("real", real, [self.metric], self.settings)
            common_protocol(self.metric, [self._sides["real"]], self.settings)
            fill(self._sides["real"], [self.metric], self.settings)

    def update(
        self,
        images: Any,
        *,
        side: str = "fake",
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
    ) -> None:
        """Take in a batch `(N, C, H, W)`: uint8 in [0, 255], or floating point with its range stated.

        Raises OptionError for an unknown side, SourceError for a batch that is no image batch.
        """
        self._known(side)
        if hasattr(images, "shape") and 0 in tuple(images.shape):
            raise SourceError(f"{side} batch: holds no image, its shape is {tuple(images.shape)}")
        batch = to_uint8(
            images,
            value_range=value_range or self.settings.value_range,
            layout=layout or self.settings.layout,
            quantize=self.settings.rules.quantize,
            where=f"{side} batch",
        )
        self._feed(batch, side)

    def _known(self, side: str) -> None:
        if side not in self._sides:
            raise OptionError(f"{self.name}: expected side to be one of {', '.join(self._sides)}, came {side!r}")

    def _feed(self, batch: Tensor, side: str) -> None:
        extractor = self.settings.extractor
        consumers = {self.settings.tap(type(self.metric)): [self.metric.statistics[side].update]}
        with exact_arithmetic(extractor.device):
            for stack in batch.split(self.settings.batch_size or default_batch_size(extractor)):
                feed(extractor, [stack], consumers)
                self._sides[side].summary.add([stack])

    def compute(self) -> Score:
        """The score of everything seen since the last reset. Raises StatisticsError where that is too little."""
        return score(self.metric, list(self._sides.values()), self.settings)

    def reset(self, side: str = "fake") -> None:
        """Forget one side; the real one stays unless it is named. Raises OptionError for an unknown side."""
        self._known(side)
        self.metric.reset(side)
        self._sides[side] = Side(side, None, summary=Summary())

    def merge(self, other: StreamingMetric) -> None:
        """Take in the fake side of another (a shard of the same run); both keep their real side.

        Raises OptionError for another metric or itself, StatisticsError for one measured in another way.
        """
        if other is self or type(other) is not type(self):
            raise OptionError(f"merge: expected another {type(self).__name__}, came {type(other).__name__} itself")
        mine, theirs = (one.settings.describe(one.settings.tap(type(one.metric))) for one in (self, other))
        require_alike({"this one": mine, "the other": theirs})
        self.metric.statistics["fake"].merge(other.metric.statistics["fake"])
        self._sides["fake"].summary.join(other._sides["fake"].summary)


class FID(StreamingMetric):
    """Fréchet Inception Distance; `FID(real="real/")`, `update(fakes, value_range=(-1, 1))`, `compute()`."""

    name = "fid"


class InceptionScore(StreamingMetric):
    """Inception Score; `InceptionScore()`, `update(fakes, value_range=(-1, 1))`, `compute()`."""

    name = "is"
