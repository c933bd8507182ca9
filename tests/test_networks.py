"""DCGAN against pytorch/examples' own networks, layer values, upsamplings, and the multilayer perceptrons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reference_models.errors import RecipeError
from reference_models.layers import UPSAMPLINGS, PixelShuffleUpsample, initialise_dcgan
from reference_models.networks import (
    SIZES,
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
)

NZ, NGF, NDF, NC = 100, 16, 16, 3
DIGITS = (1, 28, 28)


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


@pytest.fixture(autouse=True)
def seed(rng: Any) -> None:
    torch.manual_seed(int(rng.integers(2**31)))


GENERATORS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: MLPGenerator(7, DIGITS),
    "mlp, no batch norm": lambda: MLPGenerator(7, DIGITS, batch_norm=False),
    **{f"dcgan {n}": lambda n=n: DCGANGenerator(7, 16, 3, 8, upsample=n) for n in UPSAMPLINGS},
}
DISCRIMINATORS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: MLPDiscriminator(DIGITS),
    "dcgan": lambda: DCGANDiscriminator(16, 3, 8),
}


# ---- DCGAN as published


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


# ---- what every network keeps to


@pytest.mark.parametrize("build", GENERATORS.values(), ids=GENERATORS)
def test_generators(build: Callable[[], Any]) -> None:
    generator = build()
    assert generator.latent_shape == (7,)
    assert generator.value_range == (-1.0, 1.0)
    images = generator(100 * torch.randn(6, 7))
    assert images.shape == (6, *generator.image_shape)
    assert images.abs().max() <= 1
    (images * torch.randn_like(images)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())


@pytest.mark.parametrize("build", DISCRIMINATORS.values(), ids=DISCRIMINATORS)
def test_discriminators(build: Callable[[], Any]) -> None:
    discriminator = build()
    images = torch.randn(6, *discriminator.image_shape)
    logits = discriminator(images)
    assert logits.shape == (6,)
    assert discriminator.eval()(images[:1]).shape == (1,)
    (logits * torch.randn(6)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in discriminator.parameters())


@pytest.mark.parametrize("build", [*GENERATORS.values(), *DISCRIMINATORS.values()])
def test_one_seed_one_network(build: Callable[[], Any]) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_mlp_reference_layers() -> None:
    """100-128-256-512-1024-784 tanh and 784-512-256-1."""
    generator, discriminator = MLPGenerator(100, DIGITS), MLPDiscriminator(DIGITS)
    kinds = [type(m).__name__ for m in generator.main]
    hidden = ["Linear", "BatchNorm1d", "LeakyReLU"]
    assert kinds == ["Linear", "LeakyReLU", *3 * hidden, "Linear", "Tanh"]
    linear = [m for m in generator.main if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linear] == [128, 256, 512, 1024, 784]
    norms = [m for m in generator.main if isinstance(m, nn.BatchNorm1d)]
    assert all((m.eps, m.momentum) == (1e-5, 0.1) for m in norms), "0.8 as the second argument would be eps"
    assert [type(m).__name__ for m in discriminator.main] == ["Linear", "LeakyReLU"] * 2 + ["Linear"]
    assert [m.out_features for m in discriminator.main if isinstance(m, nn.Linear)] == [512, 256, 1]
    leaky = [m for n in (generator, discriminator) for m in n.main if isinstance(m, nn.LeakyReLU)]
    assert all(m.negative_slope == 0.2 for m in leaky)
    plain = MLPGenerator(100, DIGITS, batch_norm=False)
    assert not any(isinstance(m, nn.BatchNorm1d) for m in plain.main)


def test_mlp_pixels_are_in_row_order() -> None:
    generator = MLPGenerator(3, (2, 3, 4), hidden=(5,)).eval()
    z = torch.randn(2, 3)
    assert torch.equal(generator(z).reshape(2, 24), generator.main(z))


# ---- values of the layers


def assert_normal(values: Tensor, mean: float, std: float) -> None:
    """Mean and standard deviation within five standard errors, and a Gaussian's kurtosis (a uniform's is 1.8)."""
    values = values.detach().double().flatten()
    n = len(values)
    assert abs(values.mean().item() - mean) < 5 * std / math.sqrt(n)
    assert abs(values.std().item() - std) < 5 * std / math.sqrt(2 * n)
    if n > 4000:
        assert ((values - mean) / std).pow(4).mean().item() == pytest.approx(3, abs=5 * math.sqrt(96 / n))


@pytest.mark.parametrize("upsample", UPSAMPLINGS)
def test_dcgan_starts_as_published(upsample: str) -> None:
    networks = DCGANGenerator(32, 64, 3, 32, upsample=upsample), DCGANDiscriminator(64, 3, 32)
    layers = [m for network in networks for m in network.modules()]
    shuffled = [m.conv for m in layers if isinstance(m, PixelShuffleUpsample)]
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            assert_normal(layer.weight, 1, 0.02)
            assert torch.equal(layer.bias, torch.zeros_like(layer.bias))
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            assert layer.bias is None
            assert_normal(layer.weight[::4] if layer in shuffled else layer.weight, 0, 0.02)


def test_initialise_reaches_every_kind_of_layer() -> None:
    network = nn.Sequential(
        nn.Conv2d(8, 64, 3),
        nn.ConvTranspose2d(64, 8, 4),
        nn.Sequential(nn.Linear(40, 200), nn.BatchNorm1d(500)),
        nn.BatchNorm2d(4, affine=False),
        UPSAMPLINGS["pixel-shuffle"](8, 8, True),
    )
    for parameter in network.parameters():
        nn.init.constant_(parameter, 7.0)
    initialise_dcgan(network)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert torch.equal(parameter, torch.zeros_like(parameter)), name
        else:
            values = parameter[::4] if name == "4.conv.weight" else parameter
            assert_normal(values, 1.0 if name == "2.1.weight" else 0.0, 0.02)


# ---- upsampling


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", UPSAMPLINGS)
def test_every_upsampling_doubles(name: str, bias: bool) -> None:
    layer = UPSAMPLINGS[name](6, 5, bias)
    assert layer(torch.randn(2, 6, 4, 7)).shape == (2, 5, 8, 14)
    assert any(n.endswith("bias") for n, _ in layer.named_parameters()) == bias


def overlap(layer: nn.ConvTranspose2d) -> Tensor:
    """How many inputs each output pixel receives, away from the border."""
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        return layer(torch.ones(1, 1, 8, 8))[0, 0, 2:-2, 2:-2]


def test_four_by_four_at_stride_two_overlaps_evenly() -> None:
    even = UPSAMPLINGS["transposed"](1, 1, False)
    assert isinstance(even, nn.ConvTranspose2d)
    assert torch.equal(overlap(even), torch.full((12, 12), 4.0))
    uneven = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1, bias=False)
    assert set(overlap(uneven).flatten().tolist()) == {1.0, 2.0, 4.0}  # the checkerboard


@pytest.mark.parametrize("reset", [False, True], ids=["built", "initialised"])
def test_pixel_shuffle_starts_as_nearest_resize(reset: bool) -> None:
    """ICNR: all four pixels made of one are equal, bias included."""
    layer = PixelShuffleUpsample(6, 5, True)
    if reset:
        nn.init.normal_(layer.conv.weight)
        initialise_dcgan(layer)
    x = torch.randn(2, 6, 4, 7)
    low = nn.functional.conv2d(x, layer.conv.weight[::4], layer.conv.bias[::4], padding=1)
    torch.testing.assert_close(layer(x), nn.functional.interpolate(low, scale_factor=2, mode="nearest"))
    plain = nn.Sequential(nn.Conv2d(6, 20, 3, padding=1), nn.PixelShuffle(2))(x)
    assert not torch.allclose(plain[..., ::2, ::2], plain[..., 1::2, ::2]), "without ICNR it does not"


@pytest.mark.parametrize("upsample", ["nearest", "pixel-shuffle"])
def test_projection_stays_a_transposed_convolution(upsample: str) -> None:
    first, *rest = DCGANGenerator(5, 32, 3, 4, upsample=upsample).main
    assert isinstance(first, nn.ConvTranspose2d)
    assert (first.kernel_size, first.stride, first.padding) == ((4, 4), (1, 1), (0, 0))
    assert not any(isinstance(m, nn.ConvTranspose2d) for layer in rest for m in layer.modules())


# ---- mistakes

SIZE = "image_size: expected a power of two from 8 to 128, came {}; use {}"
MISTAKES: list[tuple[Callable[[], Any], str]] = [
    *[
        (lambda n=n: DCGANGenerator(100, n, 3, 64), SIZE.format(n, use))
        for n, use in [(48, "32 or 64"), (28, "16 or 32"), (100, "64 or 128"), (256, "128"), (4, "8"), (-64, "8")]
    ],
    (lambda: DCGANDiscriminator(48, 3, 64), SIZE.format(48, "32 or 64")),
    (lambda: DCGANDiscriminator(64.0, 3, 64), SIZE.format("64.0", "8 or 16 or 32 or 64 or 128")),
    (
        lambda: DCGANGenerator(100, 64, 3, 64, upsample="bilinear"),
        "upsample: expected one of transposed, nearest, pixel-shuffle, came 'bilinear'; use one of these",
    ),
    (
        lambda: DCGANGenerator(0, 64, 3, 64),
        "latent_dim: expected a whole number of at least 1, came 0; use 1 or more",
    ),
    (
        lambda: DCGANGenerator(100, 64, 0, 64),
        "channels: expected a whole number of at least 1, came 0; use 1 or more",
    ),
    (
        lambda: DCGANDiscriminator(64, 3, 0.5),
        "width: expected a whole number of at least 1, came 0.5; use 1 or more",
    ),
    (
        lambda: MLPGenerator(100, (28, 28)),
        "image_shape: expected (channels, height, width), came (28, 28); use (1, 28, 28), say",
    ),
    (
        lambda: MLPDiscriminator((1, 0, 28)),
        "image_shape, height: expected a whole number of at least 1, came 0; use 1 or more",
    ),
    (
        lambda: MLPGenerator(100, DIGITS, hidden=(128, -1)),
        "hidden: expected a whole number of at least 1, came -1; use 1 or more",
    ),
    (
        lambda: DCGANGenerator(100, 16, 3, 8)(torch.zeros(2, 100, 1, 1)),
        "z: expected shape (N, 100), came (2, 100, 1, 1); reshape the input",
    ),
    (
        lambda: MLPGenerator(100, DIGITS)(torch.zeros(2, 64)),
        "z: expected shape (N, 100), came (2, 64); reshape the input",
    ),
    (  # 5x5 logits an image, flattened into the batch, would pass in silence
        lambda: DCGANDiscriminator(16, 3, 8)(torch.zeros(2, 3, 32, 32)),
        "images: expected shape (N, 3, 16, 16), came (2, 3, 32, 32); reshape the input",
    ),
    (
        lambda: MLPDiscriminator(DIGITS)(torch.zeros(2, 784)),
        "images: expected shape (N, 1, 28, 28), came (2, 784); reshape the input",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[message[:48] for _, message in MISTAKES])
def test_mistakes_are_one_clear_line(mistake: Callable[[], Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        mistake()
    assert str(caught.value) == message
