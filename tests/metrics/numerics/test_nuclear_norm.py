"""Sums of singular values by eigenvalues against the singular values, over spectra of many kinds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ganmetrics.metrics.numerics import nuclear_norm as module
from ganmetrics.metrics.numerics.nuclear_norm import TOLERANCE, by_eigenvalues, nuclear_norm
from ganmetrics.statistics.factors import symmetric_factor

D = 90

SPECTRA = {
    "one decade": lambda rng: 10 ** rng.uniform(-1, 0, D),
    "five decades": lambda rng: 10 ** rng.uniform(-5, 0, D),
    "eight decades": lambda rng: 10 ** rng.uniform(-8, 0, D),
    "falling as 1/i": lambda rng: 1 / np.arange(1, D + 1),
    "falling as 1/i^3": lambda rng: 1.0 / np.arange(1, D + 1) ** 3,
    "one large": lambda rng: np.where(np.arange(D) < 1, 1, 1e-6),
    "two clusters": lambda rng: np.where(np.arange(D) < D // 2, 1, 1e-3),
    "two clusters far apart": lambda rng: np.where(np.arange(D) < D // 2, 1, 1e-8),
}
BASES = {
    "any": lambda rng: np.linalg.qr(rng.standard_normal((D, D)))[0],
    "near the axes": lambda rng: np.linalg.qr(np.eye(D) + 0.02 * rng.standard_normal((D, D)))[0],
    "axes": lambda rng: np.eye(D)[rng.permutation(D)],
}


def covariance(rng: np.random.Generator, spectrum: str, basis: str) -> Tensor:
    q = BASES[basis](rng)
    s = q * SPECTRA[spectrum](rng) @ q.T
    return torch.from_numpy((s + s.T) / 2)


def near(rng: np.random.Generator, s: Tensor) -> Tensor:
    """What 20 D images from it show of a covariance."""
    drawn = torch.from_numpy(rng.standard_normal((20 * D, D))) @ torch.linalg.cholesky(s).T
    return drawn.T @ drawn / len(drawn)


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("other", ["alike", "turned", "white"])
def test_the_error_is_below_its_estimate(rng: np.random.Generator, spectrum: str, basis: str, other: str) -> None:
    """And below 1e-13 of the traces wherever it is accepted, as all but clusters far apart are."""
    s1 = covariance(rng, spectrum, basis)
    s2 = near(rng, s1) if other == "alike" else covariance(rng, spectrum if other == "turned" else "one decade", "any")
    traces = float(s1.trace() + s2.trace())
    product = symmetric_factor(s1) @ symmetric_factor(s2).T
    values, estimate = by_eigenvalues(product)
    error = abs(float(values.sum() - torch.linalg.svdvals(product).sum()))
    assert error <= float(estimate) + 1e-13 * traces
    if float(estimate) <= TOLERANCE * traces:
        assert error <= 2e-13 * traces
    else:
        assert "clusters" in spectrum


def test_lost_digits_are_noticed(rng: np.random.Generator) -> None:
    """Half of the singular values 1e-9 of the others, where eigenvalues lose them: the estimate says so."""
    s = covariance(rng, "two clusters far apart", "any")
    product = symmetric_factor(s) @ symmetric_factor(near(rng, s)).T
    values, estimate = by_eigenvalues(product)
    exact = torch.linalg.svdvals(product)
    assert float((values / exact - 1).abs().max()) > 1e-3
    assert float(estimate) > TOLERANCE * 2 * float(s.trace())


@pytest.mark.parametrize("shape", [(40, 40), (40, 55), (55, 40), (41, 40), (1, 7)])
def test_a_matrix_of_any_shape_and_its_known_singular_values(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "GRADED", 0)
    u, v = (np.linalg.qr(rng.standard_normal((k, min(shape))))[0] for k in shape)
    values = 10 ** rng.uniform(-4, 0, min(shape))
    found = nuclear_norm(torch.from_numpy(u * values @ v.T), torch.tensor(values.sum()))
    assert float(found) == pytest.approx(values.sum(), rel=1e-11)


@pytest.mark.parametrize("rank", [0, 3, 39])
def test_a_singular_matrix_takes_the_other_way(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "GRADED", 0)
    matrix = torch.from_numpy(rng.standard_normal((40, rank)) @ rng.standard_normal((rank, 40)))
    exact = torch.linalg.svdvals(matrix).sum()
    assert float(nuclear_norm(matrix, exact)) == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


def test_sides_without_rank() -> None:
    assert float(nuclear_norm(torch.zeros(0, 5, dtype=torch.float64), torch.tensor(1.0))) == 0


def test_a_matrix_that_is_not_graded_goes_the_other_way_at_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SMALL", 0)
    tried: list[Tensor] = []
    monkeypatch.setattr(module, "by_eigenvalues", lambda matrix: tried.append(matrix) or by_eigenvalues(matrix))
    matrix = torch.from_numpy(rng.standard_normal((40, 40)))
    sizes = torch.logspace(0, -4, 40, dtype=torch.float64)
    for graded in (matrix * sizes, sizes[:, None] * matrix):
        nuclear_norm(graded, graded.square().sum())
    assert len(tried) == 2
    nuclear_norm(matrix, matrix.square().sum())
    assert len(tried) == 2
