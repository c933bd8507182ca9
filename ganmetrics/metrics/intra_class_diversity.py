"""Intra-class diversity: the mean cosine distance between two images of a class, averaged over classes.

It is a measure of this package, after the idea of Odena, Olah & Shlens 2017 (arXiv:1610.09585), whose own measure is
the MS-SSIM of random pairs of images of a class (`ms_ssim.py`). It compares feature vectors instead of pixels, so that
a shift hardly counts; it uses all pairs, by the closed form below; and it is a distance, so higher is more diverse. A
class that collapsed to one image has 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.classes import of_images, require_two_of_each
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.resampling import linear
from ganmetrics.metrics.vendi import units
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples, with_start


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
        names, index, from_mean, sizes = self._from_mean()
        values = _mean_distances(index, from_mean, sizes)
        per_class = dict(zip(names, values.tolist(), strict=True))
        return Result(float(values.mean()), protocol={"distance": "cosine", "per_class": per_class})

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """To first order, from each image's mean distance to its class. Images are drawn within their class."""
        names, index, from_mean, sizes = self._from_mean()
        values, size = _mean_distances(index, from_mean, sizes), sizes[index]
        # Mean distance to the others of its class: (size from_mean + (size - 1) value) / (2 (size - 1)).
        influence = (size * from_mean / (size - 1) - values[index]) / size
        return {self.name: values.mean() + linear(influence * len(index) / len(names), n, seed, groups=index)}

    def _from_mean(self) -> tuple[list[str], Tensor, Tensor, Tensor]:
        """Class names, class of each image `(n,)`, its squared distance from the class mean, and class sizes `(C,)`.

        Distances are of vectors of length 1.
        """
        names, index = of_images(self, "fake")
        sizes = torch.bincount(index).double()
        self.require_classes(self.labels)
        means = torch.zeros(len(names), self.statistics["fake"].dim, dtype=torch.float64)
        for own, x in self._units(index):
            means.index_add_(0, own, x)
        means /= sizes[:, None]
        return names, index, torch.cat([(x - means[own]).square().sum(dim=1) for own, x in self._units(index)]), sizes

    def _units(self, index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Classes `(b,)` and unit vectors `(b, D)`, block by block."""
        for start, x in with_start(units(self.statistics["fake"].blocks())):
            yield index[start : start + len(x)], x


def _mean_distances(index: Tensor, from_mean: Tensor, sizes: Tensor) -> Tensor:
    """Mean 1 - cos over all pairs of each class `(C,)`.

    1 - cos of unit vectors is |x - y|^2 / 2, whose mean over pairs is the sum of |x - mean|^2, over n - 1: never below
    0, and without the cancellation of 1 - (|sum|^2 - n) / (n (n - 1)).
    """
    return torch.zeros_like(sizes).index_add_(0, index, from_mean) / (sizes - 1)
