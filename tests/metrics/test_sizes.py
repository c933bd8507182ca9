"""Vectors that are very large or very small, and those beside them: squares must neither overflow nor vanish."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.base import Metric
from ganmetrics.metrics.numerics.neighbours import nearest
from ganmetrics.metrics.numerics.nuclear_norm import nuclear_norm
from ganmetrics.metrics.numerics.scaling import at_length_one, power_of_two
from ganmetrics.protocols import PROTOCOLS, MetricOptions


def fed(name: str, real: Tensor, fake: Tensor) -> Metric:
    metric = METRICS[name].load().configured(PROTOCOLS["tensorflow"], MetricOptions(device="cpu"))
    for side, vectors in (("real", real), ("fake", fake)):
        if side in metric.sides:
            metric.update(vectors, side)
            if metric.labelled:
                metric.labels[side] = [f"class {i % 3}" for i in range(len(vectors))]
    return metric


def values(name: str, real: Tensor, fake: Tensor) -> dict[str, float]:
    return {value: result.value for value, result in fed(name, real, fake).results().items()}


def drawn(rng: np.random.Generator, n: int, dtype: torch.dtype, shift: float) -> Tensor:
    """Whole numbers, so that products with powers of two stay what they are in any dtype."""
    return torch.from_numpy(rng.integers(-40, 40, (n, 9)) + shift).to(dtype)


# The power of two of every row, smallest and largest, that leaves vectors of up to 100 within the dtype.
POWERS = {torch.float32: (-120, 120), torch.float64: (-1000, 1015)}


@pytest.mark.parametrize("dtype", POWERS)
@pytest.mark.parametrize("name", ["vendi", "cmmd", "intra-class-diversity"])
def test_metrics_of_directions_do_not_see_lengths(name: str, dtype: torch.dtype, rng: np.random.Generator) -> None:
    """Rows beyond 1e154 were lost (a Vendi score of 2.0192 for 2.0387), tiny ones refused as zeros."""
    real, fake = drawn(rng, 60, dtype, 30), drawn(rng, 50, dtype, 20)
    expected = values(name, real, fake)
    for least, most in (POWERS[dtype], (POWERS[dtype][0],) * 2, (POWERS[dtype][1],) * 2):
        sides = []
        for side in (real, fake):
            powers = torch.from_numpy(rng.integers(least, most + 1, (len(side), 1))).double()
            sides.append((side.double() * torch.exp2(powers)).to(dtype))
        assert all(torch.isfinite(side).all() for side in sides)
        assert values(name, *sides) == pytest.approx(expected, rel=1e-12)


def test_powers_of_two() -> None:
    numbers = torch.tensor([0, 5e-324, 0.75, 1, 1.5, 2, 1.7976931348623157e308], dtype=torch.float64)
    assert power_of_two(numbers).tolist() == [1, 5e-324, 0.5, 1, 1, 2, 2.0**1023]


def test_vectors_at_length_one() -> None:
    vectors = torch.tensor([[3, 4], [0, 0], [1e-320, -1e-320], [1.7e308, 1.7e308]], dtype=torch.float64)
    half = 0.5**0.5
    expected = torch.tensor([[0.6, 0.8], [0, 0], [half, -half], [half, half]], dtype=torch.float64)
    torch.testing.assert_close(at_length_one(vectors), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("power", [-900, -300, 300, 900])
@pytest.mark.parametrize("name", ["prdc", "authenticity"])
def test_metrics_of_neighbours_do_not_see_the_size_of_all(name: str, power: int, rng: np.random.Generator) -> None:
    """Squared distances overflowed beyond 1e154, vanished below 1e-162, and 1e39 was called infinite. Ties stay."""
    real, fake = (drawn(rng, 100, torch.float64, shift)[:, :2] for shift in (0, 30))
    expected = values(name, real, fake)
    assert values(name, real * 2.0**power, fake * 2.0**power) == expected
    assert all(0 < value < 1 for value in expected.values())


@pytest.mark.parametrize("power", [-900, 300, 900])
def test_distances_to_neighbours_grow_with_their_vectors(power: int, rng: np.random.Generator) -> None:
    queries, points = (drawn(rng, n, torch.float64, 0) for n in (30, 40))
    distances, indices = nearest(queries, points, 3, device="cpu")
    far, same = nearest(queries * 2.0**power, points * 2.0**power, 3, device="cpu")
    assert torch.equal(far, distances * 2.0**power)
    assert torch.equal(same, indices)


def among(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """All squared distances, in numbers whose exponents have 15 bits."""
    return np.square(own.astype(np.longdouble)[:, None] - other.astype(np.longdouble)).sum(axis=2)


@pytest.mark.parametrize(("large", "small"), [(1e300, 1.0), (1e160, 1e-120), (1e38, 1e-38), (1.0, 1e-150)])
def test_neighbours_of_large_and_small_vectors_in_one_set(large: float, small: float, rng: np.random.Generator) -> None:
    """The largest vector sets no scale by which others become equal."""
    sizes = np.where(np.arange(80) % 2, large, small)[:, None]
    real, fake = rng.standard_normal((80, 2)) * sizes, (rng.standard_normal((80, 2)) + 0.7) * sizes
    own = among(real, real)
    np.fill_diagonal(own, np.inf)
    across = among(fake, real)
    authentic = np.mean(across.min(axis=1) > own.min(axis=1)[across.argmin(axis=1)])
    sides = torch.from_numpy(real), torch.from_numpy(fake)
    assert values("authenticity", *sides)["authenticity"] == authentic
    third, fifth = (np.sort(own, axis=1)[:, k - 1] for k in (3, 5))
    fakes = among(fake, fake)
    np.fill_diagonal(fakes, np.inf)
    expected = {
        "precision": np.mean((across <= third).any(axis=1)),
        "recall": np.mean((across <= np.sort(fakes, axis=1)[:, 2:3]).any(axis=0)),
        "density": np.mean((across < fifth).sum(axis=1)) / 5,
        "coverage": np.mean((across < fifth).any(axis=0)),
    }
    assert values("prdc", *sides) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [-240, 240])
@pytest.mark.parametrize("name", ["fid", "fid-infinity", "class-fid"])
def test_frechet_distances_grow_with_the_square(name: str, power: int, rng: np.random.Generator) -> None:
    real, fake = drawn(rng, 90, torch.float64, 0), drawn(rng, 80, torch.float64, 20)
    expected = fed(name, real, fake).results()[name]
    found = fed(name, real * 2.0**power, fake * 2.0**power).results()[name]
    assert found.value * 4.0**-power == pytest.approx(expected.value, rel=1e-12)
    if expected.spread is not None:
        assert found.spread * 4.0**-power == pytest.approx(expected.spread, rel=1e-9)


@pytest.mark.parametrize("power", [-300, 300])
def test_a_nuclear_norm_by_eigenvalues_grows_with_its_matrix(power: int, rng: np.random.Generator) -> None:
    """Products of factors of features of 1e-100 have squares that vanish."""
    graded = torch.from_numpy(rng.standard_normal((660, 650)) * np.geomspace(1, 1e-3, 660)[:, None])
    scale = graded.square().sum()
    expected = nuclear_norm(graded, scale)
    assert float(nuclear_norm(graded * 2.0**power, scale * 2.0**power) * 2.0**-power) == pytest.approx(float(expected))


@pytest.mark.parametrize("n", [12, 90])
@pytest.mark.parametrize("name", ["fid", "fid-infinity", "class-fid", "mifid"])
def test_frechet_distances_beyond_float64_are_one_line(name: str, n: int, rng: np.random.Generator) -> None:
    """It was a traceback of eigh, and 0, the best value there is, for very small features."""
    n = max(n, 60) if name == "fid-infinity" else n
    real, fake = drawn(rng, n, torch.float64, 0), drawn(rng, n, torch.float64, 20)
    for power in (700, -700) if n < 18 else (700,):
        with pytest.raises(StatisticsError, match="beyond float64; scale all features"):
            fed(name, real * 2.0**power, fake * 2.0**power).results()
