"""How unlike one another the images of one class are: the mean cosine distance between two of them, over classes.

It stands for the intra-class diversity of Odena, Olah & Shlens 2017 (arXiv:1610.09585), the MS-SSIM of
random pairs inside a class. It differs from that in three ways: feature vectors are compared, not pixels, so that a
shift is no difference; all pairs count, by the closed form below, not 100 at random; and it is a distance, so higher is
more diverse. A class that collapsed onto one image has 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.classes import of_images, require_two_of_each
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.resampling import linear
from ganmetrics.metrics.vendi import units
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples, with_start


def mean_pairwise_distance(total: Tensor, n: Tensor) -> Tensor:
    """1 - cos over all pairs of n vectors of length 1, of their sum `(..., D)`: 1 - (|sum|^2 - n) / (n (n - 1))."""
    return 1 - (total.square().sum(dim=-1) - n) / (n * (n - 1))


class IntraClassDiversity(SingleValued):
    """Streaming form; `protocol["per_class"]` has the diversity of every class."""

    entry = METRICS["intra-class-diversity"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples
    labelled = True

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> IntraClassDiversity:
        return cls()

    def require_classes(self, labels: Mapping[str, Sequence[str]]) -> None:
        require_two_of_each(self, "fake", labels["fake"])

    def compute(self) -> Result:
        """Raises StatisticsError below two images of a class."""
        names, _, totals, sizes = self._totals()
        found = mean_pairwise_distance(totals, sizes)
        per_class = dict(zip(names, found.tolist(), strict=True))
        return Result(float(found.mean()), protocol={"distance": "cosine", "per_class": per_class})

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """To first order, by each image's mean distance from its class; images are drawn within their class."""
        names, index, totals, sizes = self._totals()
        values = mean_pairwise_distance(totals, sizes)
        found = []
        for start, x in with_start(units(self.statistics["fake"].blocks())):
            own = index[start : start + len(x)]
            others = ((x * totals[own]).sum(dim=1) - 1) / (sizes[own] - 1)
            found.append(2 * (1 - others - values[own]) / sizes[own])
        influence = torch.cat(found) * len(index) / len(names)
        return {self.name: values.mean() + linear(influence, n, seed, groups=index)}

    def _totals(self) -> tuple[list[str], Tensor, Tensor, Tensor]:
        """Classes, the class of every image, sums `(C, D)` of vectors at length 1, and numbers of images `(C,)`."""
        names, index = of_images(self, "fake")
        sizes = torch.bincount(index).double()
        self.require_classes(self.labels)
        totals = torch.zeros(len(names), self.statistics["fake"].dim, dtype=torch.float64)
        for start, x in with_start(units(self.statistics["fake"].blocks())):
            totals.index_add_(0, index[start : start + len(x)], x)
        return names, index, totals, sizes
