"""Strict weight norm and TPReLU by hand, the networks' first values, RMSprop and the clamp, a step in plain PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models import VARIANTS
from reference_models.errors import RecipeError
from reference_models.networks import SIZES
from reference_models.training import Training, make_accelerator
from reference_models.weight_norm import StrictConv2d, StrictConvTranspose2d, StrictLinear, TPReLU, clamp_slopes
from reference_models.wngan_networks import NORMALISATIONS, WNGANDiscriminator, WNGANGenerator
from tests.runs import TINY

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


# ------------------------------------------------------------------------------------------------------------- layers


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


# ----------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("size", SIZES)
def test_shapes(size: int, normalisation: str) -> None:
    G = WNGANGenerator(6, size, 3, 2, normalisation=normalisation)
    D = WNGANDiscriminator(size, 3, 2, normalisation=normalisation)
    images = G(torch.randn(4, 6))
    assert images.shape == (4, 3, size, size)
    assert 0 <= float(images.detach().min()) <= float(images.detach().max()) <= 1
    assert D(images).shape == (4,)


def names_of(network: nn.Module) -> list[str]:
    return [type(m).__name__ for m in network.modules() if not list(m.children())]


def test_who_follows_whom() -> None:
    """At 32 px: no scale or bias but on the last layer, and batch norm not on D's first and G's last layer."""
    nets = {kind: (WNGANGenerator(128, 32, 1, 16, normalisation=kind), WNGANDiscriminator(32, 1, 16,
            normalisation=kind)) for kind in NORMALISATIONS}  # fmt: skip
    up, down = ["StrictConvTranspose2d", "TPReLU"], ["StrictConv2d", "TPReLU"]
    assert names_of(nets["weight"][0]) == ["StrictLinear", "Unflatten", "TPReLU", *2 * up, up[0], "Sigmoid"]
    assert names_of(nets["weight"][1]) == [*3 * down, "StrictConv2d"]
    assert names_of(nets["batch"][1]) == ["Conv2d", "PReLU", *2 * ["Conv2d", "BatchNorm2d", "PReLU"], "Conv2d"]
    assert names_of(nets["none"][1]) == [*3 * ["Conv2d", "PReLU"], "Conv2d"]
    for network in nets["weight"]:
        strict = [m for m in network.modules() if isinstance(m, (StrictLinear, StrictConv2d, StrictConvTranspose2d))]
        assert [m.bias is not None for m in strict] == [False] * (len(strict) - 1) + [True]
        assert strict[-1].scale.tolist() == [1.0]
    pairs = [[sum(p.numel() for p in net.parameters() if p.dim() > 1) for net in both] for both in nets.values()]
    assert pairs[0] == pairs[1] == pairs[2]


def test_first_values() -> None:
    G, D = WNGANGenerator(128, 32, 3, 16), WNGANDiscriminator(32, 3, 16)
    assert float(G.first.weight.detach().abs().max()) == pytest.approx(0.01 / 128**0.5, rel=1e-2)
    assert float(G.main[1].weight.detach().max()) == 0.25
    up = G.main[2].weight.detach()  # 64 channels of 4x4 lead to one
    assert float(up.abs().max()) == pytest.approx(1 / (64 * 16) ** 0.5, rel=1e-2)
    images = G(torch.randn(256, 128)).detach()
    assert float(images.mean()) == pytest.approx(0.5, abs=0.05)
    assert 0.02 < float(images.std()) < 0.25  # latents are seen from the first step on
    assert float(D(images).detach().abs().max()) < 5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WNGANGenerator(8, 24, 1, 4), "image_size: expected a power of two from 8 to 128, came 24"),
        (lambda: WNGANGenerator(8, 8, 1, 4, normalisation="layer"), "normalisation: expected one of weight, batch, no"),
        (lambda: WNGANDiscriminator(8, 0, 4), "channels: expected a whole number of at least 1, came 0"),
        (lambda: WNGANGenerator(8, 8, 1, 4)(torch.zeros(2, 9)), r"z: expected shape \(N, 8\), came \(2, 9\)"),
        (lambda: WNGANDiscriminator(8, 1, 4)(torch.zeros(2, 8, 8)), r"images: expected shape \(N, 1, 8, 8\)"),
    ],
)
def test_wrong_sizes(make: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make()


# ----------------------------------------------------------------------------------------------------------- training


def started(**recipe: Any) -> Training:
    kind = VARIANTS["wngan"].load()
    return Training(kind(kind.recipe_class.of({**TINY["wngan"], "nc": 1, **recipe})), make_accelerator("cpu"), seed=3)


def test_the_recipe_is_the_published_one() -> None:
    training = started()
    recipe = VARIANTS["wngan"].load().recipe_class()
    assert (recipe.batch_size, recipe.nz, recipe.normalisation) == (32, 128, "weight")
    assert 2e-5 <= recipe.lr <= 1e-4
    assert not hasattr(recipe, "beta1")
    for optimizer in training.optimizers.values():
        assert type(optimizer) is torch.optim.RMSprop
        (group,) = optimizer.param_groups
        settings = {"lr": recipe.lr, "alpha": 0.9, "eps": 1e-6, "momentum": 0, "centered": False, "weight_decay": 0}
        assert settings.items() <= group.items()
    assert training.variant.value_range == training.networks["generator"].value_range == (0, 1)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_slopes_stay_in_range_while_it_trains(normalisation: str) -> None:
    training = started(lr=2.0, normalisation=normalisation)
    for _ in range(3):
        training.advance(torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8))
    nets = training.networks.values()
    slopes = torch.cat([m.weight for net in nets for m in net.modules() if isinstance(m, (TPReLU, nn.PReLU))]).detach()
    assert (slopes.min(), slopes.max()) == (0, 1)


def plain_layers(prefix: str, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The 8-px networks of width 4, written out."""

    def norm(w: Tensor, dims: tuple[int, ...], spread: int = 1) -> Tensor:
        return w / torch.sqrt((w**2).sum(dims, keepdim=True) / spread + 1e-6)

    def tprelu(x: Tensor, name: str) -> Tensor:
        a, b = (state[f"{name}.{part}"][None, :, None, None] for part in ("weight", "bias"))
        return torch.where(x > b, x - b, a * (x - b)) + b

    if prefix == "G":
        x = (x @ norm(state["first.weight"], (1,)).T).view(-1, 4, 4, 4)
        w = norm(state["main.2.weight"], (0, 2, 3), 4) * state["main.2.scale"][None, :, None, None]
        x = F.conv_transpose2d(tprelu(x, "main.1"), w, state["main.2.bias"], stride=2, padding=1)
        return 1 / (1 + torch.exp(-x))
    x = tprelu(F.conv2d(x, norm(state["main.0.weight"], (1, 2, 3)), stride=2, padding=1), "main.1")
    w = norm(state["main.2.weight"], (1, 2, 3)) * state["main.2.scale"][:, None, None, None]
    return F.conv2d(x, w, state["main.2.bias"]).flatten()


def test_two_steps_are_plain_pytorch() -> None:
    """In float64, by hand: networks, losses, RMSprop's two lines and the clamp."""
    training = started(lr=1e-3)
    kept = {name: {k: v.double() for k, v in training.networks[net].state_dict().items()}
            for name, net in (("G", "generator"), ("D", "discriminator"))}  # fmt: skip
    squares = {name: {k: torch.zeros_like(v) for k, v in of.items()} for name, of in kept.items()}
    random = torch.Generator().manual_seed(3)

    def descend(name: str, loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, list(kept[name].values()), retain_graph=True)
        for (key, value), gradient in zip(list(kept[name].items()), gradients, strict=True):
            squares[name][key] = 0.9 * squares[name][key] + 0.1 * gradient**2
            new = value.detach() - 1e-3 * gradient / (squares[name][key].sqrt() + 1e-6)
            slope = key.endswith("1.weight")
            kept[name][key] = new.clamp(0, 1) if slope else new

    for _ in range(2):
        real = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8)
        measured = training.advance(real)
        for of in kept.values():
            for value in of.values():
                value.requires_grad_()
        fake = plain_layers("G", kept["G"], torch.randn(16, 8, generator=random).double())
        on_real, on_fake = (plain_layers("D", kept["D"], x) for x in (real.double() / 255, fake))
        loss_d = torch.log1p(torch.exp(-on_real)).mean() + torch.log1p(torch.exp(on_fake)).mean()
        descend("D", loss_d)
        loss_g = torch.log1p(torch.exp(-plain_layers("D", kept["D"], fake))).mean()
        descend("G", loss_g)
        assert measured["Loss_D"] == pytest.approx(float(loss_d.detach()), rel=1e-4)
        assert measured["Loss_G"] == pytest.approx(float(loss_g.detach()), rel=1e-4)
    for name, net in (("G", "generator"), ("D", "discriminator")):
        for key, value in training.networks[net].state_dict().items():
            torch.testing.assert_close(value.double(), kept[name][key].detach(), rtol=1e-3, atol=2e-5)
