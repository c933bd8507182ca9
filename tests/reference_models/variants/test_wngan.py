"""Weight-normalised GAN: the networks and their first values, RMSprop and the clamp, a step in plain PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models import VARIANTS
from reference_models.errors import RecipeError
from reference_models.networks.dcgan import SIZES
from reference_models.networks.weight_norm import StrictConv2d, StrictConvTranspose2d, StrictLinear, TPReLU
from reference_models.networks.wngan import NORMALISATIONS, WNGANDiscriminator, WNGANGenerator
from reference_models.training.state import Training, make_accelerator
from tests.helpers.runs import TINY


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(7)


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
        (lambda: WNGANGenerator(8, 24, 1, 4), "image_size: expected a power of two from 8 to 128, got 24"),
        (lambda: WNGANGenerator(8, 8, 1, 4, normalisation="layer"), "normalisation: expected one of weight, batch, no"),
        (lambda: WNGANDiscriminator(8, 0, 4), "channels: expected a whole number of at least 1, got 0"),
        (lambda: WNGANGenerator(8, 8, 1, 4)(torch.zeros(2, 9)), r"z: expected shape \(N, 8\), got \(2, 9\)"),
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
