"""Kernel Inception Distance: unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3.

Binkowski, Sutherland, Arbel & Gretton 2018 (arXiv:1801.01401, section 4.1 and Appendix B). By default it is over all
pairs of all images: the mean over random subsets estimates this value, with extra noise, and here the standard error
has a closed form. Some protocols use subsets, drawn as torch-fidelity, torchmetrics and clean-fid draw them. It differs
from those tools in summing in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.distances import Device
from ganmetrics.metrics.numerics.gram import Frame, Gram, Kernel, Sums
from ganmetrics.metrics.numerics.scaling import deviation
from ganmetrics.protocols import MetricOptions, Protocol, Subsets
from ganmetrics.statistics.samples import Samples, with_start

CUSTOMARY = 1000  # images in the subsets of published values
FEWEST = 4  # images per side for a standard error, whose terms are means over up to 4 distinct indices
GATHERED = 64 * 2**20  # bytes of subsets in memory at a time
T = TypeVar("T", float, Tensor)


def _own(centred: Tensor, frame: Frame) -> Tensor:
    return centred @ frame.mean / len(frame.mean)


def _cubed(own_x: Tensor, own_y: Tensor, products: Tensor, frame: Frame) -> Tensor:
    """(c + e)^3 - c^3 - 3 c^2 (a(x) + a(y)), with c = m.m / D + 1 for the mean m and c + e = x.y / D + 1.

    With p = x'y' / D, e = p + a(x) + a(y). What remains is 3 c^2 p + e^2 (3 c + e), where nothing cancels: a cube less
    a cube would lose all digits of features far from 0. In a frame of unit u, products are of vectors / u, and the
    result is k / (u^2 max(u, 1)^4).
    """
    dim, shrink, grow = len(frame.mean), min(frame.unit, 1.0) ** 2, max(frame.unit, 1.0)
    at_mean = 1 / grow / grow + shrink * float(frame.mean.square().mean())  # c / max(u, 1)^2
    e = torch.add(own_x, own_y).add_(products, alpha=1 / dim)
    rest = torch.add(e.new_tensor(3 * at_mean * shrink), e, alpha=shrink**2)
    return rest.mul_(e).mul_(e).add_(products, alpha=3 * at_mean**2 / dim)


POLYNOMIAL = Kernel(_own, _cubed)


def _restored(scaled: T, unit: float) -> T:
    """Discrepancies of the kernel from those in a frame of this unit; infinite or 0 beyond float64."""
    for factor in (unit, unit, *4 * [max(unit, 1.0)]):  # one by one: their product may be beyond float64
        scaled = scaled * factor
    return scaled


def kernel_distance(real: Samples, fake: Samples, *, device: Device = None) -> tuple[float, float | None]:
    """Unbiased squared discrepancy of vectors `(m, D)` and `(n, D)`, and its standard error.

    mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean of k(x_i, y_j). If both sides have the
    same distribution, it is negative about as often as positive. The standard error is None with fewer than four images
    on a side. A negative estimate of a part of the variance counts as 0; so if both sides have the same distribution,
    where the first part is truly 0, the standard error is about a fifth too large.

    Raises StatisticsError for fewer than two images on a side, and for features so large, or so small, that it is
    beyond float64.
    """
    gram = Gram(POLYNOMIAL, real, fake, device=device)
    sums = gram.sums()
    value, error = _within_float64(_unbiased(*sums), gram.frame.unit), None
    if min(real.count, fake.count) >= FEWEST:
        variance = sum(max(part, 0.0) for part in variance_parts(*sums))
        error = _within_float64(variance**0.5, gram.frame.unit)
    return value, error


def _within_float64(scaled: float, unit: float) -> float:
    """`_restored`. Raises StatisticsError for a number that is too large or too small."""
    value = _restored(scaled, unit)
    if not math.isfinite(value) or (value == 0 and scaled != 0):
        raise StatisticsError(
            f"the kernel distance of features as large as {unit:.0e} is beyond float64; scale all features"
        )
    return value


def _unbiased(real: Sums, fake: Sums, between: Sums) -> float:
    m, n = len(real.rows), len(fake.rows)
    return real.total / (m * (m - 1)) + fake.total / (n * (n - 1)) - 2 * between.total / (m * n)


def variance_parts(real: Sums, fake: Sums, between: Sums) -> tuple[float, float]:
    """Unbiased estimates of the two parts of the variance of the unbiased discrepancy; needs four images per side.

    Hoeffding 1948. First part, with g(x) = E k(x, X) - E k(x, Y): 4 Var g(X) / m + 4 Var g(Y) / n. It is 0 if both
    sides have the same distribution. Second part: 2 v_xx / (m (m - 1)) + 2 v_yy / (n (n - 1)) + 4 v_xy / (m n), with v
    the variance of a kernel value that its two conditional means do not explain. Each moment is a mean over distinct
    indices, as in Sutherland et al. 2017 (arXiv:1611.04488, Appendix A), here also for m != n. Either estimate may be
    negative.
    """
    m, n = len(real.rows), len(fake.rows)
    of_x, rest_x = _within_parts(real)
    of_y, rest_y = _within_parts(fake)
    c, d = between.rows, between.columns
    by_x = (float(c.square().sum()) - between.squares) / (m * n * (n - 1))
    by_y = (float(d.square().sum()) - between.squares) / (m * (m - 1) * n)
    distinct = between.total**2 - float(c.square().sum() + d.square().sum()) + between.squares
    squared_mean = distinct / (m * (m - 1) * n * (n - 1))
    first_x = of_x + by_x - squared_mean - 2 * _covariance(real, c, n)
    first_y = of_y + by_y - squared_mean - 2 * _covariance(fake, d, m)
    rest = between.squares / (m * n) - by_x - by_y + squared_mean
    second = 2 * rest_x / (m * (m - 1)) + 2 * rest_y / (n * (n - 1)) + 4 * rest / (m * n)
    return 4 * first_x / m + 4 * first_y / n, second


def _within_parts(sums: Sums) -> tuple[float, float]:
    """Unbiased Var E[k(X, X') | X] and Var k(X, X') - 2 Var E[k(X, X') | X]."""
    m, rows = len(sums.rows), float(sums.rows.square().sum())
    pairs = m * (m - 1)
    # Means of products of two kernel values that have two, three or four distinct indices between them.
    two, three = sums.squares / pairs, (rows - sums.squares) / (pairs * (m - 2))
    four = (sums.total**2 - 4 * rows + 2 * sums.squares) / (pairs * (m - 2) * (m - 3))
    return three - four, two - 2 * three + four


def _covariance(within: Sums, between: Tensor, others: int) -> float:
    """Unbiased Cov(E[k(X, X') | X], E[k(X, Y) | X]) from row sums of both; `others` is the number of Y."""
    m, joint = len(within.rows), float(within.rows @ between)
    product = (within.total * float(between.sum()) - 2 * joint) / (m * (m - 1) * (m - 2) * others)
    return joint / (m * (m - 1) * others) - product


def subset_distances(real: Samples, fake: Samples, subsets: Subsets, *, device: Device = None) -> Tensor:
    """Unbiased squared discrepancy of each pair of subsets, `(count,)` float64.

    Raises StatisticsError for fewer than two images on a side, and for distances beyond float64.
    """
    counts = {"real": real.count, "fake": fake.count}
    size = min(subsets.size, *counts.values())
    if size < 2:
        raise StatisticsError(f"a kernel distance needs at least 2 images a side, got {min(counts.values())}")
    indices = _draw(counts, size, subsets)
    values = []
    at_once = max(1, GATHERED // (2 * size * (real.dim or 1) * 4))  # two sides of float32
    for start in range(0, subsets.count, at_once):
        gathered = [_gather(store, indices[side][start : start + at_once]) for side, store in _sides(real, fake)]
        for real_subset, fake_subset in zip(*gathered, strict=True):
            gram = Gram(POLYNOMIAL, real_subset, fake_subset, device=device)
            values.append(_within_float64(_unbiased(*gram.sums()), gram.frame.unit))
    return torch.tensor(values, dtype=torch.float64)


def _sides(real: Samples, fake: Samples) -> tuple[tuple[str, Samples], tuple[str, Samples]]:
    return ("real", real), ("fake", fake)


def _draw(counts: Mapping[str, int], size: int, subsets: Subsets) -> dict[str, Tensor]:
    """Indices `(count, size)` by side, drawn in the same sequence as the tool does."""
    numpy, generator = np.random.RandomState(subsets.seed), torch.Generator().manual_seed(subsets.seed)

    def draw(n: int) -> Tensor:
        if subsets.order == "torch":
            return torch.randperm(n, generator=generator)[:size]
        return torch.from_numpy(numpy.choice(n, size, replace=False))

    sides = ("real", "fake") if subsets.first == "real" else ("fake", "real")
    pairs = [[draw(counts[side]) for side in sides] for _ in range(subsets.count)]
    return {side: torch.stack([pair[i] for pair in pairs]) for i, side in enumerate(sides)}


def _gather(store: Samples, indices: Tensor) -> Iterator[Samples]:
    """The subsets at indices `(s, size)`, from one pass over the store."""
    wanted = indices.reshape(-1)
    out: Tensor | None = None
    for start, block in with_start(store.blocks()):
        out = block.new_empty(len(wanted), block.shape[1]) if out is None else out
        in_block = ((wanted >= start) & (wanted < start + len(block))).nonzero()[:, 0]
        out[in_block] = block[wanted[in_block] - start]
    for rows in () if out is None else out.split(indices.shape[1]):
        subset = Samples()
        subset.update(rows)
        yield subset


class KernelInceptionDistance(SingleValued):
    """Kernel Inception Distance as a metric.

    Args:
        subsets: how subsets are drawn; None uses all pairs of all images.
        device: see `Gram`.
    """

    entry = METRICS["kid"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples
    noun = "a kernel distance"

    def __init__(self, *, subsets: Subsets | None = None, device: Device = None):
        super().__init__()
        self.device = device
        self.subsets = subsets

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> KernelInceptionDistance:
        """The metric with the rules of a protocol and the user's options. Raises OptionError."""
        if options.subsets is not None and options.subsets < 1:
            raise OptionError(f"--subsets: expected at least 1, got {options.subsets}")
        if options.subset_size is not None and options.subset_size < 2:
            raise OptionError(f"--subset-size: expected at least 2, got {options.subset_size}")
        asked = options.subsets is not None or options.subset_size is not None
        subsets = protocol.subsets or (Subsets() if asked else None)
        return cls(subsets=subsets and subsets.changed(options), device=options.device)

    def least(self, side: str) -> int:
        return 2

    def compute(self) -> Result:
        """`spread` is the standard error; with subsets it is the standard deviation over them (ddof 0).

        Raises StatisticsError for fewer than two images per side, and for sides of different dimensions.
        """
        real, fake = (self.statistics[side] for side in self.sides)
        if self.subsets is None:
            value, error = kernel_distance(real, fake, device=self.device)
            return Result(value, spread=error, warnings=self._small(), protocol={"estimate": "unbiased, all pairs"})
        values = subset_distances(real, fake, self.subsets, device=self.device)
        size = min(self.subsets.size, real.count, fake.count)
        about = {
            "estimate": "unbiased, mean over subsets",
            "subsets": self.subsets.count,
            "subset_size": size,
            "order": f"drawn by {self.subsets.order}, {self.subsets.first} first",
            "seed": self.subsets.seed,
            "spread_ddof": 0,
        }
        return Result(float(values.mean()), spread=deviation(values, 0), warnings=self._shrunk(), protocol=about)

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Replicates of the estimate over all pairs. With subsets, the noise of their draw is added by resampling them.

        If both sides have the same distribution, they spread more than the estimate does (Arcones & Giné 1992).
        """
        real, fake = (self.statistics[side] for side in self.sides)
        gram = Gram(POLYNOMIAL, real, fake, device=self.device)
        sums = gram.resampled(n, seed)
        values = (
            sums.real / sums.real_pairs + sums.fake / sums.fake_pairs - 2 * sums.between / (real.count * fake.count)
        )
        values = _restored(values, gram.frame.unit)
        if self.subsets is not None:
            distances = subset_distances(real, fake, self.subsets, device=self.device)
            rng = torch.Generator().manual_seed(seed)
            resampled = torch.randint(len(distances), (n, len(distances)), generator=rng)
            values += distances[resampled].mean(dim=1) - distances.mean()
        return {self.name: values}

    def _small(self) -> list[str]:
        counts = {side: self.statistics[side].count for side in self.sides}
        small = [f"{n} {side}" for side, n in counts.items() if n < CUSTOMARY]
        if not small:
            return []
        error = "its standard error is itself a guess"
        if min(counts.values()) < FEWEST:
            error = f"it has no standard error below {FEWEST} images a side"
        return [f"{' and '.join(small)} images: the value is unbiased, but {error}; give at least {CUSTOMARY}"]

    def _shrunk(self) -> list[str]:
        counts = [self.statistics[side].count for side in self.sides]
        if self.subsets is None or min(counts) >= self.subsets.size:
            return []
        return [
            f"subsets of {self.subsets.size} need as many images a side, got {counts[0]} real and {counts[1]} fake: "
            f"they were shrunk to {min(counts)}; compare only at this size"
        ]
