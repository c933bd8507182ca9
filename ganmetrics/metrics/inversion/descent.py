"""First-order searches over latents, each a rule for one step; elementwise, so images never meet.

`xiang-li`: Xiang & Li 2017 (arXiv:1704.03971) and its code: from z = 0, RMSprop with lr 0.01, alpha 0.9, eps 1e-6, a
given number of steps, state fresh for each batch; the result is where the last step ends. Their loss is a mean over the
batch too, ours is each image's own (see `latent_objective`): theirs at batch size 1.
`adam`: Kingma & Ba 2015 (arXiv:1412.6980), lr 0.1 falling to 0 along a cosine; the best point on the way is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.metrics.inversion.objective import Objective, clamped

SETTLED = 0.9  # of the steps: what the loss was then tells whether it still falls


@dataclass(frozen=True)
class Found:
    """Points `(n, dim)`, their losses `(n,)`, passes with gradient each image took, and whether it stopped falling."""

    x: Tensor
    loss: Tensor
    steps: Tensor
    converged: Tensor


@dataclass(frozen=True)
class Limits:
    """How long to search: passes with gradient an image, relative fall of the loss that is none, |z_j| at most."""

    steps: int
    tolerance: float
    bound: float | None = None

    def inside(self, x: Tensor, latent_dim: int) -> Tensor:
        """Clamped to [-bound, bound] in the latent's own coordinates; the logits of searched labels are free."""
        return clamped(x, self.bound, latent_dim)


def rmsprop(objective: Objective, rows: Tensor, start: Tensor, limits: Limits) -> Found:
    """torch.optim.RMSprop(lr=0.01, alpha=0.9, eps=1e-6) on every image; a bound is kept by clamping after each step."""
    lr, alpha, eps = 0.01, 0.9, 1e-6
    x = limits.inside(start, objective.generator.latent_dim)
    mean_square, earlier = torch.zeros_like(x), None
    for step in range(limits.steps):
        loss, gradient = objective(rows, x)
        earlier = loss if step == int(SETTLED * limits.steps) else earlier
        mean_square = alpha * mean_square + (1 - alpha) * gradient.square()
        x = limits.inside(x - lr * gradient / (mean_square.sqrt() + eps), objective.generator.latent_dim)
    return _ended(x, objective.losses(rows, x), earlier, limits)


def adam(objective: Objective, rows: Tensor, start: Tensor, limits: Limits) -> Found:
    """Adam(lr=0.1, betas=(0.9, 0.999), eps=1e-8) with a cosine to 0; the best point is kept."""
    beta1, beta2, eps, earlier = 0.9, 0.999, 1e-8, None
    x = best_x = limits.inside(start, objective.generator.latent_dim)
    best = torch.full_like(start[:, 0], math.inf)
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(limits.steps):
        loss, gradient = objective(rows, x)
        best_x, best = _better(x, loss, best_x, best)
        earlier = best if step == int(SETTLED * limits.steps) else earlier
        lr = 0.05 * (1 + math.cos(math.pi * step / limits.steps))
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient.square()
        scale = (square / (1 - beta2 ** (step + 1))).sqrt() + eps
        x = limits.inside(x - lr * mean / (1 - beta1 ** (step + 1)) / scale, objective.generator.latent_dim)
    best_x, best = _better(x, objective.losses(rows, x), best_x, best)
    return _ended(best_x, best, earlier, limits)


def _better(x: Tensor, loss: Tensor, best_x: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    lower = loss < best
    return torch.where(lower[:, None], x, best_x), torch.where(lower, loss, best)


def _ended(x: Tensor, loss: Tensor, earlier: Tensor | None, limits: Limits) -> Found:
    steps = torch.full(loss.shape, limits.steps, dtype=torch.long)
    settled = torch.zeros_like(loss, dtype=torch.bool)
    if earlier is not None and limits.steps > 1:
        settled = earlier - loss <= limits.tolerance * loss
    return Found(x, loss, steps, settled)
