"""KID of features that are very large, very small or far from 0, against rational arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch

from ganmetrics.errors import StatisticsError
from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics.kid import kernel_distance, subset_distances
from ganmetrics.metrics.numerics.resampling import counts
from ganmetrics.protocols import Subsets
from tests.helpers.kernels import metric_of, store

Matrix = list[list[Fraction]]
# Offset, deviation and distance of the two sides.
SIZES = [
    (0, 1, 1),
    (1e4, 1e-3, 1e-3),
    (1e6, 1e-3, 1e-3),
    (-1e8, 1e-3, 1e-3),
    (1e6, 1e-9, 1e-9),
    (3, 1e-9, 1e-9),
    (0, 1e27, 1e27),
    (1e27, 1e20, 1e20),
    (1e45, 1e45, 1e45),
    (0, 1e-30, 1e-30),
    (1e-60, 1e-66, 1e-65),
]


def sides(rng: np.random.Generator, size: Sequence[float], m: int = 6, n: int = 7) -> tuple[np.ndarray, np.ndarray]:
    offset, deviation, distance = size
    return tuple(offset + deviation * rng.standard_normal((k, 5)) + i * distance for i, k in enumerate((m, n)))


def kernel(a: np.ndarray, b: np.ndarray) -> Matrix:
    """(x.y / D + 1)^3 without any rounding."""
    x, y = ([[Fraction(float(number)) for number in row] for row in side] for side in (a, b))
    return [[(sum(p * q for p, q in zip(u, v, strict=True)) / len(u) + 1) ** 3 for v in y] for u in x]


def mean(values: Iterable[Fraction]) -> Fraction:
    values = list(values)
    return sum(values) / len(values)


def distance(x: np.ndarray, y: np.ndarray) -> Fraction:
    within = [mean(k[i][j] for i, j in itertools.permutations(range(len(k)), 2)) for k in (kernel(x, x), kernel(y, y))]
    return sum(within) - 2 * mean(number for row in kernel(x, y) for number in row)


def variance(x: np.ndarray, y: np.ndarray) -> Fraction:
    """The square of the distance less an unbiased estimate of the squared true one, over distinct images."""
    (kx, ky, c), (m, n) = (kernel(x, x), kernel(y, y), kernel(x, y)), (len(x), len(y))
    by_x, by_y = [mean(row) for row in c], [mean(column) for column in zip(*c, strict=True)]
    two = [mean(k[i][j] for i, j in itertools.permutations(range(len(k)), 2)) for k in (kx, ky)]
    four = [mean(k[i][j] * k[p][q] for i, j, p, q in itertools.permutations(range(len(k)), 4)) for k in (kx, ky)]
    three = [
        mean(k[i][j] * by[p] for i, j, p in itertools.permutations(range(len(k)), 3))
        for k, by in ((kx, by_x), (ky, by_y))
    ]
    between = mean(
        c[i][j] * c[p][q]
        for i, p in itertools.permutations(range(m), 2)
        for j, q in itertools.permutations(range(n), 2)
    )
    return distance(x, y) ** 2 - (sum(four) + 4 * between + 2 * two[0] * two[1] - 4 * sum(three))


@pytest.mark.parametrize("size", SIZES)
def test_value_and_standard_error(rng: np.random.Generator, size: Sequence[float]) -> None:
    """A cube less a cube was 1.7 % off at 1e4 and nonsense at 1e6; squares of the kernel overflowed at 1e27."""
    x, y = sides(rng, size)
    value, error = kernel_distance(store(x), store(y))
    assert abs(Fraction(value) / distance(x, y) - 1) < 1e-13
    assert variance(x, y) > 0
    assert abs(Fraction(error) ** 2 / variance(x, y) - 1) < 1e-12


@pytest.mark.parametrize("size", SIZES)
def test_subsets(rng: np.random.Generator, size: Sequence[float]) -> None:
    x, y = sides(rng, size, 20, 30)
    drawn = np.random.RandomState(4)
    found = subset_distances(store(x), store(y), Subsets(count=3, size=5, seed=4))
    for value in found.tolist():
        fake, real = (drawn.choice(n, 5, replace=False) for n in (30, 20))
        assert abs(Fraction(value) / distance(x[real], y[fake]) - 1) < 1e-12


@pytest.mark.parametrize("size", SIZES)
def test_replicates(rng: np.random.Generator, size: Sequence[float]) -> None:
    """As of ordinary features: see `test_replicates_are_the_estimate_on_drawn_images`."""
    x, y = sides(rng, size)
    found = metric_of(x, y).replicates(100, 5)["kid"]
    exact = [[[Fraction(float(number)) for number in row] for row in side] for side in (x, y)]
    centre = [mean(column) for column in zip(*exact[0], *exact[1], strict=True)]
    slope = 3 * (mean(c * c for c in centre) + 1) ** 2
    own = [[slope * mean((a - c) * c for a, c in zip(row, centre, strict=True)) for row in side] for side in exact]
    kernels = [kernel(x, x), kernel(y, y), kernel(x, y)]
    drawn = [torch.cat(list(counts(len(side), 100, 5, name))) for name, side in (("real", x), ("fake", y))]
    for row in (0, 57, 99):
        w = [[int(times) for times in side[row]] for side in drawn]
        sums = []
        for k, (i, j) in zip(kernels, ((0, 0), (1, 1), (0, 1)), strict=True):
            pairs = [(a, b) for a in range(len(w[i])) for b in range(len(w[j])) if i != j or a != b]
            total = sum(w[i][a] * w[j][b] * (k[a][b] - own[i][a] - own[j][b]) for a, b in pairs)
            sums.append(total / sum(w[i][a] * w[j][b] for a, b in pairs))
        allowed = 1e-12 + 1e-15 * abs(size[0] / size[1])  # the centre is rounded
        difference = Fraction(float(found[row])) - (sums[0] + sums[1] - 2 * sums[2])
        assert abs(difference) < Fraction(allowed) * Fraction(float(found.abs().max()))


def test_an_interval_far_from_0_is_as_wide_as_near_it(rng: np.random.Generator) -> None:
    """Far from 0 the kernel is 3 c^2 x'y' / D and little more: the interval scales with it."""
    x, y = (rng.standard_normal((150, 4)) + shift for shift in (0.0, 0.3))
    widths = []
    for offset in (1e5, 1e7):
        metric = metric_of(offset + x, offset + y)
        low, high = interval(metric.compute().value, metric.replicates(300, 0)["kid"])
        widths.append((high - low) / metric.compute().spread)
    assert widths[0] == pytest.approx(widths[1], rel=0.02)
    assert 3 < widths[0] < 5  # about 2 * 1.96 standard errors


def test_beyond_float64_is_one_line() -> None:
    x = torch.eye(4, dtype=torch.float64)
    for size, said in ((1e60, r"2e\+60"), (1e-170, "2e-170")):
        for metric in (metric_of(size * x, 2 * size * x), metric_of(size * x, 2 * size * x, subsets=2)):
            with pytest.raises(
                StatisticsError, match=f"^the kernel distance of features as large as {said} is beyond fl"
            ):
                metric.compute()
