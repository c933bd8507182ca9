"""Latent inversion against least squares, ridge, torch.optim and scipy; each image by itself, whatever its batch."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

import ganmetrics as gm
from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.metrics.latent_search import METHODS
from tests import generators as g
from tests.generators import photos, small

WIDE = g.Linear.value_range
WIDTH = WIDE[1] - WIDE[0]


def own_images(network: torch.nn.Module, n: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Images that the generator made itself, in its range."""
    z = torch.randn(n, *network.latent_shape, generator=torch.Generator().manual_seed(seed)) * scale
    with torch.no_grad():
        return network(z)


def others(n: int, shape: tuple[int, int, int] = (1, 4, 4), seed: int = 0, scale: float = 3.0) -> Tensor:
    """Images that it cannot make."""
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


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


@pytest.mark.parametrize("method", METHODS)
def test_a_bound_is_kept(method: str) -> None:
    network = g.Linear(dtype=torch.float64)
    targets = others(10, scale=6)
    free = gm.invert(network, targets, value_range=WIDE, method=method, steps=300)
    found = gm.invert(network, targets, value_range=WIDE, method=method, bound=0.5, steps=300)
    assert free.latents.abs().max() > 1
    assert found.latents.abs().max() <= 0.5
    assert (found.errors >= free.errors - 1e-12).all()
    A, b = network.weight.detach(), network.bias.detach()
    for i, target in enumerate(targets.flatten(1)):  # bounded least squares, by scipy
        from scipy.optimize import lsq_linear

        best = lsq_linear(A.numpy(), (target - b).numpy(), (-0.5, 0.5)).cost * 2 / 16 / WIDTH**2
        assert float(found.errors[i]) == pytest.approx(best, rel=1e-3), method


class Prior(g.Linear):
    """Samples of its own that are far outside of what is asked for."""

    def latents(self, indices: range, seed: int = 0) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        return 1.5 * torch.randn(len(indices), 5, generator=random, dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [Prior, g.Linear])
def test_a_bound_is_kept_from_the_start(method: str, make) -> None:
    """Restarts begin at samples of the prior, which no step can better where the targets are their images."""
    network = make(dtype=torch.float64)
    with torch.no_grad():
        targets = network(Prior().latents(range(10)))
    for steps in (1, 20):
        options = {"bound": 0.5, "restarts": 3, "pool": 32, "steps": steps}
        found = gm.invert(network, targets, value_range=WIDE, method=method, **options)
        assert found.latents.abs().max() <= 0.5


def test_starts_are_compared_where_they_begin() -> None:
    """What the better start promises is what the first pass finds."""
    network, targets, seen = Prior(dtype=torch.float64), others(10, scale=6), []
    gm.invert(network, targets, value_range=WIDE, bound=0.5, pool=32, callback=lambda _, errors: seen.append(errors))
    drawn = Prior().latents(range(32), seed=0).clamp(-0.5, 0.5)
    drawn[0] = 0
    with torch.no_grad():
        made = (network(drawn) + 20) / WIDTH
    nearest = ((targets + 20) / WIDTH - made[:, None]).square().flatten(2).mean(2).amin(0)
    assert (seen[0] <= nearest + 1e-12).all()


class Uniform(g.Linear):
    latent_bound = 0.5


@pytest.mark.parametrize("method", METHODS)
def test_a_generator_says_its_bound(method: str) -> None:
    targets, options = (
        others(6, scale=6).float(),
        {"value_range": WIDE, "method": method, "layout": "NCHW", "progress": False},
    )
    found = gm.invert(Uniform(), targets, value_range=WIDE, method=method)
    assert found.latents.abs().max() == 0.5
    assert found.search.bound == 0.5
    same = gm.invert(g.Linear(), targets, value_range=WIDE, method=method, bound=0.5)
    assert torch.equal(found.errors, same.errors)
    score = gm.reconstruction_loss(Uniform(), targets, **options)
    assert (score.protocol["bound"], score.protocol["latent_bound"], score.warnings) == (0.5, 0.5, [])
    watched = gm.Reconstruction(targets, **options).compute(Uniform())
    assert (watched.value, watched.protocol["bound"]) == (score.value, 0.5)
    wider = gm.reconstruction_loss(Uniform(), targets, bound=20, **options)
    assert wider.value < score.value
    assert wider.warnings == [
        "the latents were searched in [-20, 20], and the generator says [-0.5, 0.5]; leave --bound out"
    ]
    assert gm.reconstruction_loss(g.Linear(), targets, bound=0.5, **options).warnings == []


def test_what_was_used_is_in_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that was cut, and a block that nobody asked for; more restarts than the pool has starts are refused."""
    monkeypatch.setattr("ganmetrics.metrics.latent_starts.POOL_BYTES", 64 * 4 * 192)
    network, images = small(), photos(2)
    score = gm.reconstruction_loss(network, images, steps=1, progress=False)
    assert (score.protocol["pool"], score.protocol["block"]) == (64, 32)
    assert gm.reconstruction_loss(network, images, steps=1, block=3, progress=False).protocol["block"] == 3
    with pytest.raises(OptionError, match=r"^--restarts: expected at most the pool's 64, came 65$"):
        gm.invert(network, images, restarts=65)


def test_a_large_pool_is_quick() -> None:
    """The regression is of some of it: a system of as many equations as samples would take minutes."""
    network = g.Linear()
    started = time.perf_counter()
    found = gm.invert(network, others(3, scale=1.0).float(), value_range=WIDE, pool=20_000, steps=2)
    assert time.perf_counter() - started < 15
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


def test_a_perceptual_distance() -> None:
    """Pixels at length 1 as an extractor: the search trades squared error for direction."""
    network, images = small(), photos(8)
    plain = gm.invert(network, images, method="lbfgs")
    found = gm.invert(network, images, method="lbfgs", perceptual="pixels", perceptual_weight=10.0)

    def objective(latents: Tensor) -> float:
        with torch.no_grad():
            made = network(latents)
        pixels = images / 255
        u, v = (torch.nn.functional.normalize(x.flatten(1)) for x in (made, pixels))
        return float((made - pixels).square().flatten(1).mean(1).mean() + 10 * (u - v).square().sum(1).mean())

    assert plain.errors.mean() < found.errors.mean()
    assert objective(found.latents) < objective(plain.latents)

    def blind(x: Tensor) -> Tensor:
        return x.detach().flatten(1).float()

    with pytest.raises(OptionError, match="perceptual blind: no gradient passes through it; choose another"):
        gm.invert(network, images, perceptual=blind)


def test_bfloat16_is_near() -> None:
    network, images = g.Conv(), photos(10)[:, :1]
    exact, short = (gm.invert(network, images, steps=60, pool=64, dtype=d).errors for d in ("float32", "bfloat16"))
    assert float(short.mean()) == pytest.approx(float(exact.mean()), rel=0.1)


def test_labels() -> None:
    network = g.Classes(dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 2, 0, 1])
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        targets = network(z, y)
    right = gm.invert(network, targets, value_range=WIDE, labels=y)
    wrong = gm.invert(network, targets, value_range=WIDE, labels=(y + 1) % 3)
    assert right.errors.max() < 1e-9
    assert right.labels is None
    assert wrong.errors.min() > 1e-4
    searched = gm.invert(network, targets, value_range=WIDE, labels="optimise")
    assert searched.errors.max() < 1e-6
    assert searched.labels.shape == (6, 3)
    torch.testing.assert_close(searched.labels.sum(1), torch.ones(6, dtype=torch.float64))
    one = gm.reconstruction_loss(network, targets[:1], value_range=WIDE, labels=0, progress=False)
    assert one.value < 1e-9
    assert one.protocol["labels"] == 0
    options = {"value_range": WIDE, "steps": 2, "progress": False}
    many = gm.reconstruction_loss(network, targets, labels=y, **options)
    assert many.protocol["labels"] == {"0": 2, "1": 2, "2": 2}
    assert gm.reconstruction_loss(network, targets, labels="optimise", **options).protocol["labels"] == "optimise"


@pytest.mark.parametrize(
    ("make", "labels", "said"),
    [
        (g.Classes, None, 'generator Classes: needs labels of 3 classes; give labels= (one an image), or "optimise"'),
        (g.Classes, [0], "labels: expected 4 whole numbers from 0 to 2, came [0]"),
        (g.Classes, 3, "labels: expected 4 whole numbers from 0 to 2, came 3"),
        (g.Classes, "all", "labels: expected a class, one an image, or \"optimise\", came 'all'"),
        (g.Linear, 1, "labels: generator Linear says no n_classes, so it takes none; leave them out"),
    ],
)
def test_wrong_labels(make, labels, said: str) -> None:
    with pytest.raises(OptionError) as raised:
        gm.invert(make(), others(4).float(), value_range=WIDE, labels=labels)
    assert str(raised.value) == said


def test_wrong_sizes() -> None:
    for images, came in ((photos(2)[:, :, :5], "8x5 RGB"), (photos(2)[:, :1], "8x8 grey")):
        with pytest.raises(OptionError) as raised:
            gm.invert(small(), images)
        assert str(raised.value) == (
            f"test images are {came}, and generator Small makes 8x8 RGB: prepare them as its training images were "
            "(--resize where the generator's checkpoint says how)"
        )
    with pytest.raises(GanMetricsError, match="test images: floating-point images need their range: value_range="):
        gm.invert(small(), photos(2).float())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "newton"}, "--method: expected one of auto, xiang-li, adam, lbfgs, came 'newton'"),
        ({"steps": 0}, "--steps: expected a whole number of at least 1, came 0"),
        ({"restarts": 0}, "--restarts: expected a whole number of at least 1, came 0"),
        ({"restarts": 17, "pool": 16}, "--restarts: expected at most the pool's 16, came 17"),
        ({"prior_weight": -1.0}, "--prior-weight: expected a number of at least 0, came -1.0"),
        ({"bound": 0.0}, "--bound: expected a number above 0, such as 1 for a uniform prior, came 0.0"),
        ({"tolerance": math.nan}, "--tolerance: expected a number of at least 0, came nan"),
        ({"dtype": "float64"}, "--dtype: expected float32 or bfloat16, came 'float64'"),
        ({"tolerance": "a"}, "--tolerance: expected a number of at least 0, came 'a'"),
        ({"bound": "1"}, "--bound: expected a number above 0, such as 1 for a uniform prior, came '1'"),
        ({"bound": True}, "--bound: expected a number above 0, such as 1 for a uniform prior, came True"),
        ({"prior_weight": None}, "--prior-weight: expected a number of at least 0, came None"),
        ({"method": ["auto"]}, "--method: expected one of auto, xiang-li, adam, lbfgs, came ['auto']"),
        ({"search": 3}, "search: expected a Search, or its fields as keywords, came 3"),
        ({"restarts": None}, "--restarts: expected a whole number of at least 1, came None"),
        ({"pool": 99999999}, "--pool: expected a whole number from 16 to below 2^16, came 99999999"),
        ({"generator_range": "ab"}, "--generator-range: expected two numbers, low < high, such as (-1, 1), came 'ab'"),
        ({"speed": 1}, "unknown option 'speed'; expected some of method, steps, restarts, prior_weight, bound, "
         "perceptual, perceptual_weight, tolerance, pool, batch_size, block, dtype, seed"),
    ],
)  # fmt: skip
def test_wrong_options(options: dict, said: str) -> None:
    with pytest.raises(OptionError) as raised:
        gm.invert(small(), photos(2), **options)
    assert str(raised.value) == said


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
