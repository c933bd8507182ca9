"""What the options of latent inversion do - bounds, a perceptual distance, labels - and those that mean nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import ganmetrics as gm
from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.metrics.inversion.search import METHODS
from tests.helpers import generators as g
from tests.helpers.generators import WIDE, WIDTH, others, own_images, photos, small


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
    monkeypatch.setattr("ganmetrics.metrics.inversion.starts.POOL_BYTES", 64 * 4 * 192)
    network, images = small(), photos(2)
    score = gm.reconstruction_loss(network, images, steps=1, progress=False)
    assert (score.protocol["pool"], score.protocol["block"]) == (64, 32)
    assert gm.reconstruction_loss(network, images, steps=1, block=3, progress=False).protocol["block"] == 3
    with pytest.raises(OptionError, match=r"^--restarts: expected at most the pool's 64, got 65$"):
        gm.invert(network, images, restarts=65)


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
        (g.Classes, [0], "labels: expected 4 whole numbers from 0 to 2, got [0]"),
        (g.Classes, 3, "labels: expected 4 whole numbers from 0 to 2, got 3"),
        (g.Classes, "all", "labels: expected a class, one an image, or \"optimise\", got 'all'"),
        (g.Linear, 1, "labels: generator Linear says no n_classes, so it takes none; leave them out"),
    ],
)
def test_wrong_labels(make, labels, said: str) -> None:
    with pytest.raises(OptionError) as raised:
        gm.invert(make(), others(4).float(), value_range=WIDE, labels=labels)
    assert str(raised.value) == said


def test_wrong_sizes() -> None:
    for images, got in ((photos(2)[:, :, :5], "8x5 RGB"), (photos(2)[:, :1], "8x8 grey")):
        with pytest.raises(OptionError) as raised:
            gm.invert(small(), images)
        assert str(raised.value) == (
            f"test images are {got}, and generator Small makes 8x8 RGB: prepare them as its training images were "
            "(--resize where the generator's checkpoint says how)"
        )
    with pytest.raises(GanMetricsError, match="test images: floating-point images need their range: value_range="):
        gm.invert(small(), photos(2).float())


@pytest.mark.parametrize("channels", [2, 4])
def test_a_generator_of_other_channels(channels: int) -> None:
    """Targets of four channels have lost their alpha when they are compared: they were called RGB, and no fit of it."""

    class Channels(g.Small):
        def forward(self, z: Tensor) -> Tensor:
            return torch.cat([super().forward(z)] * 2, 1)[:, :channels]

    network = Channels().eval()
    for images in (own_images(network, 3), photos(3)) if channels == 4 else (photos(3),):
        for call in (gm.invert, gm.reconstruction_loss):
            with pytest.raises(OptionError) as raised:
                call(network, images, value_range=(0, 1), progress=False)
            assert str(raised.value) == (
                "generator Channels: expected images of 1 channel (grey) or 3 (RGB), as test images are read, it makes "
                f"{channels} channels; give one whose forward returns grey or RGB alone"
            )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "newton"}, "--method: expected one of auto, xiang-li, adam, lbfgs, got 'newton'"),
        ({"steps": 0}, "--steps: expected a whole number of at least 1, got 0"),
        ({"restarts": 0}, "--restarts: expected a whole number of at least 1, got 0"),
        ({"restarts": 17, "pool": 16}, "--restarts: expected at most the pool's 16, got 17"),
        ({"prior_weight": -1.0}, "--prior-weight: expected a number of at least 0, got -1.0"),
        ({"bound": 0.0}, "--bound: expected a number above 0, such as 1 for a uniform prior, got 0.0"),
        ({"tolerance": math.nan}, "--tolerance: expected a number of at least 0, got nan"),
        ({"dtype": "float64"}, "--dtype: expected float32 or bfloat16, got 'float64'"),
        ({"tolerance": "a"}, "--tolerance: expected a number of at least 0, got 'a'"),
        ({"bound": "1"}, "--bound: expected a number above 0, such as 1 for a uniform prior, got '1'"),
        ({"bound": True}, "--bound: expected a number above 0, such as 1 for a uniform prior, got True"),
        ({"prior_weight": None}, "--prior-weight: expected a number of at least 0, got None"),
        ({"method": ["auto"]}, "--method: expected one of auto, xiang-li, adam, lbfgs, got ['auto']"),
        ({"search": 3}, "search: expected a Search, or its fields as keywords, got 3"),
        ({"restarts": None}, "--restarts: expected a whole number of at least 1, got None"),
        ({"pool": 99999999}, "--pool: expected a whole number from 16 to below 2^16, got 99999999"),
        ({"generator_range": "ab"}, "--generator-range: expected two numbers, low < high, such as (-1, 1), got 'ab'"),
        ({"speed": 1}, "unknown option 'speed'; expected some of method, steps, restarts, prior_weight, bound, "
         "perceptual, perceptual_weight, tolerance, pool, batch_size, block, dtype, seed"),
    ],
)  # fmt: skip
def test_wrong_options(options: dict, said: str) -> None:
    with pytest.raises(OptionError) as raised:
        gm.invert(small(), photos(2), **options)
    assert str(raised.value) == said
