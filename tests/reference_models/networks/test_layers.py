"""Layers: how they start, how they double a size, and that none of it shows as a checkerboard."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from reference_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from reference_models.networks.layers import UPSAMPLINGS, PixelShuffleUpsample, initialise_dcgan

pytestmark = pytest.mark.usefixtures("seeded")


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
