"""The density of a Parzen window against closed forms, a float64 reference and scikit-learn, at every bandwidth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity

import ganmetrics as gm
from ganmetrics.metrics.numerics.kernels import KernelSums
from ganmetrics.metrics.parzen import log_likelihood
from ganmetrics.runtime.products import INT8_PRODUCTS

BANDWIDTHS = (0.01, 0.1, 0.3, 1.0, 10.0)


def reference(x: np.ndarray, samples: np.ndarray, bandwidth: float) -> np.ndarray:
    """The formula, difference by difference, in float64."""
    out = np.empty(len(x))
    for i, point in enumerate(x.astype(np.float64)):
        exponent = -((point - samples.astype(np.float64)) ** 2).sum(1) / (2 * bandwidth**2)
        top = exponent.max()
        out[i] = top + math.log(np.exp(exponent - top).mean())
    return out - x.shape[1] * math.log(bandwidth * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("dim", [1, 784, 12_288])
def test_one_kernel_is_a_gaussian(rng: np.random.Generator, bandwidth: float, dim: int) -> None:
    """With one sample the density is N(s, h^2 I), which scipy knows."""
    sample, x = rng.random((1, dim)), rng.random((3, dim))
    expected = -((x - sample) ** 2).sum(1) / (2 * bandwidth**2) - dim * math.log(bandwidth * math.sqrt(2 * math.pi))
    got = log_likelihood(torch.from_numpy(x), torch.from_numpy(sample), bandwidth)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-9)


def test_two_kernels_by_hand() -> None:
    """p(0) = (N(0; 0, h^2) + N(0; d, h^2)) / 2 in one dimension."""
    h, d = 0.7, 1.3
    expected = math.log((1 + math.exp(-(d**2) / (2 * h**2))) / 2) - math.log(h * math.sqrt(2 * math.pi))
    x, samples = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([[0.0], [d]], dtype=torch.float64)
    assert float(log_likelihood(x, samples, h)) == pytest.approx(expected, rel=1e-12)


def test_approaches_the_entropy_of_a_gaussian(rng: np.random.Generator) -> None:
    """With samples of the truth the mean log density rises to minus the entropy, log(2 pi e) D / 2, as N grows."""
    dim = 2
    validation, test = (rng.standard_normal((4000, dim)) for _ in range(2))
    gaps = []
    for n in (30, 300, 3000, 30_000):
        score = gm.parzen_log_likelihood(rng.standard_normal((n, dim)), validation[:500], test, bandwidths="auto")
        best = -(np.log(2 * np.pi) * dim + (test**2).sum(1)).mean() / 2  # the same test points under the truth
        gaps.append(best - score.value)
    assert all(gap > 0 for gap in gaps)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.01
    assert best == pytest.approx(-dim / 2 * math.log(2 * math.pi * math.e), abs=0.05)


def drawn(rng: np.random.Generator, kind: str, n: int, dim: int) -> torch.Tensor:
    values = rng.integers(0, 256, (n, dim), dtype=np.uint8)
    if kind == "bytes":
        return torch.from_numpy(values)
    return torch.from_numpy(((values + rng.random((n, dim))) / 256).astype(np.float32))


@pytest.mark.parametrize("kind", ["bytes", "bytes without int8", "float32"])
@pytest.mark.parametrize("dim", [1, 3, 784, 1500, 12_288])
def test_float32_agrees_with_float64(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, kind: str, dim: int
) -> None:
    """1e-3 nats at every bandwidth, with duplicates, a copy, and points near and far."""
    monkeypatch.setattr(INT8_PRODUCTS, "_available", False if kind == "bytes without int8" else None)
    kind = kind.split()[0]
    samples, x = drawn(rng, kind, 300, dim), drawn(rng, kind, 20, dim)
    samples[7:12] = samples[3]
    x[0] = samples[3]
    near = samples[:10].clone()
    near[:, 0] = near[:, 0] // 2 if kind == "bytes" else near[:, 0] / 2
    x = torch.cat([x, near, torch.zeros_like(x[:1]), torch.full_like(x[:1], 255 if kind == "bytes" else 1)])
    scale = 255 if kind == "bytes" else 1
    for bandwidth in BANDWIDTHS:
        expected = reference(x.double().numpy() / scale, samples.double().numpy() / scale, bandwidth)
        got = log_likelihood(x, samples, bandwidth)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-3)
        tight = log_likelihood(x, samples, bandwidth, memory=4000)
        np.testing.assert_allclose(tight, expected, rtol=1e-12, atol=1e-3)


def test_all_bandwidths_in_one_pass(rng: np.random.Generator) -> None:
    x, samples = drawn(rng, "bytes", 50, 100), drawn(rng, "bytes", 333, 100)
    sums = KernelSums(x, BANDWIDTHS)
    for part in samples.split(17):
        sums.update(part)
    together = sums.log_likelihood()
    for i, bandwidth in enumerate(BANDWIDTHS):
        torch.testing.assert_close(together[:, i], log_likelihood(x, samples, bandwidth), rtol=1e-9, atol=1e-5)


def test_a_point_far_outside_is_finite(rng: np.random.Generator) -> None:
    x = torch.tensor([[1e6, -1e6], [0.0, 0.0]], dtype=torch.float64)
    samples = torch.from_numpy(rng.random((100, 2)))
    for bandwidth in BANDWIDTHS:
        got = log_likelihood(x, samples, bandwidth)
        assert torch.isfinite(got).all()
        expected = reference(x.numpy(), samples.numpy(), bandwidth)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-6)  # the centre lies far from the near point


def test_a_common_offset_costs_no_digits(rng: np.random.Generator) -> None:
    x, samples = rng.random((10, 30)), rng.random((50, 30))
    got = log_likelihood(torch.from_numpy(x + 1e6), torch.from_numpy(samples + 1e6), 0.1)
    np.testing.assert_allclose(got, reference(x + 1e6, samples + 1e6, 0.1), rtol=1e-9)


def test_the_density_integrates_to_one(rng: np.random.Generator) -> None:
    grid = torch.linspace(-3, 4, 7001, dtype=torch.float64)[:, None]
    density = log_likelihood(grid, torch.from_numpy(rng.random((25, 1))), 0.2).exp()
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("bandwidth", [0.05, 0.3, 2.0])
def test_agrees_with_scikit_learn(rng: np.random.Generator, bandwidth: float) -> None:
    x, samples = rng.random((40, 10)), rng.random((200, 10))
    theirs = KernelDensity(bandwidth=bandwidth, leaf_size=len(samples)).fit(samples).score_samples(x)
    got = log_likelihood(torch.from_numpy(x), torch.from_numpy(samples), bandwidth)
    np.testing.assert_allclose(got, theirs, rtol=1e-6, atol=1e-5)
