"""Adversarial losses on logits: minimax, non-saturating and least squares.

Goodfellow et al. 2014 (arXiv:1406.2661) and Mao et al. 2017 (arXiv:1611.04076). Every loss takes logits, the output of
the last layer without a sigmoid, so that it is exact for large logits too. "minimax" is the saturating loss of
Goodfellow's Equation 1; other collections often use this name but train with the non-saturating loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def discriminator_logistic(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))) of logits `(N,)`, `(M,)`: Goodfellow et al. 2014, Equation 1, negated."""
    return -logsigmoid(real).mean() - logsigmoid(-fake).mean()


def generator_minimax(fake: Tensor) -> Tensor:
    """E log(1 - D(G(z))) of logits `(N,)`: Equation 1, which G minimises; its gradient vanishes if D is confident."""
    return logsigmoid(-fake).mean()


def generator_non_saturating(fake: Tensor) -> Tensor:
    """-E log D(G(z)) of logits `(N,)`: Goodfellow et al. 2014, end of Section 3."""
    return -logsigmoid(fake).mean()


def discriminator_least_squares(real: Tensor, fake: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2 of scores `(N,)`, `(M,)`: Mao et al. 2017, Equation 2."""
    return ((real - b).square().mean() + (fake - a).square().mean()) / 2


def generator_least_squares(fake: Tensor, c: float = 1.0) -> Tensor:
    """1/2 E (D(G(z)) - c)^2 of scores `(N,)`: Mao et al. 2017, Equation 2."""
    return (fake - c).square().mean() / 2


@dataclass(frozen=True)
class Loss:
    """What D and G minimise, each a scalar of logits; `probability` says whether sigmoid(logit) is D(x)."""

    name: str
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    probability: bool

    def belief(self, logits: Tensor) -> Tensor:
        """D(x) of the paper, in the shape of `logits`: a probability, or for least squares the score itself."""
        return torch.sigmoid(logits) if self.probability else logits


PEARSON = Loss(  # Mao et al. 2017, Equation 8: b - c = 1 and b - a = 2 make it a Pearson chi-squared divergence
    "least-squares-pearson",
    partial(discriminator_least_squares, a=-1.0, b=1.0),
    partial(generator_least_squares, c=0.0),
    probability=False,
)

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("minimax", discriminator_logistic, generator_minimax, probability=True),
        Loss("non-saturating", discriminator_logistic, generator_non_saturating, probability=True),
        Loss("least-squares", discriminator_least_squares, generator_least_squares, probability=False),  # Equation 9
        PEARSON,
    )
}
