"""What every generator and discriminator keeps to, the multilayer perceptrons, and sizes that make no network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from reference_models.errors import RecipeError
from reference_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from reference_models.networks.layers import UPSAMPLINGS
from reference_models.networks.mlp import MLPDiscriminator, MLPGenerator

pytestmark = pytest.mark.usefixtures("seeded")

DIGITS = (1, 28, 28)
GENERATORS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: MLPGenerator(7, DIGITS),
    "mlp, no batch norm": lambda: MLPGenerator(7, DIGITS, batch_norm=False),
    **{f"dcgan {n}": lambda n=n: DCGANGenerator(7, 16, 3, 8, upsample=n) for n in UPSAMPLINGS},
}
DISCRIMINATORS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: MLPDiscriminator(DIGITS),
    "dcgan": lambda: DCGANDiscriminator(16, 3, 8),
}


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


# ---- mistakes

SIZE = "image_size: expected a power of two from 8 to 128, got {}; use {}"
MISTAKES: list[tuple[Callable[[], Any], str]] = [
    *[
        (lambda n=n: DCGANGenerator(100, n, 3, 64), SIZE.format(n, use))
        for n, use in [(48, "32 or 64"), (28, "16 or 32"), (100, "64 or 128"), (256, "128"), (4, "8"), (-64, "8")]
    ],
    (lambda: DCGANDiscriminator(48, 3, 64), SIZE.format(48, "32 or 64")),
    (lambda: DCGANDiscriminator(64.0, 3, 64), SIZE.format("64.0", "8 or 16 or 32 or 64 or 128")),
    (
        lambda: DCGANGenerator(100, 64, 3, 64, upsample="bilinear"),
        "upsample: expected one of transposed, nearest, pixel-shuffle, got 'bilinear'; use one of these",
    ),
    (
        lambda: DCGANGenerator(0, 64, 3, 64),
        "latent_dim: expected a whole number of at least 1, got 0; use 1 or more",
    ),
    (
        lambda: DCGANGenerator(100, 64, 0, 64),
        "channels: expected a whole number of at least 1, got 0; use 1 or more",
    ),
    (
        lambda: DCGANDiscriminator(64, 3, 0.5),
        "width: expected a whole number of at least 1, got 0.5; use 1 or more",
    ),
    (
        lambda: MLPGenerator(100, (28, 28)),
        "image_shape: expected (channels, height, width), got (28, 28); use (1, 28, 28), say",
    ),
    (
        lambda: MLPDiscriminator((1, 0, 28)),
        "image_shape, height: expected a whole number of at least 1, got 0; use 1 or more",
    ),
    (
        lambda: MLPGenerator(100, DIGITS, hidden=(128, -1)),
        "hidden: expected a whole number of at least 1, got -1; use 1 or more",
    ),
    (
        lambda: DCGANGenerator(100, 16, 3, 8)(torch.zeros(2, 100, 1, 1)),
        "z: expected shape (N, 100), got (2, 100, 1, 1); reshape the input",
    ),
    (
        lambda: MLPGenerator(100, DIGITS)(torch.zeros(2, 64)),
        "z: expected shape (N, 100), got (2, 64); reshape the input",
    ),
    (  # 5x5 logits an image, flattened into the batch, would pass in silence
        lambda: DCGANDiscriminator(16, 3, 8)(torch.zeros(2, 3, 32, 32)),
        "images: expected shape (N, 3, 16, 16), got (2, 3, 32, 32); reshape the input",
    ),
    (
        lambda: MLPDiscriminator(DIGITS)(torch.zeros(2, 784)),
        "images: expected shape (N, 1, 28, 28), got (2, 784); reshape the input",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[message[:48] for _, message in MISTAKES])
def test_mistakes_are_one_clear_line(mistake: Callable[[], Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        mistake()
    assert str(caught.value) == message
