"""The networks of Xiang & Li 2017 (arXiv:1704.03971): one architecture with weight norm, batch norm or none.

As in the authors' code: G is a linear layer to 4x4, then 4x4 stride-2 transposed convolutions; D is 4x4 stride-2
convolutions, then one convolution over the remaining 4x4. Widths are DCGAN's, at any power of two from 8 to 128 px.
PReLU with one slope per channel (TPReLU with weight norm) follows every layer except the last. Batch norm comes before
it, except after D's first layer. Differs: D returns logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganmetrics.printable import brief
from reference_models.errors import RecipeError
from reference_models.networks.checks import expect_count, expect_shape
from reference_models.networks.dcgan import dcgan_widths
from reference_models.networks.weight_norm import StrictConv2d, StrictConvTranspose2d, StrictLinear, TPReLU, initialise

FIRST = 0.01  # factor on G's first weights under weight norm; outputs stay the same, but the weights turn faster


@dataclass(frozen=True)
class Normalisation:
    """How the layers of both networks are made under one normalisation.

    Attributes:
        linear, convolution, transposed: hidden layers, from input and output channels (and kernel, stride, padding).
        last_convolution, last_transposed: the last layers, with a bias and, under weight norm, a scale.
        after: layers that follow a hidden layer, from its number of channels.
        first: layers that follow D's first layer, from its number of channels.
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
        raise RecipeError(
            f"normalisation: expected one of {', '.join(NORMALISATIONS)}, got {brief(name)}; use one of these"
        )
    return NORMALISATIONS[name]


class WNGANGenerator(nn.Module):
    """z `(N, latent_dim)` -> images `(N, channels, S, S)` in (0, 1); `width` is `ngf`.

    Raises RecipeError for an invalid image size, name or layer size, and for z of another shape.
    """

    value_range = (0.0, 1.0)

    def __init__(self, latent_dim: int, image_size: int, channels: int, width: int, *, normalisation: str = "weight"):
        super().__init__()
        norm, widths = _normalisation(normalisation), dcgan_widths(image_size, width)
        expect_count("latent_dim", latent_dim)
        expect_count("channels", channels)
        self.latent_shape = (latent_dim,)
        self.image_shape = (channels, image_size, image_size)
        self.first = norm.linear(latent_dim, widths[0] * 16)
        layers: list[nn.Module] = [nn.Unflatten(1, (widths[0], 4, 4)), *norm.after(widths[0])]
        for before, after in pairwise(widths):
            layers += [norm.transposed(before, after, 4, 2, 1), *norm.after(after)]
        self.main = nn.Sequential(*layers, norm.last_transposed(widths[-1], channels, 4, 2, 1), nn.Sigmoid())
        initialise(self)
        if isinstance(self.first, StrictLinear):
            with torch.no_grad():
                self.first.weight.mul_(FIRST)

    def forward(self, z: Tensor) -> Tensor:
        expect_shape("z", z, self.latent_shape)
        return self.main(self.first(z))


class WNGANDiscriminator(nn.Module):
    """Images `(N, channels, S, S)` in (0, 1) -> logits `(N,)`; `width` is `ndf`.

    Raises RecipeError for an invalid image size, name or layer size, and for images of another shape.
    """

    def __init__(self, image_size: int, channels: int, width: int, *, normalisation: str = "weight"):
        super().__init__()
        norm, widths = _normalisation(normalisation), dcgan_widths(image_size, width)[::-1]
        expect_count("channels", channels)
        self.image_shape = (channels, image_size, image_size)
        layers: list[nn.Module] = [norm.convolution(channels, width, 4, 2, 1), *norm.first(width)]
        for before, after in pairwise(widths):
            layers += [norm.convolution(before, after, 4, 2, 1), *norm.after(after)]
        self.main = nn.Sequential(*layers, norm.last_convolution(widths[-1], 1, 4))
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        expect_shape("images", images, self.image_shape)
        return self.main(images).flatten()
