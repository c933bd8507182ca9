"""Adversarial losses against closed forms, the theorems of their papers and float64 references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit, rel_entr
from torch import Tensor

from reference_models.losses import (
    LOSSES,
    Loss,
    discriminator_least_squares,
    discriminator_logistic,
    generator_least_squares,
    generator_minimax,
    generator_non_saturating,
)

MODES = 12


def double(values: np.ndarray | list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def slope(value: Tensor, at: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(value, at)
    return gradient


@pytest.fixture
def counts(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two distributions on MODES points, as whole numbers of equal samples, every point reached by both."""
    return 1 + rng.integers(0, 30, MODES), 1 + rng.integers(0, 30, MODES)


def shares(counts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return counts[0] / counts[0].sum(), counts[1] / counts[1].sum()


def batches(table: Tensor, counts: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    """D's output for every sample of both sets, looked up from its value at each point."""
    real, fake = (table.repeat_interleave(torch.from_numpy(n)) for n in counts)
    return real, fake


def numpy_reference(name: str, real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """D's and G's loss, written out again."""
    if name.startswith("least-squares"):
        a, b, c = (-1, 1, 0) if name.endswith("pearson") else (0, 1, 1)
        return 0.5 * np.mean((real - b) ** 2) + 0.5 * np.mean((fake - a) ** 2), 0.5 * np.mean((fake - c) ** 2)
    generator = np.mean(log_expit(-fake)) if name == "minimax" else -np.mean(log_expit(fake))
    return -np.mean(log_expit(real)) - np.mean(log_expit(-fake)), generator


def test_index_is_what_the_papers_name() -> None:
    assert list(LOSSES) == ["minimax", "non-saturating", "least-squares", "least-squares-pearson"]
    assert all(loss.name == name for name, loss in LOSSES.items())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_float64_reference(loss: Loss, rng: np.random.Generator) -> None:
    real, fake = rng.normal(0, 15, 301), rng.normal(0, 15, 97)
    d, g = numpy_reference(loss.name, real, fake)
    assert loss.discriminator(double(real), double(fake)).item() == pytest.approx(d, rel=1e-14)
    assert loss.generator(double(fake)).item() == pytest.approx(g, rel=1e-14)
    single = loss.discriminator(torch.from_numpy(real).float(), torch.from_numpy(fake).float())
    assert single.dtype == torch.float32
    assert single.shape == ()
    assert single.item() == pytest.approx(d, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_belief_is_d_of_x(loss: Loss) -> None:
    logits = torch.tensor([-1e4, -2.0, 0.0, 2.0, 1e4], dtype=torch.float64)
    expected = expit(logits.numpy()) if loss.probability else logits.numpy()
    assert np.allclose(loss.belief(logits).numpy(), expected, rtol=1e-15, atol=0)
    assert loss.probability == (loss.name in ("minimax", "non-saturating"))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_huge_logits_stay_finite(loss: Loss, dtype: torch.dtype) -> None:
    for sign in (1, -1):
        real, fake = (torch.full((3,), s * 1e4, dtype=dtype, requires_grad=True) for s in (sign, -sign))
        values = loss.discriminator(real, fake), loss.generator(fake)
        gradients = torch.autograd.grad(values[0], (real, fake)) + torch.autograd.grad(values[1], fake)
        assert all(torch.isfinite(t).all() for t in (*values, *gradients))


def test_wrong_by_ten_thousand_costs_ten_thousand() -> None:
    """A clamp at log(1e-12), as in losses on probabilities, would say 27.6 and give no gradient."""
    logits = double([-1e4])
    assert generator_non_saturating(logits).item() == 1e4
    assert slope(generator_non_saturating(logits), logits).item() == -1


def test_value_at_one_half_is_minus_log_4() -> None:
    """Goodfellow et al. 2014, Theorem 1: V = -log 4, and D minimises -V."""
    half = double([0.0, 0.0])
    assert discriminator_logistic(half, half).item() == pytest.approx(math.log(4), rel=1e-15)
    assert generator_minimax(half).item() == pytest.approx(-math.log(2), rel=1e-15)
    assert generator_non_saturating(half).item() == pytest.approx(math.log(2), rel=1e-15)


def test_optimal_discriminator_gives_the_jensen_shannon_divergence(counts: tuple[np.ndarray, np.ndarray]) -> None:
    """Propositions 1 and 2: D* = p / (p + p_g), where V = 2 JSD(p, p_g) - log 4."""
    p, q = shares(counts)
    table = double(np.log(p / q))  # sigmoid(log p/q) = p / (p + q)
    loss = discriminator_logistic(*batches(table, counts))
    assert slope(loss, table).abs().max() < 1e-15
    middle = (p + q) / 2
    jsd = (rel_entr(p, middle).sum() + rel_entr(q, middle).sum()) / 2
    assert -loss.item() == pytest.approx(2 * jsd - math.log(4), rel=1e-13)
    for other in (table + 0.1, table - 0.1, table * 1.1):
        assert discriminator_logistic(*batches(other, counts)) > loss


def test_minimax_saturates_where_the_discriminator_is_sure() -> None:
    """At D(G(z)) = 0.01 the gradient is 99 times weaker; "minimax" under its own name, not the other loss."""
    logit = double([math.log(0.01 / 0.99)])
    assert slope(generator_minimax(logit), logit).item() == pytest.approx(-0.01, rel=1e-12)
    assert slope(generator_non_saturating(logit), logit).item() == pytest.approx(-0.99, rel=1e-12)


def test_minimax_is_the_discriminators_own_term_negated(rng: np.random.Generator) -> None:
    fake = double(rng.normal(0, 3, 50))
    far = double([800.0])  # real images it is sure of: their term is 0
    assert generator_minimax(fake).item() == -discriminator_logistic(far, fake).item()


def test_least_squares_by_hand() -> None:
    real, fake = double([1.0, 3.0]), double([2.0])
    assert discriminator_least_squares(real, fake).item() == (0 + 4) / 4 + 4 / 2
    assert generator_least_squares(fake).item() == 0.5
    pearson = LOSSES["least-squares-pearson"]
    assert pearson.discriminator(real, fake).item() == (0 + 4) / 4 + 9 / 2
    assert pearson.generator(fake).item() == 2


@pytest.mark.parametrize(("name", "a", "b"), [("least-squares", 0, 1), ("least-squares-pearson", -1, 1)])
def test_optimal_least_squares_discriminator(name: str, a: int, b: int, counts: tuple[np.ndarray, np.ndarray]) -> None:
    """Mao et al. 2017: D* = (b p + a p_g) / (p + p_g)."""
    p, q = shares(counts)
    table = double((b * p + a * q) / (p + q))
    assert slope(LOSSES[name].discriminator(*batches(table, counts)), table).abs().max() < 1e-15


def test_pearson_form_is_half_a_chi_squared(counts: tuple[np.ndarray, np.ndarray]) -> None:
    """C(G) = 1/2 E_p (D* - c)^2 + 1/2 E_pg (D* - c)^2 = 1/2 chi^2(p + p_g || 2 p_g).

    The paper's chi^2(u || v) is sum (v - u)^2 / u. Its 2 C(G) is chi^2 itself, so with the halves of Equation 2 the
    constant is 1/2; the real term has no gradient in G, and the loss alone is the other, fake, term.
    """
    p, q = shares(counts)
    real, fake = batches(double((p - q) / (p + q)), counts)
    generator = LOSSES["least-squares-pearson"].generator
    chi_squared = ((2 * q - (p + q)) ** 2 / (p + q)).sum()
    assert (generator(real) + generator(fake)).item() == pytest.approx(chi_squared / 2, rel=1e-13)
    assert generator(fake).item() == pytest.approx((q * ((p - q) / (p + q)) ** 2).sum() / 2, rel=1e-13)


def test_zero_one_coding_is_no_pearson_chi_squared(counts: tuple[np.ndarray, np.ndarray]) -> None:
    """The theorem asks for b - a = 2 and b - c = 1; "least-squares" has 1 and 0 and comes to sum p_g^2 / (p + p_g)."""
    p, q = shares(counts)
    generator = LOSSES["least-squares"].generator
    real, fake = batches(double(p / (p + q)), counts)
    assert (generator(real) + generator(fake)).item() == pytest.approx((q**2 / (p + q)).sum() / 2, rel=1e-13)
