"""KID over all pairs against exact answers and a reference of its own, with its error and interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import StatisticsError
from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics.kid import POLYNOMIAL, KernelInceptionDistance, kernel_distance, variance_parts
from ganmetrics.metrics.numerics import gram
from ganmetrics.metrics.numerics.gram import Gram
from ganmetrics.metrics.numerics.resampling import counts
from ganmetrics.protocols import PROTOCOLS
from tests.helpers.commands import Cli
from tests.helpers.kernels import like_inception, metric_of, store


def reference(x: np.ndarray, y: np.ndarray) -> float:
    """Equation 4 of the paper by its definition, float64."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (np.einsum("id,jd->ij", a, b) / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        return kernel(a, a)[~np.eye(len(a), dtype=bool)].mean()

    return within(x) + within(y) - 2 * kernel(x, y).mean()


@pytest.mark.parametrize(("m", "n"), [(2, 2), (150, 150), (333, 120)])
def test_the_definition(rng: np.random.Generator, m: int, n: int) -> None:
    x, y = like_inception(rng, m), like_inception(rng, n, shift=0.05)
    assert kernel_distance(store(x), store(y))[0] == pytest.approx(reference(x, y), rel=1e-10)


POINTS = np.array([[0.3, -1.0], [1.5, 0.4]])
WEIGHTS = {"one distribution": (0.3, 0.3), "two distributions": (0.3, 0.6)}


@pytest.mark.parametrize("case", WEIGHTS)
@pytest.mark.parametrize(("m", "n"), [(4, 4), (4, 9), (7, 5)])
def test_unbiased_with_an_unbiased_variance(case: str, m: int, n: int) -> None:
    """Every set that can be drawn from two points, with its probability: no simulation, no tolerance for chance."""

    def sets(size: int, share: float) -> Iterator[tuple[np.ndarray, float]]:
        for heads in range(size + 1):
            chance = math.comb(size, heads) * share**heads * (1 - share) ** (size - heads)
            yield POINTS[[1] * heads + [0] * (size - heads)], chance

    p, q = WEIGHTS[case]
    probabilities, values, variances = [], [], []
    for (x, of_x), (y, of_y) in itertools.product(sets(m, p), sets(n, q)):
        probabilities.append(of_x * of_y)
        values.append(kernel_distance(store(x), store(y))[0])
        variances.append(sum(variance_parts(*Gram(POLYNOMIAL, store(x), store(y)).sums())))
    mean = np.dot(probabilities, values)
    kernel = (POINTS @ POINTS.T / 2 + 1) ** 3
    apart = np.array([1 - p, p]) - np.array([1 - q, q])
    assert mean == pytest.approx(apart @ kernel @ apart, abs=1e-12)
    variance = np.dot(probabilities, (np.array(values) - mean) ** 2)
    assert np.dot(probabilities, variances) == pytest.approx(variance, rel=1e-10)


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_standard_error_in_simulation(rng: np.random.Generator, shift: float) -> None:
    """Never too small: with one distribution on both sides, where the first part is 0, cutting it off there costs."""
    found = [
        kernel_distance(store(like_inception(rng, 60, 16)), store(like_inception(rng, 90, 16, shift)))
        for _ in range(500)
    ]
    values, errors = np.array(found).T
    assert 0.8 < np.mean(errors**2) / values.var(ddof=1) < (1.25 if shift else 2.2)
    assert 0.87 < np.mean(np.abs(values - values.mean()) < 1.96 * errors) <= (0.98 if shift else 1)


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_coverage_of_the_interval(rng: np.random.Generator, shift: float) -> None:
    """With one distribution on both sides a bootstrap of images is wider than it need be, never narrower."""
    n_images, n_trials, dim = 60, 200, 8
    exact = kernel_distance(store(like_inception(rng, 4000, dim)), store(like_inception(rng, 4000, dim, shift)))[0]
    exact = exact if shift else 0.0
    hit = 0
    for trial in range(n_trials):
        metric = metric_of(like_inception(rng, n_images, dim), like_inception(rng, n_images, dim, shift))
        low, high = interval(metric.compute().value, metric.replicates(200, trial)["kid"])
        hit += low <= exact <= high
    assert hit / n_trials >= 0.9
    assert not shift or hit / n_trials <= 0.99


def test_replicates_are_the_estimate_on_drawn_images(rng: np.random.Generator) -> None:
    """Pairs of an image with its own copies are left out, as its pair with itself is.

    The kernel is taken without 3 c^2 (a(x) + a(y)), which changes no discrepancy. It would change replicates, because
    of the pairs that are left out, and would be most of them where features lie far from 0.
    """
    x, y = like_inception(rng, 40), like_inception(rng, 30, shift=0.1)
    mean = np.concatenate([x, y]).mean(axis=0)
    at_mean = mean @ mean / len(mean) + 1
    own = [3 * at_mean**2 * (side - mean) @ mean / len(mean) for side in (x, y)]
    found = metric_of(x, y).replicates(100, seed=3)["kid"]
    drawn = [torch.cat(list(counts(len(side), 100, 3, name))) for name, side in (("real", x), ("fake", y))]
    for row in (0, 57, 99):
        copies = [np.repeat(np.arange(len(each[row])), each[row].int().numpy()) for each in drawn]
        pairs = (0, 0), (1, 1), (0, 1)
        kernels = [((x, y)[i] @ (x, y)[j].T / x.shape[1] + 1) ** 3 - own[i][:, None] - own[j] for i, j in pairs]
        within = [kernels[s][np.ix_(c, c)][c[:, None] != c].mean() for s, c in enumerate(copies)]
        expected = sum(within) - 2 * kernels[2][np.ix_(*copies)].mean()
        assert float(found[row]) == pytest.approx(expected, rel=1e-10)


def test_blocks_and_disk_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = like_inception(rng, 130), like_inception(rng, 71, shift=0.1)
    whole, replicates = kernel_distance(store(x), store(y)), metric_of(x, y).replicates(100, 0)["kid"]
    monkeypatch.setattr(gram, "BLOCK", {"cpu": 16})
    monkeypatch.setattr(gram, "CHUNK", 37 * 64 * 8)
    assert kernel_distance(store(x, memory_limit=0), store(y, memory_limit=0), device="cpu") == pytest.approx(
        whole, rel=1e-9
    )
    on_disk = metric_of(x, y)
    on_disk.device = "cpu"
    torch.testing.assert_close(on_disk.replicates(100, 0)["kid"], replicates, rtol=1e-9, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(rng: np.random.Generator) -> None:
    x, y = (like_inception(rng, n, 2048, shift).astype(np.float32) for n, shift in ((5000, 0.0), (700, 0.03)))
    on_cpu, on_gpu = (kernel_distance(store(x), store(y), device=device) for device in ("cpu", "cuda"))
    assert on_gpu == pytest.approx(on_cpu, rel=1e-6)


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_float32_products_keep_the_digits_of_a_small_kid(rng: np.random.Generator, precision: str) -> None:
    """Of features as wide and as far from 0 as Inception's, whatever the caller lets torch do to products."""
    x, y = (like_inception(rng, 700, 2048, shift).astype(np.float32) for shift in (0.0, 0.03))
    assert Gram(POLYNOMIAL, store(x), store(y)).dtype == torch.float32
    exact = reference(x.astype(np.float64), y.astype(np.float64))
    assert 1e-4 < exact < 5e-3
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        assert kernel_distance(store(x), store(y))[0] == pytest.approx(exact, rel=1e-6)
    finally:
        torch.set_float32_matmul_precision(before)


def test_float32_replicates_lose_nothing_of_their_spread(rng: np.random.Generator) -> None:
    x, y = (like_inception(rng, 400, 2048, shift).astype(np.float32) for shift in (0.0, 0.03))
    short, long = (metric_of(x.astype(t), y.astype(t)).replicates(100, 0)["kid"] for t in (np.float32, np.float64))
    assert float((short - long).abs().max()) < 1e-4 * float(long.std())


@pytest.mark.parametrize(("n", "dim"), [(8, 3), (2, 2), (40, 2048)])
def test_few_float32_vectors_lose_no_digit(rng: np.random.Generator, n: int, dim: int) -> None:
    """With few pairs to average over, products in float32 were wrong in the sixth digit."""
    for _ in range(20):
        x, y = (rng.standard_normal((n, dim)).astype(np.float32) for _ in range(2))
        exact = reference(x.astype(np.float64), y.astype(np.float64))
        assert kernel_distance(store(x), store(y))[0] == pytest.approx(exact, rel=1e-9)


def test_identical_features_have_no_distance_and_no_error() -> None:
    x = np.full((6, 5), 0.7)
    assert kernel_distance(store(x), store(x)) == pytest.approx((0, 0), abs=1e-12)


def test_never_clamped(rng: np.random.Generator) -> None:
    values = [metric_of(like_inception(rng, 30), like_inception(rng, 30)).compute() for _ in range(20)]
    assert min(result.value for result in values) < 0 < max(result.value for result in values)


def test_too_few_images_and_unlike_features(rng: np.random.Generator) -> None:
    x = like_inception(rng, 5)
    for protocol in PROTOCOLS:
        with pytest.raises(StatisticsError, match=r"needs at least 2 (fake images|images a side), got 1"):
            metric_of(x, x[:1], protocol).compute()
    with pytest.raises(StatisticsError, match="needs at least 2 real images, got 0"):
        KernelInceptionDistance().compute()
    with pytest.raises(StatisticsError, match=r"features of one dimension, got 64 \(real\) and 63 \(fake\)"):
        metric_of(x, x[:, :63]).compute()
    result = metric_of(x[:3], x).compute()
    assert result.spread is None
    assert list(result.warnings) == [
        "3 real and 5 fake images: the value is unbiased, but it has no standard error below 4 images a side; "
        "give at least 1000"
    ]
    assert list(metric_of(x, like_inception(rng, 1000)).compute().warnings) == [
        "5 real images: the value is unbiased, but its standard error is itself a guess; give at least 1000"
    ]


def test_command_and_call(cli: Cli, tmp_path_factory: pytest.TempPathFactory, digits: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("digits")
    real, fake = folder / "real.npy", folder / "fake.npy"
    np.save(real, digits[:300])
    np.save(fake, 255 - digits[300:600])
    (score,) = cli("kid", real, fake, "--features", "pixels", "--json").scores
    assert score["metric"] == "kd-pixels"
    assert score["value"] == gm.kid(real, fake, features="pixels", progress=False).value
    assert score["value"] > 10 * score["spread"] > 0
    few = ("--subsets", "5", "--subset-size", "100")
    (score,) = cli("kid", real, fake, "--features", "pixels", *few, "--json").scores
    assert (score["protocol"]["subsets"], score["protocol"]["subset_size"]) == (5, 100)
