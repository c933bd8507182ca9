"""The multilayer perceptrons of the original GAN: generator and discriminator.

Goodfellow et al. 2014 (arXiv:1406.2661), with the layers that most collections use: LeakyReLU, batch norm, tanh,
PyTorch's default initialisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from reference_models.networks.checks import expect_count, expect_image_shape, expect_shape

SLOPE = 0.2  # of LeakyReLU, for negative inputs


class MLPGenerator(nn.Module):
    """z `(N, latent_dim)` -> images `(N, C, H, W)` in (-1, 1).

    Batch norm follows every hidden layer except the first, with eps 1e-5 (a well-known implementation passes 0.8, meant
    as the momentum, as eps). Raises RecipeError for sizes below 1 and for z of another shape.
    """

    value_range = (-1.0, 1.0)

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        *,
        hidden: Sequence[int] = (128, 256, 512, 1024),
        batch_norm: bool = True,
    ):
        super().__init__()
        expect_count("latent_dim", latent_dim)
        self.latent_shape = (latent_dim,)
        self.image_shape = expect_image_shape(image_shape)
        layers: list[nn.Module] = []
        sizes = (latent_dim, *hidden)
        for depth, (before, after) in enumerate(pairwise(sizes)):
            expect_count("hidden", after)
            norm = [nn.BatchNorm1d(after)] if batch_norm and depth > 0 else []
            layers += [nn.Linear(before, after), *norm, nn.LeakyReLU(SLOPE)]
        self.main = nn.Sequential(*layers, nn.Linear(sizes[-1], prod(self.image_shape)), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        expect_shape("z", z, self.latent_shape)
        return self.main(z).unflatten(1, self.image_shape)


class MLPDiscriminator(nn.Module):
    """Images `(N, C, H, W)` -> logits `(N,)`. Raises RecipeError for sizes below 1 and for images of another shape."""

    def __init__(self, image_shape: tuple[int, int, int], *, hidden: Sequence[int] = (512, 256)):
        super().__init__()
        self.image_shape = expect_image_shape(image_shape)
        layers: list[nn.Module] = []
        sizes = (prod(self.image_shape), *hidden)
        for before, after in pairwise(sizes):
            expect_count("hidden", after)
            layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
        self.main = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def forward(self, images: Tensor) -> Tensor:
        expect_shape("images", images, self.image_shape)
        return self.main(images.flatten(1)).squeeze(1)
