"""The loss of latent inversion. Each image has its own, so that no result depends on other images.

    f_i(z) = mean over pixels and channels of (G(z) - x_i)^2, in [0, 1]        the reported squared error
           + prior_weight |z|^2 / 2                                            minus the log of a Gaussian prior
           + perceptual_weight |u(G(z)) - u(x_i)|^2                            u: an extractor's vector at length 1

The gradient is that of the *sum* over images, which equals batch size 1. A mean over the batch would scale it by 1/N,
and an optimiser with an eps (RMSprop, Adam) would then behave differently for every batch size.

The generator always runs on a fixed number of latents; a smaller block is padded. The rounding of a convolution depends
on the batch size, and a search amplifies rounding.
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

OnPass = Callable[[Tensor, Tensor], None]  # (indices of images, squared errors)


@dataclass
class Passes:
    """Number of images through the generator, without and with gradient; padding is not counted."""

    forward: int = 0
    gradient: int = 0


@dataclass(frozen=True)
class Perceptual:
    """Squared distance of an extractor's vectors, scaled to length 1, as a term of the loss."""

    extractor: Extractor
    tap: str
    weight: float

    def vectors(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` in [0, 1] -> `(N, D)` of length 1. Raises OptionError if the extractor passes no gradient."""
        with torch.autocast(images.device.type, enabled=False):
            features = self.extractor.extract([images.float() * 255], (self.tap,))[self.tap]
        if images.requires_grad and not features.requires_grad:
            raise OptionError(f"perceptual {self.extractor.name}: no gradient passes through it; choose another")
        return F.normalize(features.flatten(1).to(images.dtype))


@dataclass
class Objective:
    """Errors and gradients of latents for a batch of targets.

    Attributes:
        generator: opened, and inside its `measuring()`.
        targets: `(M, C, H, W)` in [0, 1], on the generator's device.
        labels: `(M,)` of the targets; None if the generator takes none, or if they are searched.
        n_soft: number of classes if labels are searched, else 0. The last n_soft columns of x are their logits.
        prior_weight, perceptual: weight of the prior term, and the perceptual term; see above.
        block: latents in one pass of the generator.
        autocast: run the generator in bfloat16; errors are float32 or better.
        on_pass: called after every pass with the indices of the images and their squared errors.
        passes: counts the images of all passes.
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
    _target_vectors: Tensor | None = field(default=None, repr=False)

    @property
    def dim(self) -> int:
        return self.generator.latent_dim + self.n_soft

    def images(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Points `(n, dim)` of the search -> images `(n, C, H, W)` in [0, 1]."""
        g = self.generator
        z = x[:, : g.latent_dim].unflatten(1, g.latent_shape)
        labels = x[:, g.latent_dim :].softmax(1) if self.n_soft else labels
        with torch.autocast(g.device.type, torch.bfloat16, enabled=self.autocast):
            return g(z, labels)

    def made(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Images of points, without gradient."""
        self.passes.forward += len(x)
        return torch.cat([self.images(*part)[:n] for n, part in blocks(self.block, x, labels)])

    def __call__(self, rows: Tensor, x: Tensor, *, trial: bool = False) -> tuple[Tensor, Tensor]:
        """Losses `(n,)` and gradients `(n, dim)` at points x `(n, dim)`, for the targets with indices `rows`.

        If a point gives NaN or infinity: with `trial`, its loss is infinite and its gradient 0, so that a line search
        rejects it; otherwise raises StatisticsError.
        """
        labels = None if self.labels is None else self.labels[rows]
        losses, gradients, errors = [], [], []
        for n, (part, part_labels, part_rows) in blocks(self.block, x, labels, rows):
            with torch.enable_grad():
                point = part.detach().requires_grad_()
                images = self.images(point, part_labels)
                error = squared_errors(images, self.targets[part_rows])
                loss = error + self._rest(point, images, part_rows)
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
        """Losses `(n,)` without gradients."""
        labels = None if self.labels is None else self.labels[rows]
        self.passes.forward += len(x)
        losses = []
        for n, (part, part_labels, part_rows) in blocks(self.block, x, labels, rows):
            images = self.images(part, part_labels)
            losses.append(self.losses_of(part_rows, part, images)[:n])
        return torch.cat(losses)

    def losses_of(self, rows: Tensor, x: Tensor, images: Tensor) -> Tensor:
        """Losses `(n,)` of points whose images are known."""
        return squared_errors(images, self.targets[rows]) + self._rest(x, images, rows)

    def _rest(self, x: Tensor, images: Tensor, rows: Tensor) -> Tensor:
        """Prior and perceptual terms `(n,)`."""
        z = x[:, : self.generator.latent_dim]
        rest = self.prior_weight / 2 * z.square().sum(1)
        if self.perceptual is not None:
            if self._target_vectors is None:
                with torch.no_grad():
                    parts = [self.perceptual.vectors(part) for part in self.targets.split(self.block)]
                    self._target_vectors = torch.cat(parts)
            distance = (self.perceptual.vectors(images) - self._target_vectors[rows]).square().sum(1)
            rest = rest + self.perceptual.weight * distance
        return rest


def blocks(size: int, *tensors: Tensor | None) -> Iterator[tuple[int, list[Any]]]:
    """(n, parts of the tensors) with `size` rows each; the last part has n own rows and is padded with its last row."""
    length = max(len(t) for t in tensors if t is not None)
    for start in range(0, length, size):
        rows = torch.arange(start, start + size).clamp(max=length - 1)
        yield min(size, length - start), [None if t is None else t[rows.to(t.device)] for t in tensors]


def clamped(x: Tensor, bound: float | None, latent_dim: int) -> Tensor:
    """Points `(n, dim)` with latent coordinates clamped to [-bound, bound]; logits of searched labels stay."""
    if bound is None:
        return x
    return torch.cat([x[:, :latent_dim].clamp(-bound, bound), x[:, latent_dim:]], dim=1)


def squared_errors(images: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of each image `(N,)`, over pixels and channels."""
    return (images - targets).square().flatten(1).mean(1)
