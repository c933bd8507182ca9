"""Frechet (Inception) Distance between two sets of feature vectors.

Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter 2017 (arXiv:1706.08500, Equation 6); Dowson & Landau 1982 for
the closed form. Reproduces TTUR, pytorch-fid, clean-fid, torch-fidelity and torchmetrics. It differs from them in the
arithmetic of the matrix square root: with factors A'A = S1 and B'B = S2, tr (S1 S2)^(1/2) is the nuclear norm of A B'.
That is real and accurate for any rank; a general square root of the product is complex, slow and ill-conditioned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics.base import Kind, Result, SingleValued
from ganmetrics.metrics.index import METRICS, SIDES
from ganmetrics.metrics.numerics.frechet_influence import frechet_influence
from ganmetrics.metrics.numerics.nuclear_norm import nuclear_norm
from ganmetrics.metrics.numerics.resampling import linear
from ganmetrics.metrics.numerics.scaling import largest_of, power_of_two
from ganmetrics.printable import brief
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.factors import symmetric_factor
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples

if TYPE_CHECKING:
    from typing_extensions import Self

NO_DISTANCE = 1e-11  # of the traces: a smaller distance may be rounding of 0
WELL_SAMPLED = 5  # images per dimension; with fewer, a warning tells the bias (TTUR asks for 10,000 at 2048)


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) of means `(D,)` and covariances `(D, D)`, in float64."""
    factors = [symmetric_factor(covariance.double()) for covariance in (covariance1, covariance2)]
    return frechet_distance_of_factors(mean1.double(), factors[0], mean2.double(), factors[1])


def frechet_distance_of_factors(mean1: Tensor, factor1: Tensor, mean2: Tensor, factor2: Tensor) -> float:
    """The distance from factors A `(r1, D)` with A'A = S1 and B `(r2, D)` with B'B = S2; r1 and r2 may be below D.

    Rounding may make it negative, by about 1e-15 of the traces and at most 1e-11.

    Raises StatisticsError for a distance that is too large or too small for float64.
    """
    between = mean1 - mean2
    unit = power_of_two(largest_of([between, factor1, factor2]))
    a, b = factor1 / unit, factor2 / unit
    traces = a.square().sum() + b.square().sum()
    scaled = float((between / unit).square().sum() + traces - 2 * nuclear_norm(a @ b.T, traces))
    distance = scaled * float(unit) * float(unit)
    if not math.isfinite(distance) or (distance == 0 and scaled > NO_DISTANCE * float(traces)):
        raise StatisticsError(
            f"the Fréchet distance of features as far apart as {float(unit):.0e} is beyond float64; scale all features"
        )
    return distance


def frechet_distance_of_moments(one: Moments, other: Moments, ddof: int = 1) -> float:
    """The distance between two sets from their moments."""
    return frechet_distance_of_factors(
        one.mean().cpu(), one.factor(ddof).cpu(), other.mean().cpu(), other.factor(ddof).cpu()
    )


def ddof_of(options: MetricOptions) -> int:
    """The requested ddof, 0 or 1; the default is 1. Raises OptionError for any other value."""
    ddof = 1 if options.ddof is None else options.ddof
    if ddof not in (0, 1):
        raise OptionError(f"--ddof: expected 1 (divide by n - 1) or 0 (by n), got {brief(ddof)}")
    return ddof


class FrechetDistance(SingleValued):
    """Fréchet distance as a metric.

    Args:
        ddof: 1 divides covariances by n - 1 (TTUR and most tools), 0 by n (stylegan3).
        confidence: keep the vectors themselves, which intervals need.
    """

    entry = METRICS["fid"]
    canonical = ("inception", "2048")
    kind: ClassVar[Kind] = "features"
    statistic: type[Moments] | type[Samples] = Moments
    moments_serve: ClassVar[Sequence[str]] = SIDES
    noun = "a Fréchet distance"

    def __init__(self, *, ddof: int = 1, confidence: bool = False):
        if confidence:
            self.statistic = Samples
        super().__init__()
        self.ddof = ddof

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> Self:
        return cls(ddof=ddof_of(options), confidence=options.confidence)

    def least(self, side: str) -> int:
        return 2

    def moments(self, side: str) -> Moments:
        """Moments of one side."""
        statistic = self.statistics[side]
        return statistic if isinstance(statistic, Moments) else statistic.moments()

    def compute(self) -> Result:
        """Raises StatisticsError for fewer than two images per side, and for sides of different dimensions."""
        self._check()
        raw = frechet_distance_of_moments(self.moments("real"), self.moments("fake"), self.ddof)
        return Result(max(raw, 0.0), raw=raw, warnings=self._small_sample_warnings(), protocol={"ddof": self.ddof})

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """To first order, from the influence of each image. Empty if a side has moments but not its vectors."""
        changes = []
        for own, other in (SIDES, SIDES[::-1]):
            blocks = self._blocks(own)
            if blocks is None:
                return {}
            influence = frechet_influence(self.moments(own), self.moments(other), blocks, self.ddof)
            changes.append(linear(influence, n, seed, own))
        return {self.name: self.compute().value + changes[0] + changes[1]}

    def without_interval(self, name: str) -> str:
        return "statistics files hold moments alone, and no images to resample"

    def _blocks(self, side: str) -> Iterable[Tensor] | None:
        """The vectors of a side in blocks; None if they are not kept."""
        statistic = self.statistics[side]
        if isinstance(statistic, Samples):
            return statistic.blocks()
        rows = statistic.rows()
        return None if rows is None else [rows]

    def _check(self) -> None:
        real, fake = (self.statistics[side] for side in self.sides)
        for side in self.sides:
            count = self.statistics[side].count
            if count is not None:  # unknown in other tools' files
                self.require(side, count)
        if real.dim != fake.dim:
            raise StatisticsError(f"expected features of one dimension, got {real.dim} (real) and {fake.dim} (fake)")

    def _small_sample_warnings(self) -> list[str]:
        dim = self.statistics["real"].dim or 0
        counts = {side: self.statistics[side].count for side in self.sides}
        small = {side: n for side, n in counts.items() if n is not None and n < WELL_SAMPLED * dim}
        if not small:
            return []
        images = " and ".join(f"{n} {side}" for side, n in small.items())
        rank = "without full rank their covariance is a guess, and " if min(small.values()) <= dim else ""
        return [
            f"{images} images for {dim} dimensions: {rank}the value is biased upward; compare it only at these counts, "
            f"or give at least {WELL_SAMPLED * dim}"
        ]
