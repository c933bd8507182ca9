"""Authenticity: the share of fakes whose nearest real image has another real image closer to it than the fake.

Alaa, van Breugel, Saveliev & van der Schaar 2022 (arXiv:2102.08921, section 3.3). It detects memorisation: a generator
that copies its training images, with or without noise, scores near 0. Fresh samples from the true distribution score
1/3 (one dimension) to 1/2 (many dimensions; Pickard 1982, on how often two points are each other's nearest). A
generator far from the data scores 1, so read it together with precision. `real` must be the images that the generator
was trained on. Reproduces AuthPct of dgm-eval on the same features, which is in percent; here it is a share in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.distances import Device, Vectors
from ganmetrics.metrics.numerics.neighbours import compared_as, nearest_squared
from ganmetrics.metrics.numerics.resampling import UNMOVED, linear
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

ENOUGH = 1000  # fakes, with which the standard error of a share is below 0.016


def authentic(real: Vectors, fake: Vectors, *, device: Device = None) -> Tensor:
    """`(N_fake,)`: 1.0 if |f - r| > |r - r'|, with r the real vector nearest to fake f r' the real one nearest to r.

    Vectors are `(N_real, D)` and `(N_fake, D)`; the mean of the result is the authenticity. Raises StatisticsError for
    fewer than two real vectors or no fake one.
    """
    to_real, nearest_real = nearest_squared(fake, real, 1, device=device)
    among_real, _ = nearest_squared(real, real, 1, exclude_self=True, device=device)
    return (to_real[:, 0] > among_real[nearest_real[:, 0], 0]).double()


class Authenticity(SingleValued):
    """Authenticity as a metric.

    device: where distances are computed; None means the first CUDA device, or the CPU.
    """

    entry = METRICS["authenticity"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples
    noun = "authenticity"

    def __init__(self, *, device: Device = None):
        super().__init__()
        self.device = device

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> Authenticity:
        return cls(device=options.device)

    def least(self, side: str) -> int:
        return 2 if side == "real" else 1

    def compute(self) -> Result:
        """Raises StatisticsError for fewer than two real images or no fake one."""
        count = self.statistics["fake"].count
        warnings = []
        if count < ENOUGH:
            error = 0.5 / max(count, 1) ** 0.5  # largest for a share of one half
            warnings.append(f"{count} fake images: a standard error up to {error:.2f}; give at least {ENOUGH}")
        value = float(self._authentic().mean())
        return Result(value, warnings=warnings, protocol=compared_as(*self.statistics.values()))

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Resamples the fakes. The training images stay fixed: they are the whole training set.

        A share of 0 or 1 has no interval, because resampling does not change it.
        """
        is_authentic = self._authentic()
        if is_authentic.unique().numel() == 1:
            return {}
        return {self.name: is_authentic.mean() + linear(is_authentic, n, seed, "fake")}

    def without_interval(self, name: str) -> str:
        return UNMOVED

    def _authentic(self) -> Tensor:
        real, fake = (self.statistics[side] for side in self.sides)
        for side in self.sides:
            self.require(side, self.statistics[side].count)
        return authentic(real, fake, device=self.device)
