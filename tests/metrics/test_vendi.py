"""The Vendi score against closed forms, an independent reference and the package vendi-score."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganmetrics.errors import StatisticsError
from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics.vendi import VendiScore, entropy, entropy_influence, spectrum, units, vendi_score
from tests.conftest import peer


def fed(vectors: torch.Tensor) -> VendiScore:
    metric = VendiScore()
    metric.update(vectors)
    return metric


def orthogonal(rng: np.random.Generator, n: int, d: int) -> torch.Tensor:
    return torch.from_numpy(np.linalg.qr(rng.standard_normal((d, n)))[0].T) * torch.rand(n, 1).double().add(0.1)


@pytest.mark.parametrize("n", [2, 7, 40])
def test_orthogonal_images_count_one_each(rng: np.random.Generator, n: int) -> None:
    assert vendi_score(orthogonal(rng, n, 40)) == pytest.approx(n, rel=1e-12)


@pytest.mark.parametrize("n", [2, 300])
def test_copies_count_as_one(rng: np.random.Generator, n: int) -> None:
    one = torch.from_numpy(rng.standard_normal(16))
    copies = one * torch.from_numpy(rng.uniform(0.1, 9, (n, 1)))
    assert vendi_score(copies) == pytest.approx(1, rel=1e-12)
    assert fed(copies).compute().value >= 1


def test_clusters_count_by_the_entropy_of_their_shares(rng: np.random.Generator) -> None:
    shares = np.array([30, 15, 5])
    points = orthogonal(rng, 3, 10).repeat_interleave(torch.from_numpy(shares), dim=0)
    p = shares / shares.sum()
    assert vendi_score(points) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-12)


def test_two_directions_at_an_angle() -> None:
    """Half the images along each: eigenvalues (1 + cos) / 2 and (1 - cos) / 2."""
    angle = 0.7
    one, other = (torch.tensor([math.cos(a), math.sin(a)], dtype=torch.float64) for a in (0, angle))
    p = np.array([1 + math.cos(angle), 1 - math.cos(angle)]) / 2
    assert vendi_score(torch.stack([one] * 5 + [other] * 5)) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(30, 50), (50, 50), (51, 50), (400, 20)])
def test_agrees_with_vendi_score(rng: np.random.Generator, n: int, d: int) -> None:
    vendi = peer("vendi_score.vendi")
    x = rng.standard_normal((n, d)) * 10 ** rng.uniform(-2, 0, d) + 0.3
    ours = fed(torch.from_numpy(x)).compute().value
    assert ours == pytest.approx(vendi.score_dual(x), rel=1e-9)
    assert ours == pytest.approx(vendi_score(torch.from_numpy(x)), rel=1e-12)
    by_singular_values = np.linalg.svd(x / np.linalg.norm(x, axis=1, keepdims=True), compute_uv=False) ** 2 / n
    assert ours == pytest.approx(np.exp(-(by_singular_values * np.log(by_singular_values)).sum()), rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(12, 20), (60, 8)])
def test_influence_is_the_derivative(rng: np.random.Generator, n: int, d: int) -> None:
    x = torch.from_numpy(rng.standard_normal((n, d)) + 0.5)
    unit = x / x.norm(dim=1, keepdim=True)
    influence = entropy_influence([unit[:5], unit[5:]], n, *spectrum([unit], n, d))
    step = 1e-6
    for i in (0, n - 1):
        moved = []
        for sign in (1, -1):
            weights = torch.full((n,), (1 - sign * step) / n, dtype=torch.float64)
            weights[i] += sign * step
            p = np.linalg.svd((weights.sqrt()[:, None] * unit).numpy(), compute_uv=False) ** 2
            moved.append(-(p * np.log(p)).sum())
        assert float(influence[i]) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6, abs=1e-7)
    assert abs(float(influence.mean())) < 1e-12


@pytest.mark.parametrize(("n", "d", "most"), [(300, 6, 0.98), (60, 10, 0.98), (60, 120, 0.98)])
def test_an_interval_holds_the_expected_value_95_times_in_100(
    rng: np.random.Generator, n: int, d: int, most: float
) -> None:
    scale = 1 / np.arange(1, d + 1)
    metrics = [fed(torch.from_numpy(rng.standard_normal((n, d)) * scale + 0.4)) for _ in range(1600)]
    values = [metric.compute().value for metric in metrics]
    intervals = [interval(v, m.replicates(200, 0)["vendi"]) for v, m in zip(values, metrics, strict=True)]
    assert 0.895 <= np.mean([low <= np.mean(values) <= high for low, high in intervals]) <= most


def test_a_vector_of_length_zero_is_named(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal((6, 3)))
    x[4] = 0
    message = "the feature vector of image 4 is zero, and has no direction to compare; use other features"
    with pytest.raises(StatisticsError, match=f"^{message}$"):
        fed(x).compute()
    with pytest.raises(StatisticsError, match="image 4 is zero"):
        list(units([x[:3], x[3:]]))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images(n: int) -> None:
    with pytest.raises(StatisticsError, match=f"^a Vendi score needs at least 2 fake images, got {n}$"):
        fed(torch.randn(n, 3)).compute()


def test_small_sets_are_told_with_the_number_needed(rng: np.random.Generator) -> None:
    (warning,) = fed(orthogonal(rng, 8, 20)).compute().warnings
    assert warning == (
        "8 images score 8, and cannot score more than 8: the Vendi score is biased downward; "
        "compare it only at this count, or give at least 80"
    )
    assert not fed(torch.from_numpy(rng.standard_normal((200, 3)))).compute().warnings


def test_ten_images_a_unit_are_five_percent_low(rng: np.random.Generator) -> None:
    """What WELL_SAMPLED stands for: directions as even as can be in D dimensions, whose score is D for all images."""
    d = 60
    values = [vendi_score(torch.from_numpy(rng.standard_normal((10 * d, d)))) for _ in range(5)]
    assert np.mean(values) == pytest.approx(0.95 * d, rel=0.01)
    assert entropy(torch.full((d,), 1 / d, dtype=torch.float64)) == pytest.approx(math.log(d))
