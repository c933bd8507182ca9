"""Vectors that are very large or very small, and those beside them: squares must neither overflow nor vanish."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ganmetrics.metrics import METRICS
from ganmetrics.metrics.base import Metric
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
