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

from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Metric, Result
from ganmetrics.metrics.distances import Device, Vectors
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.neighbours import Balls, ball_counts, nearest_squared
from ganmetrics.metrics.resampling import linear
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
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


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
    k = max(precision_recall.k, density_coverage.k)
    reals, _ = nearest_squared(real, real, k, exclude_self=True, device=device)
    fakes, _ = nearest_squared(fake, fake, precision_recall.k, exclude_self=True, device=device)
    balls = (
        Balls(reals[:, precision_recall.k - 1], "points", precision_recall.closed),
        Balls(fakes[:, precision_recall.k - 1], "queries", precision_recall.closed),
        Balls(reals[:, density_coverage.k - 1], "points", density_coverage.closed),
    )
    (in_real, _), (_, in_fake), (balls_around, fakes_within) = ball_counts(fake, real, balls, device=device)
    return Membership(
        precision=(in_real > 0).double(),
        recall=(in_fake > 0).double(),
        density=balls_around.double() / density_coverage.k,
        coverage=(fakes_within > 0).double(),
    )


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
        self._known: tuple[tuple, Membership] | None = None

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> PRDC:
        """Every protocol takes each pair as its paper does (torch-fidelity knows the first); `k` is for all four."""
        pairs = [Manifold(options.k or pair.k, pair.closed) for pair in (KYNKAANNIEMI, NAEEM)]
        return cls(precision_recall=pairs[0], density_coverage=pairs[1], device=options.device)

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
        """Precision and density over fakes drawn anew, the balls of the reals fixed; recall and coverage over reals.

        So an interval says how sure a value is of *this* reference set (precision, density, coverage) or of *this* set
        of fakes (recall). Balls of resampled images would be too small: an image drawn twice is its own neighbour.
        """
        members = self._membership()
        found = {}
        for name, side in (("precision", "fake"), ("recall", "real"), ("density", "fake"), ("coverage", "real")):
            of_each = getattr(members, name)
            found[name] = of_each.mean() + linear(of_each, n, seed, side)
        return found

    def _membership(self) -> Membership:
        """Computed once for what has been seen: samples only grow."""
        seen = [self.statistics[side] for side in self.sides]
        k = max(manifold.k for manifold in self.manifolds.values())
        for side, samples in zip(self.sides, seen, strict=True):
            if samples.count <= k:
                raise StatisticsError(
                    f"precision, recall, density and coverage with k = {k} need at least {k + 1} {side} images, came "
                    f"{samples.count}; give more images or a smaller --k"
                )
        key = tuple((samples, samples.count) for samples in seen)
        if self._known is None or self._known[0] != key:
            pairs = self.manifolds["precision"], self.manifolds["density"]
            self._known = key, membership(seen[0], seen[1], *pairs, device=self.device)
        return self._known[1]

    def _small_sample_warnings(self) -> list[str]:
        counts = {side: self.statistics[side].count for side in self.sides}
        small = " and ".join(f"{n} {side}" for side, n in counts.items() if n < CUSTOMARY)
        if not small:
            return []
        return [
            f"{small} images: the balls are wide and the value depends on both numbers; compare it only at these, "
            f"or give at least {CUSTOMARY} a side"
        ]
