"""First-order searches over latents. All updates are elementwise, so images do not influence each other.

`xiang-li`: Xiang & Li 2017 (arXiv:1704.03971) and its code: RMSprop from z = 0 with lr 0.01, alpha 0.9, eps 1e-6, a
fixed number of steps and a new state for each batch; the result is the last point. Their loss is a mean over the batch;
here each image has its own loss (see `objective.py`), which is theirs at batch size 1.
`adam`: Kingma & Ba 2015 (arXiv:1412.6980), lr 0.1 falling to 0 along a cosine; the result is the best point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.metrics.inversion.objective import Objective, clamped

SETTLED = 0.9  # share of the steps after which the loss is noted, to see whether it still falls at the end


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        x: points `(n, dim)`.
        loss: their losses `(n,)`.
        steps: `(n,)` passes with gradient of each image.
        converged: `(n,)` whether the loss had stopped falling.
    """

    x: Tensor
    loss: Tensor
    steps: Tensor
    converged: Tensor


@dataclass(frozen=True)
class Limits:
    """When a search stops, and where it may go.

    Attributes:
        steps: largest number of passes with gradient per image.
        tolerance: relative decrease of the loss up to which it counts as no longer falling.
        bound: largest |z_j|, or None.
    """

    steps: int
    tolerance: float
    bound: float | None = None

    def inside(self, x: Tensor, latent_dim: int) -> Tensor:
        """Points with latent coordinates clamped to [-bound, bound]; the logits of searched labels are not clamped."""
        return clamped(x, self.bound, latent_dim)


def rmsprop(objective: Objective, rows: Tensor, start: Tensor, limits: Limits) -> Found:
    """torch.optim.RMSprop(lr=0.01, alpha=0.9, eps=1e-6) for each image, clamped to the bound after each step."""
    lr, alpha, eps = 0.01, 0.9, 1e-6
    x = limits.inside(start, objective.generator.latent_dim)
    mean_square, loss_before = torch.zeros_like(x), None
    for step in range(limits.steps):
        loss, gradient = objective(rows, x)
        loss_before = loss if step == int(SETTLED * limits.steps) else loss_before
        mean_square = alpha * mean_square + (1 - alpha) * gradient.square()
        x = limits.inside(x - lr * gradient / (mean_square.sqrt() + eps), objective.generator.latent_dim)
    return _result(x, objective.losses(rows, x), loss_before, limits)


def adam(objective: Objective, rows: Tensor, start: Tensor, limits: Limits) -> Found:
    """Adam(lr=0.1, betas=(0.9, 0.999), eps=1e-8) with lr falling to 0 along a cosine; returns the best point."""
    beta1, beta2, eps, loss_before = 0.9, 0.999, 1e-8, None
    x = best_x = limits.inside(start, objective.generator.latent_dim)
    best = torch.full_like(start[:, 0], math.inf)
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(limits.steps):
        loss, gradient = objective(rows, x)
        best_x, best = _better(x, loss, best_x, best)
        loss_before = best if step == int(SETTLED * limits.steps) else loss_before
        lr = 0.05 * (1 + math.cos(math.pi * step / limits.steps))
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient.square()
        scale = (square / (1 - beta2 ** (step + 1))).sqrt() + eps
        x = limits.inside(x - lr * mean / (1 - beta1 ** (step + 1)) / scale, objective.generator.latent_dim)
    best_x, best = _better(x, objective.losses(rows, x), best_x, best)
    return _result(best_x, best, loss_before, limits)


def _better(x: Tensor, loss: Tensor, best_x: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    lower = loss < best
    return torch.where(lower[:, None], x, best_x), torch.where(lower, loss, best)


def _result(x: Tensor, loss: Tensor, loss_before: Tensor | None, limits: Limits) -> Found:
    steps = torch.full(loss.shape, limits.steps, dtype=torch.long)
    settled = torch.zeros_like(loss, dtype=torch.bool)
    if loss_before is not None and limits.steps > 1:
        settled = loss_before - loss <= limits.tolerance * loss
    return Found(x, loss, steps, settled)
