"""Latent inversion against least squares, ridge, torch.optim and scipy; each image by itself, whatever its batch."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

import ganmetrics as gm
from ganmetrics.metrics.inversion.search import METHODS
from tests.helpers import generators as g
from tests.helpers.generators import WIDE, WIDTH, others, own_images, photos, small


def ridge(network: g.Linear, targets: Tensor, weight: float = 0.0) -> Tensor:
    """Argmin |A z + b - x|^2 / (D width^2) + weight |z|^2 / 2, in float64."""
    A, b = network.weight.detach().double(), network.bias.detach().double()
    normal = 2 * A.T @ A / (16 * WIDTH**2) + weight * torch.eye(5, dtype=torch.float64)
    return torch.linalg.solve(normal, 2 * A.T @ (targets.flatten(1) - b).T / (16 * WIDTH**2)).T


def errors_of(network: g.Linear, z: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return ((network.double()(z) - targets) / WIDTH).square().flatten(1).mean(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("method", "steps"), [("auto", None), ("lbfgs", None), ("adam", None), ("xiang-li", 1500)])
def test_least_squares(method: str, steps: int | None, dtype: torch.dtype) -> None:
    """A linear generator has one answer. RMSprop at a fixed rate ends up oscillating about it, within 1e-6."""
    targets, network = others(20, scale=1.0), g.Linear(dtype=dtype)
    best = errors_of(g.Linear(dtype=dtype), ridge(network, targets), targets)
    found = gm.invert(network, targets.to(dtype), value_range=WIDE, method=method, steps=steps)
    torch.testing.assert_close(found.errors, best, rtol=0, atol=1e-6 if method == "xiang-li" else 1e-8)
    assert found.latents.shape == (20, 5)
    assert found.errors.dtype == torch.float64


@pytest.mark.parametrize("weight", [1e-4, 1e-2])
@pytest.mark.parametrize("method", ["auto", "lbfgs"])
def test_the_prior_is_ridge_regression(method: str, weight: float) -> None:
    targets, network = others(10), g.Linear(dtype=torch.float64)
    found = gm.invert(network, targets, value_range=WIDE, method=method, prior_weight=weight, tolerance=1e-12)
    torch.testing.assert_close(found.latents, ridge(network, targets, weight), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [small, g.Conv])
@pytest.mark.parametrize("method", ["auto", "lbfgs"])
def test_its_own_images_are_recovered(make, method: str) -> None:
    network = make()
    found = gm.invert(network, own_images(network, 60), value_range=network.value_range, method=method, pool=256)
    assert (found.errors < 1e-4).double().mean() > 0.8
    assert found.errors.median() < 1e-5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [small, g.Conv])
def test_every_image_is_by_itself(method: str, make) -> None:
    """Batches of 1, 7 and 500, and an image alone: the same numbers. A restart and a perceptual distance too."""
    network = make()
    images = photos(16)[:, : 1 if make is g.Conv else 3]
    options = {"method": method, "steps": 20, "restarts": 2, "pool": 64}
    found = {size: gm.invert(network, images, batch_size=size, **options) for size in (1, 7, 500)}
    for size in (1, 7):
        torch.testing.assert_close(found[size].errors, found[500].errors, rtol=0, atol=1e-5)
    alone = gm.invert(network, images[13:14], **options)
    torch.testing.assert_close(alone.errors, found[500].errors[13:14], rtol=0, atol=1e-5)


def test_the_published_search_is_rmsprop_on_each_image() -> None:
    """Against torch.optim.RMSprop on one image at a time, whose loss is the mean over pixels and channels."""
    network, images = small(), photos(6)
    expected = []
    for image in images.double() / 255:
        z = torch.zeros(1, 6, requires_grad=True)
        optimizer = torch.optim.RMSprop([z], lr=0.01, alpha=0.9, eps=1e-6)
        for _ in range(50):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(network(z), image[None].float()).backward(inputs=[z])
            optimizer.step()
        with torch.no_grad():
            expected.append((network(z).double() - image).square().mean())
    found = gm.invert(network, images, method="xiang-li")
    torch.testing.assert_close(found.errors, torch.stack(expected), rtol=0, atol=1e-6)
    assert (found.steps == 50).all()


@pytest.mark.parametrize("make", [small, g.Conv])
def test_as_low_as_scipy(make) -> None:
    """L-BFGS-B of scipy on the same objective from the same start; most images end as low, and none far above."""
    network = make().double()
    shape = (12, *network(torch.zeros(1, *network.latent_shape).double()).shape[1:])
    targets = torch.rand(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    low, high = network.value_range

    def objective(z: np.ndarray, target: Tensor) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(z)[None].requires_grad_()
        loss = ((network(point) - low) / (high - low) - target).square().mean()
        return float(loss.detach()), torch.autograd.grad(loss, point)[0][0].numpy()

    start = np.zeros(network.latent_shape[0])
    options = {"maxcor": 20, "maxiter": 500, "ftol": 1e-12, "gtol": 1e-10}
    theirs = [minimize(objective, start, (t,), "L-BFGS-B", jac=True, options=options) for t in targets]
    found = gm.invert(network, targets, value_range=(0, 1), method="lbfgs", tolerance=1e-9)
    ratio = found.errors / torch.tensor([one.fun for one in theirs], dtype=torch.float64)
    assert (ratio <= 1 + 1e-4).double().mean() >= 0.5
    assert ratio.mean() < 1.02
    assert found.steps.double().mean() < 1.5 * np.mean([one.nfev for one in theirs])


def test_a_large_pool_is_quick() -> None:
    """The regression is of some of it: a system of as many equations as samples would take minutes."""
    network = g.Linear()
    started = time.process_time()  # whatever else the machine does
    found = gm.invert(network, others(3, scale=1.0).float(), value_range=WIDE, pool=20_000, steps=2)
    assert time.process_time() - started < 30
    assert found.search.pool == 20_000


@pytest.mark.parametrize("method", ["auto", "lbfgs", "adam"])
def test_restarts_are_never_worse(method: str) -> None:
    network, images = g.Conv(), photos(12)[:, :1]
    found = [gm.invert(network, images, method=method, steps=40, restarts=n, pool=64).errors for n in (1, 2, 4)]
    assert (found[1] <= found[0] + 1e-9).all()
    assert (found[2] <= found[1] + 1e-9).all()
    assert found[2].mean() < found[0].mean()


def test_images_that_have_converged_cost_nothing() -> None:
    network = small()
    seen: list[Tensor] = []
    targets = torch.cat([own_images(network, 20, scale=0.3), torch.rand(20, 3, 8, 8)])
    found = gm.invert(
        network, targets, value_range=(0, 1), callback=lambda rows, errors: seen.append(rows.clone()), pool=64
    )
    assert found.converged.all()
    counts = [len(rows) for rows in seen]
    assert counts[0] == 40
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 10
    assert sum(counts) == found.passes.gradient == int(found.steps.sum())
    assert found.passes.forward == 64 + 40 + 40  # the pool, the regression, the result


def test_steps_are_a_limit() -> None:
    found = gm.invert(small(), photos(5), method="lbfgs", steps=3)
    assert (found.steps == 3).all()
    assert not found.converged.any()
    assert (gm.invert(small(), photos(5), method="lbfgs", steps=1).steps == 1).all()


def test_bfloat16_is_near() -> None:
    network, images = g.Conv(), photos(10)[:, :1]
    exact, short = (gm.invert(network, images, steps=60, pool=64, dtype=d).errors for d in ("float32", "bfloat16"))
    assert float(short.mean()) == pytest.approx(float(exact.mean()), rel=0.1)


@pytest.mark.parametrize("method", ["auto", "lbfgs"])
def test_a_step_to_where_the_generator_overflows_is_refused(method: str) -> None:
    """A line search that has gone too far comes back, whatever it met there."""

    class Cliff(g.Small):
        beyond = 0

        def forward(self, z: Tensor) -> Tensor:
            over = (z.abs() > 4).any(1)
            self.beyond += int(over.sum())
            return super().forward(z).masked_fill(over[:, None, None, None], torch.nan)

    network = Cliff().eval()
    found = gm.invert(network, own_images(small(), 8, scale=6.0), method=method, value_range=(0, 1), pool=16)
    assert network.beyond
    assert bool(torch.isfinite(found.errors).all())
    assert float(found.latents.abs().max()) <= 4
