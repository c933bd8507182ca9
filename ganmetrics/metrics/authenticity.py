"""Authenticity: the share of fakes that are further from their nearest real image than that one is from the others.

Alaa, van Breugel, Saveliev & van der Schaar 2022 (arXiv:2102.08921, section 3.3). The memorisation check: a generator
that copies its training images, with noise or without, scores near 0; one that draws anew from their distribution a
third (on a line) to one half (in many dimensions: Pickard 1982, on how often two points are each other's nearest); one
far from the data scores 1, so read it beside precision. `real` must be the images that the generator was trained on.
Reproduces dgm-eval's AuthPct on the same features, which is this in percent; here it is a share in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.distances import Device, Vectors
from ganmetrics.metrics.numerics.neighbours import nearest_squared
from ganmetrics.metrics.numerics.resampling import UNMOVED, linear
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

ENOUGH = 1000  # fakes that put the standard error of a share below 0.016


def authentic(real: Vectors, fake: Vectors, *, device: Device = None) -> Tensor:
    """`(N_fake,)` 1.0 where |f - r| > |r - r'|, with r the real image nearest to fake f and r' that nearest to r.

    Of vectors `(N_real, D)` and `(N_fake, D)`; the mean is the authenticity. Raises StatisticsError with fewer than two
    real vectors or no fake one.
    """
    to_real, nearest_real = nearest_squared(fake, real, 1, device=device)
    among_real, _ = nearest_squared(real, real, 1, exclude_self=True, device=device)
    return (to_real[:, 0] > among_real[nearest_real[:, 0], 0]).double()


class Authenticity(SingleValued):
    """Streaming form; device: where distances are computed, None the first CUDA device, or the CPU."""

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
        """Raises StatisticsError with fewer than two real images or no fake one."""
        count = self.statistics["fake"].count
        warnings = []
        if count < ENOUGH:
            error = 0.5 / max(count, 1) ** 0.5
            warnings.append(f"{count} fake images: a standard error up to {error:.2f}; give at least {ENOUGH}")
        return Result(float(self._authentic().mean()), warnings=warnings)

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Over fakes drawn anew; the training images, which are all there are, stay.

        A share of 0 or 1, which drawing anew leaves as it is, has no interval.
        """
        of_each = self._authentic()
        if of_each.unique().numel() == 1:
            return {}
        return {self.name: of_each.mean() + linear(of_each, n, seed, "fake")}

    def without_interval(self, name: str) -> str:
        return UNMOVED

    def _authentic(self) -> Tensor:
        real, fake = (self.statistics[side] for side in self.sides)
        for side in self.sides:
            self.require(side, self.statistics[side].count)
        return authentic(real, fake, device=self.device)
