"""FID-infinity: the Frechet distance extrapolated to infinitely many fakes, by a line over 1/N.

Chong & Forsyth 2020 (arXiv:1911.07023, section 3): the bias of FID with N fakes is nearly linear in 1/N.
Reproduces the authors' score_infinity.py: 15 sizes from 5,000 to all fakes, one random subset without replacement
for each, a least-squares line through the distances, and its value at 1/N = 0. It differs in two ways: the factor of
the real covariance is computed once, and with fewer than 10,000 fakes the smallest size is half of them, with a
warning. The bias from the number of *real* images stays.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganmetrics.metrics.base import Result
from ganmetrics.metrics.fid import WELL_SAMPLED, FrechetDistance, frechet_distance_of_factors
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.scaling import largest_of, power_of_two
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples, with_start

SMALLEST, POINTS = 5000, 15  # as in score_infinity.py
STRAIGHT = 2  # images per dimension; with fewer, FID is far from a line over 1/N (published: 5000 for 2048)


def sizes_of_subsets(n: int) -> list[int]:
    """The published sizes for `n` fakes; the smallest is half of them if that is less than 5,000."""
    return np.linspace(min(SMALLEST, n // 2), n, POINTS).astype(int).tolist()


def value_at_infinity(sizes: Tensor, distances: Tensor) -> tuple[float, float]:
    """Intercept of the least-squares line of distances `(k,)` over 1/sizes `(k,)`, and its standard error."""
    unit = power_of_two(largest_of([distances]))
    x, y = 1 / sizes.double(), distances.double() / unit
    centred = x - x.mean()
    slope = (centred @ y) / centred.square().sum()
    intercept = y.mean() - slope * x.mean()
    variance = (y - intercept - slope * x).square().sum() / (len(x) - 2)
    error = (variance * (1 / len(x) + x.mean().square() / centred.square().sum())).sqrt()
    return float(intercept * unit), float(error * unit)


class FidInfinity(FrechetDistance):
    """FID-infinity as a metric.

    `spread` is the standard error of the fit: what other subsets of the same images would change.
    """

    entry = METRICS["fid-infinity"]
    statistic = Samples
    moments_serve = ("real",)
    noun = "FID-infinity"

    def __init__(self, *, ddof: int = 1, confidence: bool = False, seed: int = 0):
        super().__init__(ddof=ddof, confidence=confidence)
        self.seed = seed

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> FidInfinity:
        metric = super().configured(protocol, options)
        metric.seed = options.seed or 0
        return metric

    def least(self, side: str) -> int:
        return 2 * POINTS if side == "fake" else super().least(side)

    def compute(self) -> Result:
        """Raises StatisticsError below 30 fakes, too few for 15 different sizes."""
        raw, error = self._fit()
        protocol = {"ddof": self.ddof, "sizes": sizes_of_subsets(self.statistics["fake"].count), "seed": self.seed}
        warnings = self._small_sample_warnings()
        if raw < 0:
            warnings.append(f"the line meets 1/N = 0 at {raw:.4g}, below 0; the value is given as 0, raw as it is")
        return Result(max(raw, 0.0), spread=error, raw=raw, warnings=warnings, protocol=protocol)

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """The replicates of FID (an image changes all subsets alike) plus noise with the standard error of the fit."""
        by_name = super().replicates(n, seed)
        # A third stream of random numbers: resampling the two sides uses [seed, 0] and [seed, 1].
        noise = np.random.default_rng([seed, len(self.sides)]).standard_normal(n)
        return {name: values + self._fit()[1] * torch.from_numpy(noise) for name, values in by_name.items()}

    def _fit(self) -> tuple[float, float]:
        """Intercept of the line and its standard error."""
        self._check()
        sizes = sizes_of_subsets(self.statistics["fake"].count)
        return self.once(lambda: value_at_infinity(torch.tensor(sizes), self._distances(sizes)))

    def _distances(self, sizes: list[int]) -> Tensor:
        """Distances `(k,)` of a random subset of each size; only one subset's moments are in memory at a time."""
        real, fake = self.moments("real"), self.statistics["fake"]
        mean, factor = real.mean().cpu(), real.factor(self.ddof).cpu()
        rng = np.random.default_rng(self.seed)
        distances = []
        for size in sizes:
            chosen = torch.zeros(fake.count, dtype=torch.bool)
            chosen[torch.from_numpy(rng.permutation(fake.count)[:size])] = True
            moments = Moments()
            for start, block in with_start(fake.blocks()):
                moments.update(block[chosen[start : start + len(block)]])
            distances.append(
                frechet_distance_of_factors(mean, factor, moments.mean().cpu(), moments.factor(self.ddof).cpu())
            )
        return torch.tensor(distances, dtype=torch.float64)

    def _small_sample_warnings(self) -> list[str]:
        dim, n = self.statistics["fake"].dim, self.statistics["fake"].count
        sizes, n_real = sizes_of_subsets(n), self.statistics["real"].count
        warnings = []
        if n < 2 * SMALLEST:
            untrusted = f"; FID is no line over 1/N below {STRAIGHT * dim} images ({dim} dimensions): do not trust it"
            warnings.append(
                f"{n} fake images: fitted over subsets of {sizes[0]} to {n}, where published values use {SMALLEST} to "
                f"50000{untrusted if sizes[0] < STRAIGHT * dim else ''}; give at least {2 * SMALLEST}"
            )
        if n_real is not None and n_real < WELL_SAMPLED * dim:
            warnings.append(
                f"{n_real} real images for {dim} dimensions: the bias that comes with few of these stays; "
                f"give at least {WELL_SAMPLED * dim}"
            )
        return warnings
