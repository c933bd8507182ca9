"""Where a search begins: at zero, at a sample, or at the better of what a pool of samples suggests.

A sample near its target in pixels saves most of the way, and a forward pass costs a third of a step. The pool is z = 0
and samples of the prior; it suggests the nearest of them, and a ridge regression from its images to its latents. The
same pool serves every image, whatever it is batched with.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ganmetrics.generators.opened import OpenGenerator
from ganmetrics.metrics.inversion.objective import Objective, blocks, clamped

POOL = 1024
POOL_BYTES = 256 * 2**20
REGRESSED = 4096  # samples that the regression is of at most: it solves a system of as many equations
RIDGE = 1e-2  # of the mean squared length of an image about the mean
LOGIT = 4.0  # of the label of a sample, where labels are searched


class Pool:
    """z = 0 and samples of the prior, with their images.

    What is asked of it is worked out in blocks of fixed size, as the generator's passes are.

    Args:
        objective: whose generator makes them; with labels, sample i has label i mod n_classes.
        size: how many; see `pool_size`.
        bound: keeps every point in [-bound, bound]; see `samples`.
    """

    def __init__(self, objective: Objective, size: int, *, seed: int, bound: float | None):
        g = objective.generator
        self._inside = partial(clamped, bound=bound, latent_dim=g.latent_dim)
        drawn, self.labels = samples(objective, size, seed=seed, bound=bound)
        self.x = torch.cat([torch.zeros_like(drawn[:1]), drawn[1:]])
        given = None if objective.n_soft else self.labels
        self._block = objective.block
        self.images = objective.made(self.x, given).flatten(1)
        self._square = self.images.square().sum(1)
        self._mean, self._x_mean = self.images[:REGRESSED].mean(0), self.x[:REGRESSED].mean(0)
        self._coefficients: Tensor | None = None

    def nearest(self, targets: Tensor, labels: Tensor | None, rank: int) -> Tensor:
        """Number of the `rank`-th nearest sample in pixels, of the target's own label where it has one."""
        found = []
        for n, (part, own) in blocks(self._block, targets.flatten(1), labels):
            distances = self._square - 2 * part @ self.images.T
            if own is not None and self.labels is not None:
                distances = distances.masked_fill(own[:, None] != self.labels, torch.inf)
            found.append(distances.topk(rank + 1, dim=1, largest=False).indices[:n, rank])
        return torch.cat(found)

    def regressed(self, targets: Tensor) -> Tensor:
        """Latents by ridge regression from images about their mean, in the samples' own span and inside the bound."""
        if self._coefficients is None:
            about = (self.images[:REGRESSED] - self._mean).cpu().double()
            kernel = about @ about.T
            kernel.diagonal().add_(RIDGE * kernel.diagonal().mean().clamp(min=torch.finfo(torch.double).tiny))
            dual = torch.linalg.solve(kernel, (self.x[:REGRESSED] - self._x_mean).cpu().double())
            self._coefficients = (about.T @ dual).to(self.x)
        parts = blocks(self._block, targets.flatten(1))
        about = torch.cat([((part - self._mean) @ self._coefficients)[:n] for n, (part,) in parts])
        return self._inside(about + self._x_mean)


def pool_size(generator: OpenGenerator, asked: int) -> int:
    """Samples in a pool: as asked, fewer where their images would take more than POOL_BYTES, 16 at least."""
    return max(16, min(asked, POOL_BYTES // (4 * math.prod(generator.image_shape))))


def samples(objective: Objective, n: int, *, seed: int, bound: float | None) -> tuple[Tensor, Tensor | None]:
    """Points `(n, dim)` drawn from the prior, and labels of theirs, 0 to n_classes - 1 in turn.

    With a bound they are in [-bound, bound]: uniform where the generator does not say its prior, else its own, clamped.
    """
    g = objective.generator
    z = g.prior(n, seed).flatten(1)
    if bound is not None and not callable(getattr(g.generator, "latents", None)):
        random = torch.Generator().manual_seed(seed)
        uniform = torch.rand(z.shape, generator=random, dtype=torch.float64)
        z = ((2 * uniform - 1) * bound).to(z)
    z = clamped(z, bound, g.latent_dim)
    labels = None if g.n_classes is None else torch.arange(n, device=z.device) % g.n_classes
    if objective.n_soft and labels is not None:
        z = torch.cat([z, LOGIT * torch.nn.functional.one_hot(labels, objective.n_soft).to(z)], dim=1)
    return z, labels


def zero(objective: Objective, n: int) -> Tensor:
    """The published start: z = 0, and no label preferred."""
    return torch.zeros(n, objective.dim, dtype=objective.generator.dtype, device=objective.generator.device)


def best_start(objective: Objective, pool: Pool, rows: Tensor, rank: int) -> Tensor:
    """For each image the better by its loss of the nearest of the pool and the regression. Later ranks: that sample."""
    targets = objective.targets[rows]
    labels = None if objective.labels is None else objective.labels[rows]
    nearest = pool.nearest(targets, labels, rank)
    near = pool.x[nearest]
    if rank:
        return near
    far = pool.regressed(targets)
    known = pool.images[nearest].unflatten(1, targets.shape[1:])
    better = objective.losses(rows, far) < objective.losses_of(rows, near, known)
    return torch.where(better[:, None], far, near)
