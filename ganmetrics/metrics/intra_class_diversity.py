"""Intra-class diversity: the mean cosine distance between two images of a class, averaged over classes.

It replaces the intra-class diversity of Odena, Olah & Shlens 2017 (arXiv:1610.09585), the MS-SSIM of random pairs
inside a class. It differs in three ways: it compares feature vectors instead of pixels, so that a shift hardly counts;
it uses all pairs, by the closed form below, instead of 100 random ones; and it is a distance, so higher is more
diverse. A class that collapsed to one image has 0.
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
    """Mean 1 - cos over all pairs of n unit vectors, from their sum `(..., D)`: 1 - (|sum|^2 - n) / (n (n - 1))."""
    return 1 - (total.square().sum(dim=-1) - n) / (n * (n - 1))


class IntraClassDiversity(SingleValued):
    """Intra-class diversity as a metric; `protocol["per_class"]` has the diversity of every class."""

    entry = METRICS["intra-class-diversity"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> IntraClassDiversity:
        return cls()

    def require_classes(self, labels: Mapping[str, Sequence[str]]) -> None:
        require_two_of_each(self, "fake", labels["fake"])

    def compute(self) -> Result:
        """Raises StatisticsError for fewer than two images of a class."""
        names, _, totals, sizes = self._totals()
        values = mean_pairwise_distance(totals, sizes)
        per_class = dict(zip(names, values.tolist(), strict=True))
        return Result(float(values.mean()), protocol={"distance": "cosine", "per_class": per_class})

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """To first order, from each image's mean distance to its class. Images are drawn within their class."""
        names, index, totals, sizes = self._totals()
        values = mean_pairwise_distance(totals, sizes)
        influences = []
        for start, x in with_start(units(self.statistics["fake"].blocks())):
            own = index[start : start + len(x)]
            mean_cosine = ((x * totals[own]).sum(dim=1) - 1) / (sizes[own] - 1)  # to the others of its class
            influences.append(2 * (1 - mean_cosine - values[own]) / sizes[own])
        influence = torch.cat(influences) * len(index) / len(names)
        return {self.name: values.mean() + linear(influence, n, seed, groups=index)}

    def _totals(self) -> tuple[list[str], Tensor, Tensor, Tensor]:
        """Class names, class of each image `(n,)`, sums of unit vectors `(C, D)`, and numbers of images `(C,)`."""
        names, index = of_images(self, "fake")
        sizes = torch.bincount(index).double()
        self.require_classes(self.labels)
        totals = torch.zeros(len(names), self.statistics["fake"].dim, dtype=torch.float64)
        for start, x in with_start(units(self.statistics["fake"].blocks())):
            totals.index_add_(0, index[start : start + len(x)], x)
        return names, index, totals, sizes
