"""The networks of BEGAN (Berthelot, Schumm & Metz 2017, arXiv:1703.10717, Section 3.5 and Figure 1).

G is a decoder from a vector to an image; D is an encoder followed by another decoder. Each level has two 3x3
convolutions with ELU and no normalisation. The encoder has nf channels at the first level, 2nf at the second and so
on, down to 8x8 pixels; the decoder has nf channels everywhere and doubles the size by nearest neighbours.
"Down-sampling is implemented as sub-sampling with stride 2": only every second pixel of a level's last convolution is
kept, so only these are computed here, by a stride of 2. The linear layers and the last convolution have no activation.

Differs: outside of training G's images are clamped to [-1, 1]; the paper's network does not clamp. Weights start from
Glorot's uniform distribution, biases at 0; the paper only mentions vanishing residuals, which are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference_models.networks.checks import expect_count, expect_shape
from reference_models.networks.dcgan import expect_image_size

BASE = 8  # side in pixels of the smallest features, next to the linear layers


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Initialise in place: Glorot's uniform weights, biases 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and layer.bias is not None:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def levels(image_size: int) -> int:
    """Number of resolutions from 8 pixels to `image_size`, both included."""
    expect_image_size(image_size)
    return image_size.bit_length() - BASE.bit_length() + 1


def _pair(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """Two 3x3 convolutions with ELU, the second with `stride`."""
    first, second = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, stride, padding=1)
    return nn.Sequential(first, nn.ELU(), second, nn.ELU())


class Decoder(nn.Module):
    """h `(N, dim)` -> images `(N, channels, S, S)`, unbounded.

    With `skip` the first tensor h0 is upsampled and concatenated to the features after every doubling (Section 3.5).
    """

    def __init__(self, dim: int, image_size: int, channels: int, nf: int, *, skip: bool = False):
        super().__init__()
        self.skip = skip
        self.project = nn.Linear(dim, nf * BASE * BASE)
        self.shape = (nf, BASE, BASE)
        skip_width = 2 * nf if skip else nf
        self.levels = nn.ModuleList(_pair(skip_width if level else nf, nf) for level in range(levels(image_size)))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.last = nn.Conv2d(nf, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        x = first = self.project(h).unflatten(1, self.shape)
        for depth, level in enumerate(self.levels):
            if depth:
                x = self.up(x)
                first = self.up(first) if self.skip else first
                x = torch.cat([x, first], 1) if self.skip else x
            x = level(x)
        return self.last(x)


class Encoder(nn.Sequential):
    """Images `(N, channels, S, S)` -> h `(N, dim)`."""

    def __init__(self, dim: int, image_size: int, channels: int, nf: int):
        count = levels(image_size)
        layers: list[nn.Module] = [nn.Conv2d(channels, nf, 3, padding=1), nn.ELU()]
        for level in range(1, count + 1):
            layers.append(_pair(nf * max(level - 1, 1), nf * level, stride=2 if level < count else 1))
        super().__init__(*layers, nn.Flatten(), nn.Linear(nf * count * BASE * BASE, dim))


class BEGANGenerator(Decoder):
    """z `(N, latent_dim)` -> images `(N, channels, S, S)`; unbounded in training, else clamped to [-1, 1].

    Raises RecipeError for an invalid image size or layer size, and for z of another shape.
    """

    value_range = (-1.0, 1.0)

    def __init__(self, latent_dim: int, image_size: int, channels: int, nf: int, *, skip: bool = False):
        for name, value in (("latent_dim", latent_dim), ("channels", channels), ("nf", nf)):
            expect_count(name, value)
        super().__init__(latent_dim, image_size, channels, nf, skip=skip)
        self.latent_shape = (latent_dim,)
        self.image_shape = (channels, image_size, image_size)
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        expect_shape("z", z, self.latent_shape)
        images = super().forward(z)
        return images if self.training else images.clamp(*self.value_range)


class BEGANDiscriminator(nn.Module):
    """An autoencoder of images `(N, channels, S, S)` with a code of `dim` numbers.

    Raises RecipeError for an invalid image size or layer size, and for images of another shape.
    """

    def __init__(self, dim: int, image_size: int, channels: int, nf: int, *, skip: bool = False):
        super().__init__()
        for name, value in (("dim", dim), ("channels", channels), ("nf", nf)):
            expect_count(name, value)
        self.image_shape = (channels, image_size, image_size)
        self.encoder = Encoder(dim, image_size, channels, nf)
        self.decoder = Decoder(dim, image_size, channels, nf, skip=skip)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        expect_shape("images", images, self.image_shape)
        return self.decoder(self.encoder(images))
