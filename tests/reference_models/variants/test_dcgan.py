"""DCGAN against pytorch/examples' own networks: the same layers, parameters, images and beliefs, at every size."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reference_models.networks.dcgan import SIZES, DCGANDiscriminator, DCGANGenerator

pytestmark = pytest.mark.usefixtures("seeded")

NZ, NGF, NDF, NC = 100, 16, 16, 3


class ExampleGenerator(nn.Module):
    """`Generator` of pytorch/examples dcgan/main.py, layer by layer."""

    def __init__(self, nz: int = NZ, ngf: int = NGF, nc: int = NC):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 8),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 8, ngf * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z)


class ExampleDiscriminator(nn.Module):
    """`Discriminator` of the same file, with its sigmoid."""

    def __init__(self, nc: int = NC, ndf: int = NDF):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 4, ndf * 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 8, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images).view(-1, 1).squeeze(1)


def test_example_generator_state_loads_and_gives_the_same_images() -> None:
    example, ours = ExampleGenerator(), DCGANGenerator(NZ, 64, NC, NGF)
    ours.load_state_dict(example.state_dict())  # strict: every name and shape is the example's
    z = torch.randn(4, NZ)
    for mode in (True, False):
        example.train(mode)
        ours.train(mode)
        assert torch.equal(ours(z), example(z[:, :, None, None]))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), example.buffers(), strict=True))


def test_example_discriminator_state_loads_and_gives_the_same_beliefs() -> None:
    example, ours = ExampleDiscriminator(), DCGANDiscriminator(64, NC, NDF)
    ours.load_state_dict(example.state_dict())
    images = torch.rand(4, NC, 64, 64) * 2 - 1
    for mode in (True, False):
        example.train(mode)
        ours.train(mode)
        assert torch.equal(torch.sigmoid(ours(images)), example(images))


def hyper_parameters(network: nn.Module) -> list[tuple[Any, ...]]:
    names = (
        "kernel_size",
        "stride",
        "padding",
        "output_padding",
        "eps",
        "momentum",
        "affine",
        "negative_slope",
    )
    layers = [m for m in network.main if not isinstance(m, nn.Sigmoid)]
    kept = [(type(m), *(getattr(m, name, None) for name in names)) for m in layers]
    biases = [getattr(m, "bias", None) is not None for m in layers]
    return list(zip(kept, biases, strict=True))


def test_layers_are_the_examples() -> None:
    assert hyper_parameters(DCGANGenerator(NZ, 64, NC, NGF)) == hyper_parameters(ExampleGenerator())
    assert hyper_parameters(DCGANDiscriminator(64, NC, NDF)) == hyper_parameters(ExampleDiscriminator())


def test_published_parameter_counts() -> None:
    """pytorch/examples' defaults, nz 100, ngf 64, ndf 64, nc 3: 3,576,704 and 2,765,568."""
    assert sum(p.numel() for p in DCGANGenerator(100, 64, 3, 64).parameters()) == 3_576_704
    assert sum(p.numel() for p in DCGANDiscriminator(64, 3, 64).parameters()) == 2_765_568


@pytest.mark.parametrize(("size", "channels"), list(itertools.product(SIZES, (1, 3))))
def test_every_resolution(size: int, channels: int) -> None:
    """Widths halve from 4x4 on, so that the last hidden one is `width` at any size; counted out by hand."""
    top = 4 * size // 8  # width 4 at 64 px: 32, 16, 8, 4
    ladder = [top >> i for i in range(int(math.log2(size)) - 2)]
    inner = 16 * sum(a * b for a, b in itertools.pairwise(ladder))
    generator, discriminator = DCGANGenerator(5, size, channels, 4), DCGANDiscriminator(size, channels, 4)
    count = sum(p.numel() for p in generator.parameters())
    assert count == 16 * 5 * top + inner + 16 * 4 * channels + 2 * sum(ladder)
    count = sum(p.numel() for p in discriminator.parameters())
    assert count == 16 * channels * 4 + inner + 16 * top + 2 * sum(ladder[:-1])
    images = generator(torch.randn(2, 5))
    assert images.shape == (2, channels, size, size)
    assert discriminator(images).shape == (2,)


@pytest.mark.parametrize("upsample", ["nearest", "pixel-shuffle"])
def test_projection_stays_a_transposed_convolution(upsample: str) -> None:
    first, *rest = DCGANGenerator(5, 32, 3, 4, upsample=upsample).main
    assert isinstance(first, nn.ConvTranspose2d)
    assert (first.kernel_size, first.stride, first.padding) == ((4, 4), (1, 1), (0, 0))
    assert not any(isinstance(m, nn.ConvTranspose2d) for layer in rest for m in layer.modules())
