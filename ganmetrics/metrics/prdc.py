"""Precision, recall, density and coverage: how much of each set lies in the k-nearest-neighbour balls of the other.

Kynkäänniemi, Karras, Laine, Lehtinen & Aila 2019 (arXiv:1904.06991, Equations 1 and 2): precision and recall, k = 3,
closed balls (`<=`); reproduces their code, ADM and torch-fidelity on the same features. Naeem, Oh, Uh, Choi & Yoo 2020
(arXiv:2002.09797, Equations 5 and 6): density and coverage, k = 5, open balls (`<`); reproduces the prdc package, which
uses the same balls for precision and recall too: `PRDC(precision_recall=NAEEM)`. It differs from all of them in
two ways: comparisons are exact in float64 (float32 distances lose ties), and memory does not grow with the number of
pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.metrics.base import Metric, Result
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.ball_halves import Near, near, reach_of, shares
from ganmetrics.metrics.numerics.distances import Device, Vectors, moderate, same
from ganmetrics.metrics.numerics.neighbours import SHARED, Balls, ball_counts, compared_as, nearest_squared
from ganmetrics.metrics.numerics.resampling import UNMOVED, halves
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

REPEATED = 0.1  # share of images that are repeated, from which a warning says so also if no ball has radius 0
CUSTOMARY = 10_000  # images per side in Naeem et al.; Kynkäänniemi et al. and ADM use 50,000


@dataclass(frozen=True)
class Manifold:
    """Balls around the vectors of a set: the radius is the distance to the k-th nearest other vector of the same set.

    closed: whether a ball includes its surface (`<=`) or not (`<`).
    """

    k: int
    closed: bool

    def holds(self, squared: Tensor, squared_radii: Tensor) -> Tensor:
        """Whether squared distances are within balls of these squared radii."""
        return squared <= squared_radii if self.closed else squared < squared_radii

    def __str__(self) -> str:
        return f"distance {'<=' if self.closed else '<'} that to neighbour {self.k}"


KYNKAANNIEMI = Manifold(3, closed=True)
NAEEM = Manifold(5, closed=False)


@dataclass(frozen=True)
class Membership:
    """Which images lie in the balls of the other set. Each of the four values is the mean of the tensor of its name.

    Attributes:
        precision: `(N_fake,)` 1.0 for a fake in the ball of any real image, else 0.0.
        recall: `(N_real,)` likewise for a real image in the ball of any fake.
        density: `(N_fake,)` number of balls of real images that hold a fake, divided by k; may exceed 1.
        coverage: `(N_real,)` 1.0 for a real image whose ball holds any fake.
        repeats: `(N, k)` by side, whether the nearest, second nearest, ... other image of the side is the same one
            again, up to the largest k of its balls.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor
    repeats: Mapping[str, Tensor]


def membership(
    real: Vectors,
    fake: Vectors,
    precision_recall: Manifold = KYNKAANNIEMI,
    density_coverage: Manifold = NAEEM,
    *,
    device: Device = None,
) -> Membership:
    """Membership of vectors `(N_real, D)` and `(N_fake, D)` in the balls of the other side.

    Raises StatisticsError for fewer than k + 1 vectors on a side whose balls are needed, and for different dimensions.
    """
    real, fake, _ = moderate(real, fake)
    k = density_coverage.k
    n_real, most = real.count if isinstance(real, Samples) else len(real), max(precision_recall.k, k)
    reals, _ = nearest_squared(real, real, max(most, min(SHARED, n_real - 1)), exclude_self=True, device=device)
    fakes, _ = nearest_squared(fake, fake, precision_recall.k, exclude_self=True, device=device)
    balls = [
        Balls(reals[:, precision_recall.k - 1], "points", precision_recall.closed),
        Balls(fakes[:, precision_recall.k - 1], "queries", precision_recall.closed),
        Balls(reals[:, k - 1], "points", density_coverage.closed),
    ]
    (in_real, _), (_, in_fake), (within, fakes_within) = ball_counts(fake, real, balls, device=device)
    return Membership(
        precision=(in_real > 0).double(),
        recall=(in_fake > 0).double(),
        density=within.double() / k,
        coverage=(fakes_within > 0).double(),
        repeats={"real": same(reals[:, :most], real), "fake": same(fakes, fake)},
    )


class PRDC(Metric):
    """Precision, recall, density and coverage as a metric.

    Args:
        precision_recall, density_coverage: the manifold of each pair of values.
        confidence: find as many neighbours at once as intervals need.
        device: where distances are computed; None means the first CUDA device, or the CPU.
    """

    entry = METRICS["prdc"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples

    def __init__(
        self,
        *,
        precision_recall: Manifold = KYNKAANNIEMI,
        density_coverage: Manifold = NAEEM,
        confidence: bool = False,
        device: Device = None,
    ):
        super().__init__()
        self.confidence = confidence
        self.manifolds = {
            "precision": precision_recall,
            "recall": precision_recall,
            "density": density_coverage,
            "coverage": density_coverage,
        }
        self.device = device

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> PRDC:
        """Every protocol follows the papers (torch-fidelity has the first pair only); `k` is for all four values."""
        pairs = [Manifold(options.k or pair.k, pair.closed) for pair in (KYNKAANNIEMI, NAEEM)]
        return cls(
            precision_recall=pairs[0],
            density_coverage=pairs[1],
            confidence=options.confidence,
            device=options.device,
        )

    def least(self, side: str) -> int:
        return max(manifold.k for manifold in self.manifolds.values()) + 1

    def too_few(self, side: str, count: int) -> str:
        least = self.least(side)
        return (
            f"precision, recall, density and coverage with k = {least - 1} need at least {least} {side} images, got "
            f"{count}; give more images or a smaller --k"
        )

    def results(self) -> Mapping[str, Result]:
        """Raises StatisticsError for k or fewer images on a side."""
        members, few = self._membership(), self._small_sample_warnings()
        repeated = {side: self._repeats(side, members.repeats[side]) for side in self.sides}
        return {
            name: Result(
                float(getattr(members, name).mean()),
                warnings=few + repeated["fake" if name == "recall" else "real"],
                protocol={"k": manifold.k, "within": str(manifold), **compared_as(*self.statistics.values())},
            )
            for name, manifold in self.manifolds.items()
        }

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Values on random halves of both sides, each with balls of its own; see `halves`.

        A value that is the same for every image (a share of 0 or 1) has no interval, because resampling does not change
        it.
        """
        members = self._membership()
        moved = [name for name in self.manifolds if getattr(members, name).unique().numel() > 1]
        shared = self._near() if moved and self._can_be_halved() else None
        if shared is None:
            return {}
        counts = {side: self.statistics[side].count for side in self.sides}
        reals, fakes = (halves(counts[side], n, seed, side) for side in self.sides)
        balls = self._pairs()
        values = torch.stack([shares(shared, *both, *balls) for both in zip(reals, fakes, strict=True)])
        return {name: column for name, column in zip(self.manifolds, values.T, strict=True) if name in moved}

    def without_interval(self, name: str) -> str:
        if getattr(self._membership(), name).unique().numel() == 1:
            return UNMOVED
        if not self._can_be_halved():
            return f"it is from halves of both sides, which takes at least {2 * self.least('real')} images a side"
        return "more images lie in each other's balls than memory holds"

    def _can_be_halved(self) -> bool:
        return all(self.statistics[side].count >= 2 * self.least(side) for side in self.sides)

    def _pairs(self) -> tuple[Manifold, Manifold]:
        return self.manifolds["precision"], self.manifolds["density"]

    def _near(self) -> Near | None:
        real, fake = (self.statistics[side] for side in self.sides)
        first, second = (manifold.k for manifold in self._pairs())
        return near(real, fake, max(first, second), first, self.device)

    def _membership(self) -> Membership:
        real, fake = (self.statistics[side] for side in self.sides)
        for side in self.sides:
            self.require(side, self.statistics[side].count)
        if self.confidence and self._can_be_halved():
            first, second = (manifold.k for manifold in self._pairs())
            for store, k in ((real, max(first, second)), (fake, first)):
                nearest_squared(store, store, reach_of(k, store.count), exclude_self=True, device=self.device)
        return self.once(lambda: membership(real, fake, *self._pairs(), device=self.device))

    def _repeats(self, side: str, repeats: Tensor) -> list[str]:
        """The warning of repeated images, whose balls are small, for the values that are over balls of this side."""
        k = self.manifolds["recall"].k if side == "fake" else min(manifold.k for manifold in self.manifolds.values())
        repeated, empty = int(repeats[:, 0].sum()), int(repeats[:, k - 1].sum())
        if not empty and repeated < REPEATED * len(repeats):
            return []
        effect = f"the balls of {empty} reach no further than a repeat" if empty else "their balls reach fewer others"
        return [
            f"{repeated} of {len(repeats)} {side} images are repeated (another has the same features): with k = {k} "
            f"{effect}; remove the repeats, or give a larger --k"
        ]

    def _small_sample_warnings(self) -> list[str]:
        counts = {side: self.statistics[side].count for side in self.sides}
        small = " and ".join(f"{n} {side}" for side, n in counts.items() if n < CUSTOMARY)
        if not small:
            return []
        return [
            f"{small} images: the balls are wide and the value depends on both numbers; compare it only at these, "
            f"or give at least {CUSTOMARY} a side"
        ]
