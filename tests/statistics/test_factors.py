"""Factors of covariances: that they multiply to them, at the rank there is, and that nothing else passes for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.fid import frechet_distance
from ganmetrics.metrics.numerics.frechet_influence import frechet_influence
from ganmetrics.statistics.factors import reflected, symmetric_factor
from ganmetrics.statistics.moments import Moments

D = 60


def dead(x: np.ndarray) -> np.ndarray:
    x[:, 7::3] = 0.25
    return x


def duplicated(x: np.ndarray) -> np.ndarray:
    x[:, 40:] = x[:, :20]
    return x


def sums_of_others(x: np.ndarray) -> np.ndarray:
    x[:, 30:] = x[:, :30] @ np.linspace(-1, 1, 900).reshape(30, 30).clip(-0.5, 0.5) / 5 + 3
    return x


def of_unlike_size(x: np.ndarray) -> np.ndarray:
    return dead(x) * 10.0 ** -np.linspace(0, 6, D)


# What is done to 400 normal vectors, and the rank that is left.
DEFICIENT = {"dead": (dead, 42), "duplicated": (duplicated, 40), "of unlike size": (of_unlike_size, 42)}
DEFICIENT["sums of others"] = (sums_of_others, 30)
DEFICIENT["one left"] = (lambda x: x[:, :1] * np.ones(D), 1)
DEFICIENT["nothing left"] = (np.zeros_like, 0)


@pytest.mark.parametrize("case", DEFICIENT)
def test_a_deficient_covariance_is_factored_at_its_rank(rng: np.random.Generator, case: str) -> None:
    change, rank = DEFICIENT[case]
    covariance = torch.from_numpy(np.cov(change(rng.standard_normal((400, D))), rowvar=False))
    factor = symmetric_factor(covariance)
    assert factor.shape == (rank, D)
    size = covariance.diagonal().sqrt()
    allowed = 1e-12 * size * size[:, None] + (3e-16 * size.max()) ** 2  # a dead feature's variance is rounding
    assert bool(((factor.T @ factor - covariance).abs() <= allowed).all())


def test_the_rows_of_a_factor_of_full_rank_fall_in_size(rng: np.random.Generator) -> None:
    """Whatever the order of the features; on it rests the accuracy of the nuclear norm."""
    sizes = torch.from_numpy(10.0 ** rng.uniform(-4, 0, D))
    factor = symmetric_factor(torch.from_numpy(np.cov(rng.standard_normal((400, D)) * sizes.numpy(), rowvar=False)))
    norms = factor.norm(dim=1)
    assert bool((norms[1:] < 1.5 * norms[:-1]).all())


@pytest.mark.parametrize("dim", [2, D])
def test_an_indefinite_matrix_is_refused_where_no_pivot_shows_it(dim: int) -> None:
    """All pivots that are left are 0; what is not is beside the diagonal."""
    matrix = torch.eye(dim, dtype=torch.float64)
    matrix[:2, :2] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(StatisticsError, match=r"^expected a covariance matrix, got one with the eigenvalue -1 "):
        symmetric_factor(matrix)


@pytest.mark.parametrize("case", ["full rank", *DEFICIENT])
def test_a_float32_file_is_taken_for_what_it_was_rounded_from(rng: np.random.Generator, case: str) -> None:
    """Rounding makes small eigenvalues negative; the distance to a third is that of the exact one within their root."""
    change, _ = DEFICIENT.get(case, (lambda x: x, D))
    exact = torch.from_numpy(np.cov(change(rng.standard_normal((400, D))), rowvar=False))
    other = torch.from_numpy(np.cov(rng.standard_normal((400, D)), rowvar=False))
    zero = torch.zeros(D, dtype=torch.float64)
    expected = frechet_distance(zero, exact, zero, other)
    assert frechet_distance(zero, exact.float(), zero, other) == pytest.approx(expected, rel=5e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_a_reflection_takes_the_mean_into_the_first_row(rng: np.random.Generator, n: int) -> None:
    rows = torch.from_numpy(rng.standard_normal((n, 8)))
    turned = reflected(rows)
    torch.testing.assert_close(turned[0], rows.sum(dim=0) / n**0.5, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(turned.T @ turned, rows.T @ rows, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(reflected(turned), rows, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("case", ["dead", "duplicated", "sums of others"])
def test_influences_of_more_images_than_dimensions_at_a_deficient_rank(rng: np.random.Generator, case: str) -> None:
    """Against the derivative of the distance itself, by a small weight on one image."""
    change, _ = DEFICIENT[case]
    x, y = (torch.from_numpy(change(rng.standard_normal((90, D)) * scale)) for scale in (1.0, 1.5))
    own, other = Moments(), Moments()
    own.update(x)
    other.update(y)
    influence = frechet_influence(own, other, [x], 0)

    def weighed(weights: torch.Tensor) -> float:
        mean = weights @ x
        return frechet_distance(mean, (x - mean).T * weights @ (x - mean), other.mean(), other.covariance(0))

    for i in (0, 41):
        step = 1e-5
        moved = []
        for sign in (1, -1):
            weights = torch.full((90,), (1 - sign * step) / 90, dtype=torch.float64)
            weights[i] += sign * step
            moved.append(weighed(weights))
        assert float(influence[i]) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-4, abs=1e-4)
