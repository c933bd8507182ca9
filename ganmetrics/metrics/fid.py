"""Frechet (Inception) Distance between two sets of feature vectors.

Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter 2017 (arXiv:1706.08500, Equation 6); Dowson & Landau 1982 for
the closed form. Reproduces TTUR, pytorch-fid, clean-fid, torch-fidelity and torchmetrics. It differs from them in the
arithmetic of the matrix square root: with factors A'A = S1 and B'B = S2, tr (S1 S2)^(1/2) is the nuclear norm of A B',
real and exact for any rank, where a general square root of the product is complex, slow and ill-conditioned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.moments import Moments, symmetric_factor

WELL_SAMPLED = 5  # images per dimension below which the bias in n is worth a sentence (TTUR asks for 10,000 at 2048)


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) of means `(D,)` and covariances `(D, D)`, in float64."""
    factors = [symmetric_factor(covariance.double()) for covariance in (covariance1, covariance2)]
    return frechet_distance_of_factors(mean1.double(), factors[0], mean2.double(), factors[1])


def frechet_distance_of_factors(mean1: Tensor, factor1: Tensor, mean2: Tensor, factor2: Tensor) -> float:
    """The same from factors A `(r1, D)` with A'A = S1 and B `(r2, D)` with B'B = S2; r may be below D.

    May come out below 0 by rounding, about 1e-15 of the traces.
    """
    cross = torch.linalg.svdvals(factor1 @ factor2.T).sum()
    between = (mean1 - mean2).square().sum()
    return float(between + factor1.square().sum() + factor2.square().sum() - 2 * cross)


class FrechetDistance(SingleValued):
    """Streaming form; ddof 1 divides covariances by n - 1 (TTUR and all its kin), 0 by n (stylegan3)."""

    entry = METRICS["fid"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Moments

    def __init__(self, *, ddof: int = 1):
        super().__init__()
        self.ddof = ddof

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> FrechetDistance:
        ddof = 1 if options.ddof is None else options.ddof
        if ddof not in (0, 1):
            raise OptionError(f"--ddof: expected 1 (divide by n - 1) or 0 (by n), came {ddof}")
        return cls(ddof=ddof)

    def compute(self) -> Result:
        """Raises StatisticsError below two images a side, and where the two sides have unlike dimensions."""
        real, fake = (self.statistics[side] for side in self.sides)
        for side in self.sides:
            count = self.statistics[side].count
            if count is not None and count < 2:
                raise StatisticsError(f"a Fréchet distance needs at least 2 {side} images, came {count}")
        if real.dim != fake.dim:
            raise StatisticsError(f"expected features of one dimension, came {real.dim} (real) and {fake.dim} (fake)")
        raw = frechet_distance_of_factors(
            real.mean().cpu(), real.factor(self.ddof).cpu(), fake.mean().cpu(), fake.factor(self.ddof).cpu()
        )
        return Result(max(raw, 0.0), raw=raw, warnings=self._small_sample_warnings(), protocol={"ddof": self.ddof})

    def _small_sample_warnings(self) -> list[str]:
        dim = self.statistics["real"].dim or 0
        counts = {side: self.statistics[side].count for side in self.sides}
        small = {side: n for side, n in counts.items() if n is not None and n < WELL_SAMPLED * dim}
        if not small:
            return []
        said = " and ".join(f"{n} {side}" for side, n in small.items())
        rank = "without full rank their covariance is a guess, and " if min(small.values()) <= dim else ""
        return [
            f"{said} images for {dim} dimensions: {rank}the value is biased upward; compare it only at these counts, "
            f"or give at least {WELL_SAMPLED * dim}"
        ]
