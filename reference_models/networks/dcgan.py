"""DCGAN's generator and discriminator.

Radford, Metz & Chintala 2015 (arXiv:1511.06434). Reproduces pytorch/examples' dcgan at 64 px parameter for parameter:
its `netG` and `netD` state dicts load here unchanged. Differs from the example: z is `(N, nz)`, D returns logits
instead of probabilities, and images may have any power of two from 8 to 128 px.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ganmetrics.printable import brief
from reference_models.errors import RecipeError
from reference_models.networks.checks import expect_count, expect_shape
from reference_models.networks.layers import UPSAMPLINGS, initialise_dcgan

SIZES = (8, 16, 32, 64, 128)
SLOPE = 0.2  # of LeakyReLU, for negative inputs


def expect_image_size(size: int) -> None:
    """Raise RecipeError unless DCGAN can be built for `size` pixels a side."""
    is_whole = isinstance(size, int)
    if is_whole and size in SIZES:
        return
    nearest = [s for s in SIZES if s < size][-1:] + [s for s in SIZES if s > size][:1] if is_whole else SIZES
    raise RecipeError(
        f"image_size: expected a power of two from {SIZES[0]} to {SIZES[-1]}, got {brief(size)}; "
        f"use {' or '.join(map(str, nearest))}"
    )


def dcgan_widths(image_size: int, width: int) -> list[int]:
    """Channels at 4, 8, ... image_size / 2 pixels; for 64 px these are 8, 4, 2 and 1 times `width`."""
    expect_image_size(image_size)
    expect_count("width", width)
    doublings = image_size.bit_length() - 3  # from 4x4 pixels to image_size
    return [width << stage for stage in reversed(range(doublings))]


class DCGANGenerator(nn.Module):
    """z `(N, latent_dim)` -> images `(N, channels, S, S)` in (-1, 1); `width` is `ngf`.

    `upsample` (a name in UPSAMPLINGS) doubles the size; the projection to 4x4 is always a transposed convolution.
    Raises RecipeError for an invalid image size, name or layer size, and for z of another shape.
    """

    value_range = (-1.0, 1.0)

    def __init__(self, latent_dim: int, image_size: int, channels: int, width: int, *, upsample: str = "transposed"):
        super().__init__()
        widths = dcgan_widths(image_size, width)
        expect_count("latent_dim", latent_dim)
        expect_count("channels", channels)
        if upsample not in UPSAMPLINGS:
            raise RecipeError(
                f"upsample: expected one of {', '.join(UPSAMPLINGS)}, got {brief(upsample)}; use one of these"
            )
        self.latent_shape = (latent_dim,)
        self.image_shape = (channels, image_size, image_size)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], 4, stride=1, padding=0, bias=False)]
        for before, after in zip(widths, (*widths[1:], channels), strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), UPSAMPLINGS[upsample](before, after, False)]
        self.main = nn.Sequential(*layers, nn.Tanh())
        initialise_dcgan(self)

    def forward(self, z: Tensor) -> Tensor:
        expect_shape("z", z, self.latent_shape)
        return self.main(z[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """Images `(N, channels, S, S)` -> logits `(N,)`; `width` is `ndf`.

    Raises RecipeError for an invalid image size or layer size, and for images of another shape.
    """

    def __init__(self, image_size: int, channels: int, width: int):
        super().__init__()
        widths = dcgan_widths(image_size, width)[::-1]
        expect_count("channels", channels)
        self.image_shape = (channels, image_size, image_size)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(SLOPE)]
        for before, after in pairwise(widths):
            convolution = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(SLOPE)]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, stride=1, padding=0, bias=False))
        initialise_dcgan(self)

    def forward(self, images: Tensor) -> Tensor:
        expect_shape("images", images, self.image_shape)
        return self.main(images).flatten()
