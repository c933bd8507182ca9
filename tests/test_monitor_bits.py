"""Training with and without a monitor ends on the same bits: weights, averages, optimisers, random numbers, modes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.test_monitor import Generator, digits, monitor, pictures

__all__ = ["digits"]  # a fixture


class Digits:
    """Augmented with the random numbers of Python and NumPy, as transforms are."""

    def __init__(self, images: Tensor):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image = self.images[index] / 127.5 - 1
        image = image.flip(-1) if random.random() < 0.5 else image
        return image + 0.05 * float(np.random.standard_normal())


Looking = Callable[[int, nn.Module, nn.Module], Any]


def trained(
    digits: Tensor, make: Callable[[], Looking] | None, device: str = "cpu", autocast: bool = False
) -> dict[str, Any]:
    """A small GAN's weights, average, optimisers, losses, modes and the next random numbers after 8 steps."""
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    look = make() if make else None
    G = Generator().to(device)
    D = nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(64, 16)), nn.Dropout(0.2), nn.Linear(16, 1)
    ).to(device)
    ema = torch.optim.swa_utils.AveragedModel(G, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    of_g, of_d = (torch.optim.Adam(net.parameters(), 1e-2) for net in (G, D))
    losses = []
    for step, real in enumerate(DataLoader(Digits(digits[:128]), 16, shuffle=True)):
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            if look is not None:
                look(step, G, ema)
            fake = G(torch.randn(len(real), 8, device=device))
            loss_d = (
                nn.functional.softplus(-D(real.to(device))).mean() + nn.functional.softplus(D(fake.detach())).mean()
            )
        of_d.zero_grad()
        loss_d.backward()
        of_d.step()
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            loss_g = nn.functional.softplus(-D(G(torch.randn(len(real), 8, device=device)))).mean()
        of_g.zero_grad()
        loss_g.backward()
        of_g.step()
        ema.update_parameters(G)
        losses += [loss_d.item(), loss_g.item()]
    drawn = [torch.rand(3, device=where) for where in {"cpu", device}]
    return {
        **{f"{i} {key}": value for i, net in enumerate((G, D, ema)) for key, value in net.state_dict().items()},
        "adam": torch.cat([s["exp_avg"].flatten() for o in (of_g, of_d) for s in o.state_dict()["state"].values()]),
        "losses": losses,
        "modes": [part.training for net in (G, D, ema) for part in net.modules()],
        "next": [random.random(), np.random.random(), *torch.cat([one.cpu() for one in drawn]).tolist()],
    }  # fmt: skip


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    assert set(one) == set(other)
    return all(torch.equal(v, other[k]) if isinstance(v, Tensor) else v == other[k] for k, v in one.items())


def by_name(digits: Tensor, **options: Any) -> Callable[[], Looking]:
    def make() -> Looking:
        look = monitor(digits, value_range=(-1, 1), **options)
        like = {"device": options.get("device", "cpu")}
        return lambda step, net, ema: look(step, lambda n: ema(torch.randn(n, 8, **like)), generator=[ema, net])

    return make


def by_contract(digits: Tensor, **options: Any) -> Callable[[], Looking]:
    def make() -> Looking:
        look = monitor(digits, **options)
        return lambda step, net, ema: look(step, net)

    return make


def test_training_ends_on_the_same_bits(digits: Tensor) -> None:
    without = trained(digits, None)
    assert same(trained(digits, None), without)
    assert same(trained(digits, by_name(digits)), without)
    assert same(trained(digits, by_contract(digits)), without)
    assert same(trained(digits, by_name(digits[:4], features="efficientnet-lite0", n_samples=4, every=4)), without)


def test_reading_the_real_images_draws_nothing(digits: Tensor) -> None:
    """A loader that shuffles, and transforms with random numbers of three libraries."""
    loader = DataLoader(Digits(digits[:64]), 8, shuffle=True)
    assert same(
        trained(digits, lambda: (monitor(digits, real=loader, value_range=(-2, 2)), nothing)[1]), trained(digits, None)
    )


def nothing(step: int, net: nn.Module, ema: nn.Module) -> None:
    """Looks at nothing."""


def test_what_a_monitor_must_not_do_is_seen() -> None:
    """Each of these is what a careless one would do, and changes the bits that the tests above compare."""
    digits = torch.randint(0, 256, (128, 1, 8, 8), dtype=torch.uint8)
    without = trained(digits, None)
    careless: list[Looking] = [
        lambda step, net, ema: torch.randn(1),
        lambda step, net, ema: random.random(),
        lambda step, net, ema: np.random.random(),
        lambda step, net, ema: net.eval() and None,
        lambda step, net, ema: net.train() and None,  # the frozen batch norm
        lambda step, net, ema: _leaving_random(lambda: net(torch.randn(4, 8))),
    ]
    for look in careless:
        assert not same(trained(digits, lambda look=look: look), without)


def _leaving_random(do: Callable[[], Any]) -> None:
    with torch.random.fork_rng():
        do()


def test_within_autocast(digits: Tensor) -> None:
    """Casts that torch before 2.11 keeps of a pass without gradients have none when training finds them."""
    seen: list[bool] = []

    def make() -> Looking:
        look = by_name(digits)()
        watched = monitor(digits)
        return lambda *given: (look(*given), watched(given[0], lambda n: (seen.append(cached()), pictures(n))[1]))

    cached = torch.is_autocast_cache_enabled
    assert same(trained(digits, make, autocast=True), trained(digits, None, autocast=True))
    assert not any(seen)
    assert cached()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("autocast", [False, True])
def test_on_a_gpu(digits: Tensor, autocast: bool) -> None:
    """Every CUDA device's random numbers too, with what users set for speed."""
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        without = trained(digits, None, "cuda", autocast)
        assert same(trained(digits, None, "cuda", autocast), without)
        for where in ("cuda", "cpu"):
            assert same(trained(digits, by_contract(digits, device=where), "cuda", autocast), without)
        assert same(trained(digits, by_name(digits, device="cuda"), "cuda", autocast), without)
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
