"""Authenticity: the share of fakes whose nearest real image has another real image closer to it than the fake.

Alaa, van Breugel, Saveliev & van der Schaar 2022 (arXiv:2102.08921, section 3.3). It detects memorisation: a generator
that copies its training images, with or without noise, scores near 0. A generator far from the data scores 1, so read
it together with precision. `real` must be the images that the generator was trained on. Reproduces AuthPct of dgm-eval
on the same features, which is in percent; here it is a share in [0, 1].

What fresh samples of the true distribution score depends on it: 1/3 (one dimension) to 1/2 (many) where density is the
same all around (Pickard 1982, on how often two points are each other's nearest), but .40 of Gaussians in 2 dimensions,
.63 in 10, .84 in 100, .89 in 2048. So every score states what fresh real images of its own set have: each half of the
real side, drawn at random, against the other half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.distances import Device, Vectors, moderate, rows_of, same
from ganmetrics.metrics.numerics.neighbours import SHARED, compared_as, nearest_squared
from ganmetrics.metrics.numerics.resampling import TRAINING_SET, UNMOVED, linear
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

ENOUGH = 1000  # fakes, with which the standard error of a share is below 0.016
REPEATED = 0.01  # share of fakes nearest to a repeated real image, from which a warning says so


def authentic(real: Vectors, fake: Vectors, *, device: Device = None) -> Tensor:
    """`(N_fake,)`: 1.0 if |f - r| > |r - r'|, with r the real vector nearest to fake f r' the real one nearest to r.

    Vectors are `(N_real, D)` and `(N_fake, D)`; the mean of the result is the authenticity. Raises StatisticsError for
    fewer than two real vectors or no fake one.
    """
    real, fake, _ = moderate(real, fake)
    to_real, nearest_real = nearest_squared(fake, real, 1, device=device)
    among_real, _ = nearest_squared(real, real, 1, exclude_self=True, device=device)
    return (to_real[:, 0] > among_real[nearest_real[:, 0], 0]).double()


def beside_repeats(real: Vectors, fake: Vectors, *, device: Device = None) -> Tensor:
    """`(N_fake,)` whether the real vector nearest to each fake is there twice, and any fake but a copy is further."""
    real, fake, _ = moderate(real, fake)
    _, nearest_real = nearest_squared(fake, real, 1, device=device)
    among_real, _ = nearest_squared(real, real, 1, exclude_self=True, device=device)
    return same(among_real[:, 0], real)[nearest_real[:, 0]]


def fresh(real: Vectors, seed: int = 0, *, device: Device = None) -> Tensor | None:
    """`(N,)`: 1.0 for each real vector `(N, D)` that is authentic against the half of the set without it, else 0.0.

    The halves are the first N // 2 of a permutation by `torch.randperm` and the rest. None below four vectors.
    """
    n = real.count if isinstance(real, Samples) else len(real)
    if n < 4:
        return None
    real, _, _ = moderate(real, real)
    half = torch.ones(n, dtype=torch.bool)
    half[torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: n // 2]] = False
    gaps, _ = _nearest_of(half, real, half, device)
    to_other, nearest = _nearest_of(~half, real, half, device)
    return (to_other > gaps[nearest]).double()


def _nearest_of(wanted: Tensor, real: Vectors, half: Tensor, device: Device) -> tuple[Tensor, Tensor]:
    """Squared distance and index `(N,)` of the real vector nearest to each other one, among those of the wanted half.

    The nearest of the whole set are known or soon asked for; they hold one of each half for nearly all.
    """
    k = min(SHARED, len(half) - 1)
    squared, indices = nearest_squared(real, real, k, exclude_self=True, device=device)
    suits = half[indices] == wanted[:, None]
    place = suits.double().argmax(dim=1, keepdim=True)
    distances, nearest = squared.gather(1, place)[:, 0], indices.gather(1, place)[:, 0]
    for side in (False, True):
        rows = (~suits.any(dim=1) & (wanted == side)).nonzero()[:, 0]
        if len(rows):
            among = (half == side).nonzero()[:, 0]
            found, at = nearest_squared(rows_of(real, rows), rows_of(real, among), min(2, len(among)), device=device)
            column = found.masked_fill(among[at] == rows[:, None], torch.inf).argmin(dim=1, keepdim=True)
            distances[rows], nearest[rows] = found.gather(1, column)[:, 0], among[at.gather(1, column)[:, 0]]
    return distances, nearest


class Authenticity(SingleValued):
    """Authenticity as a metric.

    Args:
        seed: of the halves of the real side that are compared with each other.
        device: where distances are computed; None means the first CUDA device, or the CPU.
    """

    entry = METRICS["authenticity"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples
    noun = "authenticity"

    def __init__(self, *, seed: int = 0, device: Device = None):
        super().__init__()
        self.seed, self.device = seed, device

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> Authenticity:
        return cls(seed=options.seed or 0, device=options.device)

    def least(self, side: str) -> int:
        return 2 if side == "real" else 1

    def compute(self) -> Result:
        """`protocol["fresh_real"]` is what fresh real images of this set have; see `fresh`.

        Raises StatisticsError for fewer than two real images or no fake one.
        """
        is_authentic, of_fresh, repeated = self.once(self._parts)
        about: dict[str, Any] = compared_as(*self.statistics.values())
        if of_fresh is not None:
            about |= {"fresh_real": float(of_fresh.mean()), "seed": self.seed}
        return Result(float(is_authentic.mean()), warnings=self._warnings(int(repeated.sum())), protocol=about)

    def _warnings(self, repeated: int) -> list[str]:
        count = self.statistics["fake"].count
        warnings = []
        if count < ENOUGH:
            error = 0.5 / max(count, 1) ** 0.5  # largest for a share of one half
            warnings.append(f"{count} fake images: a standard error up to {error:.2f}; give at least {ENOUGH}")
        if repeated >= REPEATED * count:
            warnings.append(
                f"{repeated} of {count} fake images are nearest to a real image that is repeated (another has the same "
                "features), and are authentic unless they are copies; remove the repeats"
            )
        return warnings

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Resamples the fakes. The real images stay fixed: they are the whole training set, and a copy of one that is
        left out would be none.

        A share of 0 or 1 has no interval, because resampling does not change it.
        """
        is_authentic, *_ = self.once(self._parts)
        if is_authentic.unique().numel() == 1:
            return {}
        return {self.name: is_authentic.mean() + linear(is_authentic, n, seed, "fake")}

    def held_fixed(self, name: str) -> str:
        return TRAINING_SET

    def without_interval(self, name: str) -> str:
        return UNMOVED

    def _parts(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Which fakes are authentic, which real images are, and which fakes are nearest to a repeated real one."""
        for side in self.sides:
            self.require(side, self.statistics[side].count)
        real, fake = (self.statistics[side] for side in self.sides)
        of_fresh = fresh(real, self.seed, device=self.device)  # first, because it asks for the most neighbours
        return authentic(real, fake, device=self.device), of_fresh, beside_repeats(real, fake, device=self.device)
