"""The Fréchet distance against closed forms, an independent float64 reference, and pytorch-fid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.peers.tools import sqrtm_with_disp
from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.fid import FrechetDistance, frechet_distance
from ganmetrics.statistics.factors import symmetric_factor
from ganmetrics.statistics.moments import Moments
from tests.conftest import peer


def random_psd(rng: np.random.Generator, d: int, rank: int | None = None, spread: float = 2.0) -> torch.Tensor:
    """Symmetric positive semi-definite with eigenvalues over `spread` decades."""
    q, _ = np.linalg.qr(rng.standard_normal((d, d)))
    values = 10 ** rng.uniform(-spread, 0, d)
    values[rank if rank is not None else d :] = 0
    return torch.from_numpy((q * values) @ q.T)


def exact_pair(rng: np.random.Generator, d: int, rank: int | None = None) -> tuple[torch.Tensor, torch.Tensor, float]:
    """S1, S2 = T S1 T with T positive definite: they do not commute, and tr (S1 S2)^(1/2) = tr (S1 T) exactly."""
    s1, t = random_psd(rng, d, rank), random_psd(rng, d, spread=1.0)
    s2 = t @ s1 @ t
    return s1, (s2 + s2.T) / 2, float((s1 * t).sum())


@pytest.mark.parametrize("d", [1, 2, 17, 300])
@pytest.mark.parametrize("deficient", [False, True])
def test_non_commuting_gaussians_have_a_closed_form(rng: np.random.Generator, d: int, deficient: bool) -> None:
    rank = max(1, d // 3) if deficient else None
    s1, s2, cross = exact_pair(rng, d, rank)
    m1, m2 = torch.from_numpy(rng.standard_normal((2, d)))
    expected = float((m1 - m2).square().sum() + s1.trace() + s2.trace()) - 2 * cross
    assert frechet_distance(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rank", [1, 5, 40])
def test_equal_shifted_scaled(rng: np.random.Generator, rank: int) -> None:
    d = 40
    s, m, shift = random_psd(rng, d, rank), torch.from_numpy(rng.standard_normal(d)), torch.full((d,), 0.25).double()
    trace = float(s.trace())
    assert abs(frechet_distance(m, s, m, s)) < 1e-12 * trace
    assert frechet_distance(m, s, m + shift, s) == pytest.approx(d * 0.25**2, rel=1e-9)
    assert frechet_distance(m, s, m, 9 * s) == pytest.approx((3 - 1) ** 2 * trace, rel=1e-9)
    nothing = torch.zeros(d, d, dtype=torch.float64)
    assert frechet_distance(m, s, m, nothing) == pytest.approx(trace, rel=1e-9)


def test_diagonal_over_twelve_decades(rng: np.random.Generator) -> None:
    """Ill-conditioned covariances, where a square root of the product loses everything."""
    a, b = (torch.from_numpy(10 ** rng.uniform(-12, 0, 64)) for _ in range(2))
    zero = torch.zeros(64, dtype=torch.float64)
    expected = float((a.sqrt() - b.sqrt()).square().sum())
    assert frechet_distance(zero, a.diag(), zero, b.diag()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n1", "n2", "d"), [(10, 7, 64), (10, 500, 64), (65, 64, 64), (500, 400, 64), (2, 2, 5)])
@pytest.mark.parametrize("ddof", [1, 0])
def test_from_samples_of_any_rank(rng: np.random.Generator, n1: int, n2: int, d: int, ddof: int) -> None:
    """Against a reference of its own kind: eigenvalues of S1^(1/2) S2 S1^(1/2), in numpy."""
    x, y = rng.standard_normal((n1, d)) * 2 + 1, rng.standard_normal((n2, d))
    metric = FrechetDistance(ddof=ddof)
    metric.update(torch.from_numpy(x), "real")
    metric.update(torch.from_numpy(y), "fake")
    s1, s2 = np.cov(x, rowvar=False, ddof=ddof), np.cov(y, rowvar=False, ddof=ddof)
    values, vectors = np.linalg.eigh(s1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    singular = np.linalg.svd(
        root @ np.linalg.cholesky(s2 + 1e-18 * np.eye(d))
        if n2 > d
        else root @ ((y - y.mean(0)) / np.sqrt(n2 - ddof)).T,
        compute_uv=False,
    )
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * singular.sum()
    assert metric.compute().value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "d", "tolerance"), [(400, 32, 1e-9), (3000, 128, 1e-9), (40, 64, 1e-5)])
def test_agrees_with_pytorch_fid(rng: np.random.Generator, n: int, d: int, tolerance: float) -> None:
    """Its sqrtm is exact to rounding at full rank; below it, it is the square root of rounding noise."""
    frechet = peer("pytorch_fid.fid_score").calculate_frechet_distance
    x, y = rng.standard_normal((n, d)), rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / 4
    with sqrtm_with_disp():
        theirs = frechet(x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    metric = FrechetDistance()
    metric.update(torch.from_numpy(x), "real")
    metric.update(torch.from_numpy(y), "fake")
    assert metric.compute().value == pytest.approx(theirs, rel=tolerance)


def test_self_distance_is_zero_and_its_rounding_is_kept(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal((50, 200)))
    metric = FrechetDistance()
    metric.update(x, "real")
    metric.update(x, "fake")
    result = metric.compute()
    assert result.value >= 0
    assert result.raw is not None
    assert abs(result.raw) < 1e-10
    assert result.value == max(result.raw, 0.0)


def test_symmetric_in_its_sides(rng: np.random.Generator) -> None:
    s1, s2, _ = exact_pair(rng, 30)
    m1, m2 = torch.from_numpy(rng.standard_normal((2, 30)))
    assert frechet_distance(m1, s1, m2, s2) == pytest.approx(frechet_distance(m2, s2, m1, s1), rel=1e-11)


def test_factor_reproduces_a_numerically_singular_covariance(rng: np.random.Generator) -> None:
    """A singular matrix may pass Cholesky by rounding; the factor must not carry that noise."""
    x = rng.standard_normal((2000, 20)) @ rng.standard_normal((20, 60))
    covariance = torch.from_numpy(np.cov(x, rowvar=False))
    factor = symmetric_factor(covariance)
    assert factor.shape == (20, 60)
    assert torch.allclose(factor.T @ factor, covariance, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images(n: int) -> None:
    metric = FrechetDistance()
    metric.update(torch.randn(5, 3), "real")
    metric.update(torch.randn(n, 3), "fake")
    with pytest.raises(StatisticsError, match=f"^a Fréchet distance needs at least 2 fake images, got {n}$"):
        metric.compute()


def test_unlike_dimensions() -> None:
    metric = FrechetDistance()
    metric.update(torch.randn(5, 3), "real")
    metric.update(torch.randn(5, 4), "fake")
    with pytest.raises(StatisticsError, match="got 3 \\(real\\) and 4 \\(fake\\)"):
        metric.compute()


@pytest.mark.parametrize(
    ("n_real", "n_fake", "said"),
    [
        (8, 1000, "8 real images for 10 dimensions: without full rank"),
        (30, 1000, "30 real images for 10 dimensions: the value is biased upward"),
        (30, 40, "30 real and 40 fake images for 10 dimensions: the value is biased upward"),
        (50, 50, None),
    ],
)
def test_small_samples_are_told_with_the_number_needed(n_real: int, n_fake: int, said: str | None) -> None:
    metric = FrechetDistance()
    metric.update(torch.randn(n_real, 10), "real")
    metric.update(torch.randn(n_fake, 10), "fake")
    warnings = list(metric.compute().warnings)
    if said is None:
        assert warnings == []
    else:
        (warning,) = warnings
        assert warning.startswith(said)
        assert warning.endswith("or give at least 50")


def test_moments_of_unknown_count_serve_as_a_side(rng: np.random.Generator) -> None:
    s1, s2, _ = exact_pair(rng, 12)
    metric = FrechetDistance()
    metric.statistics = {
        "real": Moments.from_covariance(torch.zeros(12), s1),
        "fake": Moments.from_covariance(torch.zeros(12), s2, count=1000),
    }
    expected = frechet_distance(torch.zeros(12), s1, torch.zeros(12), s2)
    assert metric.compute().value == pytest.approx(expected, rel=1e-9)
