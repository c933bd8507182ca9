"""What latent inversion minimises: for each image a sum of its own terms, so that no image's result depends on others.

    f_i(z) = mean over pixels and channels of (G(z) - x_i)^2, in [0, 1]        the squared error that is reported
           + prior_weight |z|^2 / 2                                            minus the log of a Gaussian prior
           + perceptual_weight |u(G(z)) - u(x_i)|^2                            u: an extractor's vector at length 1

The gradient is that of the *sum* over images, as at batch size 1: a mean over the batch would scale it by 1/N, and an
optimiser with an eps (RMSprop, Adam) would then search differently for every batch size.

The generator runs on a fixed number of latents, filled up where there are fewer: the rounding of a convolution depends
on the size of its batch, and a search amplifies rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features.extractor import Extractor
from ganmetrics.generators.opened import OpenGenerator

OnPass = Callable[[Tensor, Tensor], None]


@dataclass
class Passes:
    """Images that went through the generator, without and with a gradient; padding is not counted."""

    forward: int = 0
    gradient: int = 0


@dataclass(frozen=True)
class Perceptual:
    """Squared distance of an extractor's vectors at length 1, beside the pixels."""

    extractor: Extractor
    tap: str
    weight: float

    def vectors(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` in [0, 1] -> `(N, D)` of length 1. Raises OptionError where no gradient passes through."""
        with torch.autocast(images.device.type, enabled=False):
            found = self.extractor.extract([images.float() * 255], (self.tap,))[self.tap]
        if images.requires_grad and not found.requires_grad:
            raise OptionError(f"perceptual {self.extractor.name}: no gradient passes through it; choose another")
        return F.normalize(found.flatten(1).to(images.dtype))


@dataclass
class Objective:
    """Errors and gradients of latents for a batch of targets.

    Attributes:
        generator: opened, and inside its `measuring()`.
        targets: `(M, C, H, W)` in [0, 1], on its device.
        labels: `(M,)` of the targets; None where the generator takes none, or where they are searched.
        n_soft: with searched labels, how many: the last columns of x are their logits.
        block: latents in one pass of the generator.
        autocast: run the generator in bfloat16; errors are float32 all the same.
        on_pass: called after every pass with the numbers of the images and their squared errors.
    """

    generator: OpenGenerator
    targets: Tensor
    labels: Tensor | None = None
    n_soft: int = 0
    prior_weight: float = 0.0
    perceptual: Perceptual | None = None
    block: int = 32
    autocast: bool = False
    on_pass: OnPass | None = None
    passes: Passes = field(default_factory=Passes)
    _wanted: Tensor | None = field(default=None, repr=False)

    @property
    def dim(self) -> int:
        return self.generator.latent_dim + self.n_soft

    def images(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Points `(n, dim)` of the search -> images `(n, C, H, W)` in [0, 1]."""
        g = self.generator
        z = x[:, : g.latent_dim].unflatten(1, g.latent_shape)
        given = x[:, g.latent_dim :].softmax(1) if self.n_soft else labels
        with torch.autocast(g.device.type, torch.bfloat16, enabled=self.autocast):
            return g(z, given)

    def made(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Images of points, without gradient."""
        self.passes.forward += len(x)
        return torch.cat([self.images(*part)[:n] for n, part in blocks(self.block, x, labels)])

    def __call__(self, rows: Tensor, x: Tensor, *, trial: bool = False) -> tuple[Tensor, Tensor]:
        """Losses `(n,)` and their gradients `(n, dim)` at points `(n, dim)` for the targets of those numbers.

        Where a point is a trial that may be refused, one that makes NaN or infinity has an infinite loss and no
        gradient; elsewhere it raises StatisticsError.
        """
        labels = None if self.labels is None else self.labels[rows]
        losses, gradients, errors = [], [], []
        for n, (part, given, numbers) in blocks(self.block, x, labels, rows):
            with torch.enable_grad():
                point = part.detach().requires_grad_()
                images = self.images(point, given)
                error = squared_errors(images, self.targets[numbers])
                loss = error + self._rest(point, images, numbers)
                (gradient,) = torch.autograd.grad(loss.sum(), point)
            losses.append(loss.detach()[:n])
            errors.append(error.detach()[:n])
            gradients.append(gradient[:n])
        self.passes.gradient += len(x)
        loss, gradient = torch.cat(losses), torch.cat(gradients)
        finite = torch.isfinite(loss) & torch.isfinite(gradient).all(1)
        if trial:
            loss, gradient = torch.where(finite, loss, torch.inf), torch.where(finite[:, None], gradient, 0)
        elif not bool(finite.all()):
            raise StatisticsError(
                f"generator {self.generator.name}: makes NaN or infinity, or its gradient does, while its latent is "
                "optimised; keep the latent where it was trained with --bound"
            )
        if self.on_pass is not None:
            self.on_pass(rows, torch.cat(errors))
        return loss, gradient

    def losses(self, rows: Tensor, x: Tensor) -> Tensor:
        """Losses `(n,)` alone."""
        labels = None if self.labels is None else self.labels[rows]
        self.passes.forward += len(x)
        found = []
        for n, (part, given, numbers) in blocks(self.block, x, labels, rows):
            images = self.images(part, given)
            found.append(self.losses_of(numbers, part, images)[:n])
        return torch.cat(found)

    def losses_of(self, rows: Tensor, x: Tensor, images: Tensor) -> Tensor:
        """Losses `(n,)` of points whose images are known."""
        return squared_errors(images, self.targets[rows]) + self._rest(x, images, rows)

    def _rest(self, x: Tensor, images: Tensor, rows: Tensor) -> Tensor:
        """Prior and perceptual terms `(n,)`."""
        z = x[:, : self.generator.latent_dim]
        rest = self.prior_weight / 2 * z.square().sum(1)
        if self.perceptual is not None:
            if self._wanted is None:
                with torch.no_grad():
                    self._wanted = torch.cat([self.perceptual.vectors(t) for t in self.targets.split(self.block)])
            apart = (self.perceptual.vectors(images) - self._wanted[rows]).square().sum(1)
            rest = rest + self.perceptual.weight * apart
        return rest


def blocks(size: int, *tensors: Tensor | None) -> Iterator[tuple[int, list[Any]]]:
    """Tensors of one length in parts of `size` rows, the last filled up with copies of its last row; how many count."""
    length = max(len(t) for t in tensors if t is not None)
    for start in range(0, length, size):
        rows = torch.arange(start, start + size).clamp(max=length - 1)
        yield min(size, length - start), [None if t is None else t[rows.to(t.device)] for t in tensors]


def clamped(x: Tensor, bound: float | None, latent_dim: int) -> Tensor:
    """Points `(n, dim)` with the latent's own coordinates in [-bound, bound]; logits of searched labels are free."""
    if bound is None:
        return x
    return torch.cat([x[:, :latent_dim].clamp(-bound, bound), x[:, latent_dim:]], dim=1)


def squared_errors(images: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of each image `(N,)`, over pixels and channels."""
    return (images - targets).square().flatten(1).mean(1)
