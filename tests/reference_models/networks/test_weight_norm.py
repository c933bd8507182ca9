"""Strict weight norm and TPReLU against loops and hand computations, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.networks.weight_norm import (
    StrictConv2d,
    StrictConvTranspose2d,
    StrictLinear,
    TPReLU,
    clamp_slopes,
)

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: StrictLinear(6, 5), (4, 6)),
    "convolution": (lambda: StrictConv2d(3, 5, 3, 2, 1), (2, 3, 7, 6)),
    "transposed": (lambda: StrictConvTranspose2d(3, 5, 4, 2, 1), (2, 3, 4, 5)),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(7)


def double(layer: nn.Module) -> nn.Module:
    return layer.double()


def test_linear_by_hand() -> None:
    layer = double(StrictLinear(2, 1))
    layer.load_state_dict({"weight": torch.tensor([[3.0, 4.0]])})
    expected = (3 * 1 + 4 * 2) / (25 + 1e-6) ** 0.5
    assert layer(torch.tensor([[1.0, 2.0]]).double()).item() == pytest.approx(expected, rel=1e-14)


def test_convolution_against_a_loop() -> None:
    layer, x = double(StrictConv2d(3, 2, 3, 2, 1)), torch.randn(2, 3, 5, 6).double()
    weight, padded, found = layer.weight.detach(), F.pad(x, (1, 1, 1, 1)), layer(x)
    assert found.shape == (2, 2, 3, 3)
    for n, o, i, j in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
        seen = padded[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        expected = (weight[o] * seen).sum() / (weight[o].square().sum() + 1e-6).sqrt()
        assert float(found[n, o, i, j].detach()) == pytest.approx(float(expected), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize(("stride", "padding"), [(2, 1), (1, 0)])
def test_transposed_convolution_against_a_loop(stride: int, padding: int) -> None:
    """Every input pixel is painted with its kernel; an output channel's weights are normalised by fan-in."""
    layer, x = double(StrictConvTranspose2d(3, 2, 4, stride, padding)), torch.randn(2, 3, 3, 4).double()
    weight, (h, w) = layer.weight.detach(), x.shape[2:]
    canvas = torch.zeros(2, 2, stride * (h - 1) + 4, stride * (w - 1) + 4).double()
    for c, o, i, j in torch.cartesian_prod(*map(torch.arange, (3, 2, h, w))).tolist():
        norm = (weight[:, o].square().sum() / stride**2 + 1e-6).sqrt()
        part = x[:, c, i, j, None, None] * weight[c, o] / norm
        canvas[:, o, stride * i : stride * i + 4, stride * j : stride * j + 4] += part
    expected = canvas[:, :, padding : canvas.shape[2] - padding, padding : canvas.shape[3] - padding]
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_white_noise_keeps_its_variance(name: str) -> None:
    """What the factor 1 / (s_h s_w) is for: with equal weights everywhere, each output pixel has variance 1."""
    make, shape = LAYERS[name]
    layer = double(make())
    nn.init.constant_(layer.weight, 0.3)
    x = torch.randn(4000, *shape[1:]).double()
    y = layer(x) if name == "linear" else layer(x)[:, :, 1:-1, 1:-1]
    assert float(y.detach().square().mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", LAYERS)
def test_the_size_of_the_weights_means_nothing(name: str) -> None:
    make, shape = LAYERS[name]
    layer, x = double(make()), torch.randn(shape).double()
    before = layer(x)
    loss = (before * torch.randn_like(before)).sum()
    (gradient,) = torch.autograd.grad(loss, layer.weight)
    weight = layer.weight.detach()
    radial = float((gradient * weight).sum().abs() / (gradient.norm() * weight.norm()))
    assert radial < 1e-5  # but for eps, orthogonal to the weights
    with torch.no_grad():
        layer.weight *= 10
    torch.testing.assert_close(layer(x), before, rtol=1e-4, atol=1e-5)
    assert [parameter for parameter, _ in layer.named_parameters()] == ["weight"]


@pytest.mark.parametrize("name", [*LAYERS, "tprelu"])
def test_gradients(name: str) -> None:
    make, shape = {**LAYERS, "tprelu": (lambda: TPReLU(3), (2, 3, 4))}[name]
    layer = double(make())
    if name == "tprelu":
        nn.init.uniform_(layer.bias)
    names = [parameter for parameter, _ in layer.named_parameters()]

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(call, (torch.randn(shape).double().requires_grad_(), *values))


def test_affine_layers_scale_and_shift() -> None:
    for kind in (StrictConv2d, StrictConvTranspose2d):
        plain, affine = double(kind(3, 2, 4, 2, 1)), double(kind(3, 2, 4, 2, 1, affine=True))
        assert (affine.scale.tolist(), affine.bias.tolist()) == ([1, 1], [0, 0])
        affine.load_state_dict({**plain.state_dict(), "scale": torch.tensor([2.0, 3]), "bias": torch.tensor([5.0, 7])})
        x = torch.randn(2, 3, 4, 4).double()
        expected = plain(x) * torch.tensor([2.0, 3])[:, None, None] + torch.tensor([5.0, 7])[:, None, None]
        torch.testing.assert_close(affine(x), expected, rtol=1e-12, atol=1e-13)


def test_tprelu_by_hand() -> None:
    layer = double(TPReLU(2))
    assert (layer.weight.tolist(), layer.bias.tolist()) == ([0.25, 0.25], [0, 0])
    layer.load_state_dict({"weight": torch.tensor([0.5, 0.0]), "bias": torch.tensor([1.0, -2.0])})
    found = layer(torch.tensor([[3.0, -1.0], [-3.0, -6.0]]).double())
    assert found.tolist() == [[3.0, -1.0], [0.5 * -4 + 1, -2.0]]


def test_slopes_are_clamped() -> None:
    both = nn.Sequential(TPReLU(3), nn.PReLU(3))
    for layer in both:
        nn.init.uniform_(layer.weight)
        layer.load_state_dict({**layer.state_dict(), "weight": torch.tensor([-0.5, 0.5, 1.5])})
    clamp_slopes(both)
    assert [layer.weight.tolist() for layer in both] == [[0, 0.5, 1]] * 2
