"""The networks of Xiang & Li 2017 (arXiv:1704.03971): one architecture under weight norm, batch norm or none.

As in the authors' code: G is a linear layer to 4x4, then 4x4 stride-2 transposed convolutions, D 4x4 stride-2
convolutions, then one over all that is left. Widths are DCGAN's, at any power of two from 8 to 128 px. PReLU with a
slope a channel (TPReLU under weight norm) follows every layer but the last. Batch norm stands before it, but not on
D's first layer. Differs: D gives logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from reference_models.errors import RecipeError
from reference_models.networks.checks import expect_count, expect_shape
from reference_models.networks.dcgan import dcgan_widths
from reference_models.networks.weight_norm import StrictConv2d, StrictConvTranspose2d, StrictLinear, TPReLU, initialise

FIRST = 0.01  # of the weights of G's first layer under weight norm


@dataclass(frozen=True)
class Normalisation:
    """How the layers of both networks are made: from in and out (and kernel, stride, padding), and what follows them.

    Attributes:
        linear, convolution, transposed: hidden layers.
        last_convolution, last_transposed: with a bias, and where weights are normalised a scale.
        after: of the channels, behind a hidden layer.
        first: behind D's first layer.
    """

    linear: Callable[[int, int], nn.Module]
    convolution: Callable[..., nn.Module]
    transposed: Callable[..., nn.Module]
    last_convolution: Callable[..., nn.Module]
    last_transposed: Callable[..., nn.Module]
    after: Callable[[int], list[nn.Module]]
    first: Callable[[int], list[nn.Module]]


def _prelu(channels: int) -> list[nn.Module]:
    return [nn.PReLU(channels)]


def _batch_norm(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.PReLU(channels)]


def _tprelu(channels: int) -> list[nn.Module]:
    return [TPReLU(channels)]


def _affine_convolution(*sizes: int) -> nn.Module:
    return StrictConv2d(*sizes, affine=True)


def _affine_transposed(*sizes: int) -> nn.Module:
    return StrictConvTranspose2d(*sizes, affine=True)


PLAIN = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Conv2d, nn.ConvTranspose2d)
NORMALISATIONS = {
    "weight": Normalisation(
        StrictLinear, StrictConv2d, StrictConvTranspose2d, _affine_convolution, _affine_transposed, _tprelu, _tprelu
    ),
    "batch": Normalisation(*PLAIN, after=_batch_norm, first=_prelu),
    "none": Normalisation(*PLAIN, after=_prelu, first=_prelu),
}


def _normalisation(name: str) -> Normalisation:
    if name not in NORMALISATIONS:
        raise RecipeError(f"normalisation: expected one of {', '.join(NORMALISATIONS)}, got {name!r}; use one of these")
    return NORMALISATIONS[name]


class WNGANGenerator(nn.Module):
    """z `(N, latent_dim)` -> images `(N, channels, S, S)` in (0, 1); `width` is `ngf`.

    Raises RecipeError on a resolution, a name or a size that cannot be, and on z of another shape.
    """

    value_range = (0.0, 1.0)

    def __init__(self, latent_dim: int, image_size: int, channels: int, width: int, *, normalisation: str = "weight"):
        super().__init__()
        of, widths = _normalisation(normalisation), dcgan_widths(image_size, width)
        expect_count("latent_dim", latent_dim)
        expect_count("channels", channels)
        self.latent_shape = (latent_dim,)
        self.image_shape = (channels, image_size, image_size)
        self.first = of.linear(latent_dim, widths[0] * 16)
        layers: list[nn.Module] = [nn.Unflatten(1, (widths[0], 4, 4)), *of.after(widths[0])]
        for before, after in pairwise(widths):
            layers += [of.transposed(before, after, 4, 2, 1), *of.after(after)]
        self.main = nn.Sequential(*layers, of.last_transposed(widths[-1], channels, 4, 2, 1), nn.Sigmoid())
        initialise(self)
        if isinstance(self.first, StrictLinear):
            with torch.no_grad():
                self.first.weight.mul_(FIRST)

    def forward(self, z: Tensor) -> Tensor:
        expect_shape("z", z, self.latent_shape)
        return self.main(self.first(z))


class WNGANDiscriminator(nn.Module):
    """Images `(N, channels, S, S)` in (0, 1) -> logits `(N,)`; `width` is `ndf`.

    Raises RecipeError on a resolution, a name or a size that cannot be, and on images of another shape.
    """

    def __init__(self, image_size: int, channels: int, width: int, *, normalisation: str = "weight"):
        super().__init__()
        of, widths = _normalisation(normalisation), dcgan_widths(image_size, width)[::-1]
        expect_count("channels", channels)
        self.image_shape = (channels, image_size, image_size)
        layers: list[nn.Module] = [of.convolution(channels, width, 4, 2, 1), *of.first(width)]
        for before, after in pairwise(widths):
            layers += [of.convolution(before, after, 4, 2, 1), *of.after(after)]
        self.main = nn.Sequential(*layers, of.last_convolution(widths[-1], 1, 4))
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        expect_shape("images", images, self.image_shape)
        return self.main(images).flatten()
