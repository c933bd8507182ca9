"""Mixtures of Gaussians against quadrature, scipy and exact counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from reference_models.errors import RecipeError
from reference_models.toy.mixtures import Mixture, ToyDiscriminator, ToyGenerator

MIXTURES = {
    "ring": Mixture.ring(),
    "grid": Mixture.grid(),
    "one": Mixture.ring(1, radius=2.0, std=0.5),
    "overlapping": Mixture.grid(3, spacing=1.0, std=0.8),
}
mixtures = pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES)
RING, GRID = MIXTURES["ring"], MIXTURES["grid"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_published_layouts() -> None:
    assert (RING.name, RING.std, RING.means.dtype) == ("ring-8", 0.01, torch.float64)
    assert torch.allclose(RING.means.norm(dim=1), torch.ones(8, dtype=torch.float64), rtol=1e-15)
    half = math.sqrt(0.5)
    assert np.allclose(RING.means[:3], [[1, 0], [half, half], [0, 1]], atol=1e-15)
    assert (GRID.name, GRID.std) == ("grid-5x5", 0.05)
    line = (-4.0, -2.0, 0.0, 2.0, 4.0)
    assert {tuple(mean) for mean in GRID.means.tolist()} == {(x, y) for x in line for y in line}


@mixtures
def test_density_integrates_to_one(mixture: Mixture) -> None:
    """Sums on a lattice: a box of 10 std around each mean, or one box around all where the means lie close."""
    apart = torch.pdist(mixture.means).min() > 20 * mixture.std if len(mixture.means) > 1 else True
    reach = 10 * mixture.std if apart else 10.0
    axis = torch.linspace(-reach, reach, 161, dtype=torch.float64)
    cell = float(axis[1] - axis[0]) ** 2
    centres = mixture.means if apart else torch.zeros(1, 2)
    points = (centres[:, None] + torch.cartesian_prod(axis, axis)).reshape(-1, 2)
    assert mixture.log_density(points).exp().sum().item() * cell == pytest.approx(1, abs=1e-12)


@mixtures
def test_log_density_is_scipys(mixture: Mixture, rng: np.random.Generator) -> None:
    x = np.concatenate([rng.normal(0, 3, (50, 2)), mixture.sample(200, seeded()).double().numpy()])
    parts = [multivariate_normal(mean, mixture.std**2 * np.eye(2)).logpdf(x) for mean in mixture.means.numpy()]
    expected = logsumexp(parts, axis=0) - math.log(len(mixture.means))
    ours = mixture.log_density(torch.from_numpy(x))
    assert ours.dtype == torch.float64
    assert ours.shape == (250,)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_log_density_far_away_does_not_underflow() -> None:
    value = RING.log_density(torch.tensor([[1e6, 0.0]])).item()
    assert value == pytest.approx(-0.5 * ((1e6 - 1) / 0.01) ** 2, rel=1e-9)


@mixtures
def test_samples_have_the_mixtures_moments(mixture: Mixture) -> None:
    n = 20_000
    samples = mixture.sample(n, seeded(3))
    assert (samples.shape, samples.dtype) == ((n, 2), torch.float32)
    variance = mixture.means.var(dim=0, correction=0) + mixture.std**2
    error = (samples.double().mean(dim=0) - mixture.means.mean(dim=0)) / (variance / n).sqrt()
    assert error.abs().max() < 5
    np.testing.assert_allclose(samples.double().var(dim=0), variance, rtol=0.06)
    assert torch.equal(samples, mixture.sample(n, seeded(3)))
    assert not torch.equal(samples, mixture.sample(n, seeded(4)))


@pytest.mark.parametrize("mixture", [RING, GRID], ids=["ring", "grid"])
def test_true_samples_cover_everything(mixture: Mixture) -> None:
    """|noise| / std is Rayleigh, so the share within 3 std is 1 - exp(-9/2) = 0.98889."""
    n = 50_000
    coverage = mixture.covered(mixture.sample(n, seeded(1)))
    share = 1 - math.exp(-4.5)
    assert (coverage.modes, coverage.n_modes) == (len(mixture.means),) * 2
    assert abs(coverage.high_quality - share) < 5 * math.sqrt(share * (1 - share) / n)
    assert sum(coverage.counts) == round(coverage.high_quality * n)
    k = coverage.n_modes  # 2 n KL is about chi-squared with K - 1 degrees of freedom
    assert 0 < coverage.kl_to_uniform < (k - 1 + 5 * math.sqrt(2 * (k - 1))) / (2 * sum(coverage.counts))


@pytest.mark.parametrize("mixture", [RING, GRID], ids=["ring", "grid"])
def test_collapse_reports_one_mode(mixture: Mixture) -> None:
    coverage = mixture.covered(mixture.means[3].expand(500, 2))
    assert (coverage.modes, coverage.high_quality, coverage.counts[3]) == (1, 1.0, 500)
    assert coverage.kl_to_uniform == pytest.approx(math.log(len(mixture.means)), rel=1e-15)


def test_counts_by_hand() -> None:
    """Two at mode 0, one at mode 1, one 3.01 std from mode 2: near it, but of low quality."""
    mixture = Mixture(torch.tensor([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]), 1.0, "line")
    coverage = mixture.covered(torch.tensor([[0.0, 0.0], [2.0, 2.0], [13.0, 0.0], [20.0, 3.01]]))
    assert coverage.counts == (2, 1, 0)
    assert (coverage.modes, coverage.n_modes, coverage.high_quality) == (2, 3, 0.75)
    assert coverage.kl_to_uniform == pytest.approx(2 / 3 * math.log(2) + 1 / 3 * math.log(1), rel=1e-14)


def test_no_sample_near_any_mode() -> None:
    coverage = RING.covered(torch.zeros(10, 2))
    assert (coverage.modes, coverage.high_quality, coverage.counts) == (0, 0.0, (0,) * 8)
    assert math.isnan(coverage.kl_to_uniform)


def test_distances_keep_their_digits_far_from_the_origin() -> None:
    """A distance through |x|^2 - 2 x.m + |m|^2, torch's choice above 25 points, is lost in rounding here."""
    mixture = Mixture(torch.tensor([[1e6, 1e6], [1e6, 1e6 + 1]], dtype=torch.float64), 1e-6, "far")
    points = mixture.means.repeat_interleave(50, dim=0) + torch.tensor([2e-6, 0.0], dtype=torch.float64)
    assert mixture.covered(points).counts == (50, 50)


def test_networks_of_the_ring() -> None:
    generator, discriminator = ToyGenerator(), ToyDiscriminator()
    assert generator.latent_shape == (2,)
    assert ToyGenerator(256).latent_shape == (256,)
    points = generator(torch.randn(5, 2))
    assert points.shape == (5, 2)
    logits = discriminator(points)
    assert logits.shape == (5,)
    logits.sum().backward()
    parameters = [*generator.parameters(), *discriminator.parameters()]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)
    for network, ends in ((generator, (2, 2)), (discriminator, (2, 1))):
        layers = [str(m) for m in network.main]
        assert layers[1] == layers[3] == "Tanh()"
        assert [tuple(p.shape) for p in network.main.parameters()][::2] == [(128, ends[0]), (128, 128), (ends[1], 128)]


NAN = torch.tensor([[0.0, math.nan], [0.0, 0.0], [math.inf, 0.0]])
MISTAKES = {
    "images": (
        lambda: RING.covered(torch.zeros(4, 1, 28, 28)),
        "samples: expected shape (N, 2), got (4, 1, 28, 28); reshape the input",
    ),
    "three": (
        lambda: RING.log_density(torch.zeros(4, 3)),
        "x: expected shape (N, 2), got (4, 3); reshape the input",
    ),
    "one point": (
        lambda: RING.covered(torch.zeros(2)),
        "samples: expected shape (N, 2), got (2,); reshape the input",
    ),
    "none": (
        lambda: RING.covered(torch.zeros(0, 2)),
        "samples: expected at least one point, got none; give one or more",
    ),
    "NaN": (
        lambda: RING.covered(NAN),
        "samples: expected finite numbers, got NaN or inf in 2 of 3; drop them",
    ),
    "NaN density": (
        lambda: RING.log_density(NAN),
        "x: expected finite numbers, got NaN or inf in 2 of 3; drop them",
    ),
    "std": (lambda: Mixture.ring(std=0), "std: expected a number above 0, got 0; use 0.01, say"),
    "NaN std": (lambda: Mixture.ring(std=math.nan), "std: expected a number above 0, got nan; use 0.01, say"),
    "modes": (
        lambda: Mixture.ring(0),
        "n_modes: expected a whole number of at least 1, got 0; use 1 or more",
    ),
    "side": (
        lambda: Mixture.grid(0),
        "side: expected a whole number of at least 1, got 0; use 1 or more",
    ),
    "n": (
        lambda: RING.sample(-1, seeded()),
        "n: expected a whole number of at least 1, got -1; use 1 or more",
    ),
    "means": (
        lambda: Mixture(torch.zeros(3, 3), 0.1, "cube"),
        "means: expected shape (N, 2), got (3, 3); reshape the input",
    ),
    "z": (
        lambda: ToyGenerator()(torch.zeros(4, 100)),
        "z: expected shape (N, 2), got (4, 100); reshape the input",
    ),
    "scalar": (lambda: RING.covered(torch.tensor(1.0)), "samples: expected shape (N, 2), got (); reshape the input"),
    "points": (
        lambda: ToyDiscriminator()(torch.zeros(4, 3)),
        "points: expected shape (N, 2), got (4, 3); reshape the input",
    ),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_clear_line(case: tuple) -> None:
    mistake, message = case
    with pytest.raises(RecipeError) as caught:
        mistake()
    assert str(caught.value) == message
