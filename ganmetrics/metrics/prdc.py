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
from ganmetrics.metrics.numerics.distances import Device, Vectors
from ganmetrics.metrics.numerics.neighbours import Balls, ball_counts, compared_as, nearest_squared
from ganmetrics.metrics.numerics.resampling import UNMOVED, linear
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

CUSTOMARY = 10_000  # images per side in Naeem et al.; Kynkäänniemi et al. and ADM use 50,000


@dataclass(frozen=True)
class Manifold:
    """Balls around the vectors of a set: the radius is the distance to the k-th nearest other vector of the same set.

    closed: whether a ball includes its surface (`<=`) or not (`<`).
    """

    k: int
    closed: bool

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
        coverage_influence: `(N_real,)` derivative of the coverage by the weight of each real image; None with too few
            real images.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor
    coverage_influence: Tensor | None


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
    k, n_real = density_coverage.k, real.count if isinstance(real, Samples) else len(real)
    span = (k + 1) // 2 if k + (k + 1) // 2 < n_real else 0
    reals, indices = nearest_squared(real, real, max(precision_recall.k, k + span), exclude_self=True, device=device)
    fakes, _ = nearest_squared(fake, fake, precision_recall.k, exclude_self=True, device=device)
    ranks = sorted({max(k - span, 1), k, k + span})
    balls = [
        Balls(reals[:, precision_recall.k - 1], "points", precision_recall.closed),
        Balls(fakes[:, precision_recall.k - 1], "queries", precision_recall.closed),
        *(Balls(reals[:, rank - 1], "points", density_coverage.closed) for rank in ranks),
    ]
    (in_real, _), (_, in_fake), *others = ball_counts(fake, real, balls, device=device)
    by_rank = dict(zip(ranks, others, strict=True))
    covered = {rank: (fakes_within > 0).double() for rank, (_, fakes_within) in by_rank.items()}
    covered[0] = torch.zeros(n_real, dtype=torch.float64)  # k - span is 0 for k = 1: a ball of radius 0 holds nothing
    return Membership(
        precision=(in_real > 0).double(),
        recall=(in_fake > 0).double(),
        density=by_rank[k][0].double() / k,
        coverage=covered[k],
        coverage_influence=_influence(covered, indices[:, :k], span) if span else None,
    )


def _influence(covered: Mapping[int, Tensor], neighbours: Tensor, span: int) -> Tensor:
    """Influence `(N,)` of each real image on the coverage: by its own ball, and by the balls of its neighbours.

    Without an image, the balls that have it among their k nearest grow to the next neighbour. The effect of one rank is
    the mean slope over `span` ranks on both sides. A single step is so uneven that intervals come out 1.4 times too
    wide, like the jackknife of a median; with fixed balls they come out up to 1.5 times too narrow.

    covered: coverage `(N,)` with balls out to neighbour k - span, k and k + span, by rank; neighbours: `(N, k)`.
    """
    k = neighbours.shape[1]
    per_rank = (covered[k + span] - covered[k - span]) / (2 * span)
    return covered[k].index_add(0, neighbours.flatten(), per_rank.repeat_interleave(k), alpha=-1)


class PRDC(Metric):
    """Precision, recall, density and coverage as a metric.

    Args:
        precision_recall, density_coverage: the manifold of each pair of values.
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
        device: Device = None,
    ):
        super().__init__()
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
        return cls(precision_recall=pairs[0], density_coverage=pairs[1], device=options.device)

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
        members, warnings = self._membership(), self._small_sample_warnings()
        return {
            name: Result(
                float(getattr(members, name).mean()),
                warnings=warnings,
                protocol={"k": manifold.k, "within": str(manifold), **compared_as(*self.statistics.values())},
            )
            for name, manifold in self.manifolds.items()
        }

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Resamples the fakes for precision and density, and the real images for recall and coverage.

        The other side stays fixed: intervals hold for this reference set (precision, density) or for this set of fakes
        (recall, coverage). The balls of coverage change with the real images, to first order. A value that is the same
        for every image (a share of 0 or 1) has no interval, because resampling does not change it.
        """
        members = self._membership()
        influences = (
            ("precision", members.precision, "fake"),
            ("recall", members.recall, "real"),
            ("density", members.density, "fake"),
            ("coverage", members.coverage_influence, "real"),
        )
        return {
            name: getattr(members, name).mean() + linear(influence, n, seed, side)
            for name, influence, side in influences
            if influence is not None and getattr(members, name).unique().numel() > 1
        }

    def without_interval(self, name: str) -> str:
        if getattr(self._membership(), name).unique().numel() == 1:
            return UNMOVED
        k = self.manifolds[name].k
        return f"that of coverage with k = {k} takes at least {k + (k + 1) // 2 + 1} real images"

    def _membership(self) -> Membership:
        real, fake = (self.statistics[side] for side in self.sides)
        for side in self.sides:
            self.require(side, self.statistics[side].count)
        pairs = self.manifolds["precision"], self.manifolds["density"]
        return self.once(lambda: membership(real, fake, *pairs, device=self.device))

    def _small_sample_warnings(self) -> list[str]:
        counts = {side: self.statistics[side].count for side in self.sides}
        small = " and ".join(f"{n} {side}" for side, n in counts.items() if n < CUSTOMARY)
        if not small:
            return []
        return [
            f"{small} images: the balls are wide and the value depends on both numbers; compare it only at these, "
            f"or give at least {CUSTOMARY} a side"
        ]
