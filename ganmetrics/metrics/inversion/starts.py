"""Start points of a search: zero, a sample, or the better of two suggestions of a pool of samples.

A sample whose image is near the target saves most of the search, and a forward pass costs a third of a step. The pool
is z = 0 and samples of the prior. It suggests its nearest sample, and a latent by ridge regression from its images to
its latents. All images share one pool, so that a start does not depend on the batch.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ganmetrics.generators.opened import OpenGenerator
from ganmetrics.metrics.inversion.objective import Objective, blocks, clamped

POOL = 1024  # samples by default
POOL_BYTES = 256 * 2**20
REGRESSED = 4096  # largest number of samples in the regression, which solves as many linear equations
RIDGE = 1e-2  # ridge penalty, as a share of the mean squared length of a centred image
LOGIT = 4.0  # start logit of a sample's label if labels are searched; the other classes start at 0


class Pool:
    """z = 0 and samples of the prior, with their images.

    Products are computed in blocks of fixed size, like the passes of the generator, so that rounding does not depend on
    the batch.

    Args:
        objective: has the generator; with labels, sample i has label i mod n_classes.
        size: number of points; see `pool_size`.
        seed: seed of the samples.
        bound: keeps every point in [-bound, bound]; see `samples`.
    """

    def __init__(self, objective: Objective, size: int, *, seed: int, bound: float | None):
        g = objective.generator
        self._inside = partial(clamped, bound=bound, latent_dim=g.latent_dim)
        drawn, self.labels = samples(objective, size, seed=seed, bound=bound)
        self.x = torch.cat([torch.zeros_like(drawn[:1]), drawn[1:]])
        labels = None if objective.n_soft else self.labels  # searched labels are in x
        self._block = objective.block
        self.images = objective.made(self.x, labels).flatten(1)
        self._square = self.images.square().sum(1)
        self._mean, self._x_mean = self.images[:REGRESSED].mean(0), self.x[:REGRESSED].mean(0)
        self._coefficients: Tensor | None = None

    def nearest(self, targets: Tensor, labels: Tensor | None, rank: int) -> Tensor:
        """Index of the nearest sample in pixels (rank 0) or a later one; with labels, among samples of that label."""
        indices = []
        for n, (part, part_labels) in blocks(self._block, targets.flatten(1), labels):
            distances = self._square - 2 * part @ self.images.T  # less the target's own square, the same for all
            if part_labels is not None and self.labels is not None:
                distances = distances.masked_fill(part_labels[:, None] != self.labels, torch.inf)
            indices.append(distances.topk(rank + 1, dim=1, largest=False).indices[:n, rank])
        return torch.cat(indices)

    def regressed(self, targets: Tensor) -> Tensor:
        """Latents by ridge regression from centred images: linear combinations of the samples, clamped to the bound."""
        if self._coefficients is None:
            centred = (self.images[:REGRESSED] - self._mean).cpu().double()
            kernel = centred @ centred.T
            kernel.diagonal().add_(RIDGE * kernel.diagonal().mean().clamp(min=torch.finfo(torch.double).tiny))
            dual = torch.linalg.solve(kernel, (self.x[:REGRESSED] - self._x_mean).cpu().double())
            self._coefficients = (centred.T @ dual).to(self.x)
        parts = blocks(self._block, targets.flatten(1))
        offsets = torch.cat([((part - self._mean) @ self._coefficients)[:n] for n, (part,) in parts])
        return self._inside(offsets + self._x_mean)


def pool_size(generator: OpenGenerator, asked: int) -> int:
    """Number of samples in a pool: `asked`, or fewer if their images would exceed POOL_BYTES, but at least 16."""
    return max(16, min(asked, POOL_BYTES // (4 * math.prod(generator.image_shape))))


def samples(objective: Objective, n: int, *, seed: int, bound: float | None) -> tuple[Tensor, Tensor | None]:
    """Points `(n, dim)` drawn from the prior, and their labels `(n,)`, 0 to n_classes - 1 in turn, or None.

    With a bound, points are in [-bound, bound]: the generator's own prior, clamped; or uniform if it defines no prior.
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
    """The published start: z = 0, and equal probabilities of all labels."""
    return torch.zeros(n, objective.dim, dtype=objective.generator.dtype, device=objective.generator.device)


def best_start(objective: Objective, pool: Pool, rows: Tensor, rank: int) -> Tensor:
    """Start of each image: the nearest sample or the regressed latent, by lower loss; for rank > 0, that sample."""
    targets = objective.targets[rows]
    labels = None if objective.labels is None else objective.labels[rows]
    nearest = pool.nearest(targets, labels, rank)
    sample = pool.x[nearest]
    if rank:
        return sample
    regressed = pool.regressed(targets)
    known = pool.images[nearest].unflatten(1, targets.shape[1:])
    better = objective.losses(rows, regressed) < objective.losses_of(rows, sample, known)
    return torch.where(better[:, None], regressed, sample)
