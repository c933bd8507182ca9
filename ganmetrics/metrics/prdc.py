"""Precision, recall, density and coverage: how much of each set lies in the k-nearest-neighbour balls of the other.

Kynkäänniemi, Karras, Laine, Lehtinen & Aila 2019 (arXiv:1904.06991, Equations 1 and 2): precision and recall, k = 3,
balls with their surface (`<=`); reproduces theirs, ADM's and torch-fidelity's on the same features. Naeem, Oh, Uh, Choi
& Yoo 2020 (arXiv:2002.09797, Equations 5 and 6): density and coverage, k = 5, balls without (`<`); reproduces the prdc
package, which takes precision and recall in that way too: `PRDC(precision_recall=NAEEM)`. It differs from all of them
in deciding every comparison as float64 would (their float32 distances lose ties), and in memory that does not grow with
the number of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.metrics.base import Metric, Result
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.distances import Device, Vectors
from ganmetrics.metrics.numerics.neighbours import Balls, ball_counts, nearest_squared
from ganmetrics.metrics.numerics.resampling import UNMOVED, linear
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

CUSTOMARY = 10_000  # images a side in Naeem et al.; Kynkäänniemi et al. and ADM take 50,000


@dataclass(frozen=True)
class Manifold:
    """Balls out to each vector's k-th nearest neighbour in its own set, itself left out; with their surface or not."""

    k: int
    closed: bool

    def __str__(self) -> str:
        return f"distance {'<=' if self.closed else '<'} that to neighbour {self.k}"


KYNKAANNIEMI = Manifold(3, closed=True)
NAEEM = Manifold(5, closed=False)


@dataclass(frozen=True)
class Membership:
    """Who lies in whose balls; the four values are means of these, in the order of the images.

    Attributes:
        precision: `(N_fake,)` 1.0 for a fake in the ball of any real image, else 0.0.
        recall: `(N_real,)` likewise for a real image in the ball of any fake.
        density: `(N_fake,)` in how many balls of real images a fake is, over k; may exceed 1.
        coverage: `(N_real,)` 1.0 for a real image whose own ball holds any fake.
        coverage_influence: `(N_real,)` the derivative of the coverage by the share of each real image among all; None
            with too few of them.
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
    """Of vectors `(N_real, D)` and `(N_fake, D)`, each side measured by the balls of the other.

    Raises StatisticsError with fewer vectors than k + 1 on a side that is a manifold, or of unlike dimensions.
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
    covered[0] = torch.zeros(n_real, dtype=torch.float64)
    return Membership(
        precision=(in_real > 0).double(),
        recall=(in_fake > 0).double(),
        density=by_rank[k][0].double() / k,
        coverage=covered[k],
        coverage_influence=_influence(covered, indices[:, :k], span) if span else None,
    )


def _influence(covered: Mapping[int, Tensor], neighbours: Tensor, span: int) -> Tensor:
    """On the coverage: an image counts itself, and as one of the k nearest of others it keeps their balls small.

    Without it their k-th neighbour is the next one. What one rank does is taken over `span` ranks to either side: one
    step alone is so uneven that intervals come out 1.4 times too wide, as a jackknife's of a median do; leaving the
    balls as they are, up to 1.5 times too narrow.

    covered: by rank k, k - span, k + span the coverage `(N,)` with balls out to that neighbour; neighbours `(N, k)`.
    """
    k = neighbours.shape[1]
    of_a_rank = (covered[k + span] - covered[k - span]) / (2 * span)
    return covered[k].index_add(0, neighbours.flatten(), of_a_rank.repeat_interleave(k), alpha=-1)


class PRDC(Metric):
    """Streaming form.

    Args:
        precision_recall, density_coverage: the manifolds of either pair.
        device: where distances are computed; None is the first CUDA device, or the CPU.
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
        """Every protocol takes each pair as its paper does (torch-fidelity knows the first); `k` is for all four."""
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
        """Raises StatisticsError with k images or fewer on a side."""
        members, warnings = self._membership(), self._small_sample_warnings()
        return {
            name: Result(
                float(getattr(members, name).mean()),
                warnings=warnings,
                protocol={"k": manifold.k, "within": str(manifold)},
            )
            for name, manifold in self.manifolds.items()
        }

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Precision and density over fakes drawn anew, the reals and their balls fixed; recall and coverage over reals.

        So an interval says how sure a value is for this reference set (precision, density) or this set of fakes
        (recall, coverage). The balls of coverage move with the reals, to first order. A share of 0 or 1, which drawing
        anew leaves as it is, has no interval.
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
