"""Walks and arithmetic on latents against closed forms, and their pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

import reference_models
from ganmetrics.errors import OptionError
from reference_models.sampling.latent_pictures import arithmetic_grid, walk_grid
from reference_models.sampling.latent_walks import WALKS, arithmetic, average, linear, spherical, walk
from reference_models.sampling.sampler import Model

X, Y = torch.eye(4, dtype=torch.float64)[:2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    out = tmp_path_factory.mktemp("latent") / "run"
    recipe = {"image_size": 8, "ngf": 4, "ndf": 4, "batch_size": 16}
    cadence = reference_models.Cadence(progress=False)
    reference_models.train("dcgan", "digits", out, recipe=recipe, max_steps=2, device="cpu", cadence=cadence)
    return reference_models.load(out, device="cpu")


def angles(path: torch.Tensor) -> np.ndarray:
    """Between neighbours."""
    unit = path.double().flatten(1)
    unit = unit / unit.norm(dim=1, keepdim=True)
    return np.arccos(np.clip((unit[:-1] * unit[1:]).sum(1).numpy(), -1, 1))


def test_the_arc_between_orthonormal_latents_is_cosine_and_sine() -> None:
    t = torch.linspace(0, math.pi / 2, 11, dtype=torch.float64)
    expected = torch.cos(t)[:, None] * X + torch.sin(t)[:, None] * Y
    torch.testing.assert_close(spherical(X, Y, 11), expected, rtol=0, atol=1e-15)


def test_a_line_is_what_numpy_says(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 5))
    np.testing.assert_allclose(linear(torch.tensor(a), torch.tensor(b), 7), np.linspace(a, b, 7), atol=1e-15)
    torch.testing.assert_close(linear(X, Y, 3)[1], (X + Y) / 2, rtol=0, atol=0)


@pytest.mark.parametrize("kind", WALKS)
@pytest.mark.parametrize("shape", [(100,), (3, 4, 2)])
def test_endpoints_are_themselves_to_the_bit(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> None:
    a, b = torch.tensor(rng.standard_normal((2, *shape)), dtype=torch.float32)
    path = WALKS[kind](a, b, 5)
    assert path.shape == (5, *shape)
    assert path.dtype == torch.float32
    assert torch.equal(path[0], a)
    assert torch.equal(path[-1], b)
    assert torch.equal(WALKS[kind](a, b, 2), torch.stack([a, b]))
    torch.testing.assert_close(path, WALKS[kind](b, a, 5).flip(0))


def test_an_arc_turns_at_constant_speed_while_its_norm_goes_linearly(rng: np.random.Generator) -> None:
    a, b = torch.tensor(rng.standard_normal((2, 100))) * torch.tensor([[1.0], [3.0]])
    path = spherical(a, b, 9)
    whole = math.acos(float(a @ b / (a.norm() * b.norm())))
    np.testing.assert_allclose(angles(path), whole / 8, rtol=1e-7)
    np.testing.assert_allclose(path.norm(dim=1), np.linspace(float(a.norm()), float(b.norm()), 9), rtol=1e-12)
    assert np.ptp(angles(linear(a, b, 9))) > 0.01  # which a line does not


def test_an_arc_keeps_the_norm_where_a_line_loses_it(rng: np.random.Generator) -> None:
    """White 2016, section 2.1: the middle of a line lies where the prior hardly ever draws."""
    a, b = torch.tensor(rng.standard_normal((2, 1000)))
    middle = {kind: float(WALKS[kind](a, b, 3)[1].norm()) / math.sqrt(1000) for kind in WALKS}
    assert middle["spherical"] == pytest.approx(1, abs=0.1)
    assert middle["linear"] == pytest.approx(math.sqrt(0.5), abs=0.1)


@pytest.mark.parametrize("apart", [0.0, 1e-300, 1e-12, 1e-9, 1e-7, 1e-4])
def test_nearly_parallel_latents_are_joined_without_a_nan(apart: float) -> None:
    for b in (X + apart * Y, 2 * X + apart * Y):
        torch.testing.assert_close(spherical(X, b, 6), linear(X, b, 6), rtol=0, atol=max(apart, 1e-15))


def test_a_latent_of_norm_zero_takes_the_others_direction() -> None:
    torch.testing.assert_close(spherical(0 * X, Y, 3), torch.stack([0 * Y, Y / 2, Y]), rtol=0, atol=0)


def test_opposite_latents_are_refused_and_almost_opposite_ones_are_not() -> None:
    expected = "a spherical walk between opposite latents has no direction; use linear or another stop"
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(OptionError) as caught:
            spherical(X.to(dtype), -3 * X.to(dtype), 4)
        assert str(caught.value) == expected
    path = spherical(X, -X + 1e-3 * Y, 5)
    np.testing.assert_allclose(angles(path), (math.pi - 1e-3) / 4, rtol=1e-6)
    torch.testing.assert_close(linear(X, -X, 3)[1], 0 * X, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("a", "b", "n", "message"),
    [
        (X, Y, 1, "n: expected a whole number of at least 2, got 1"),
        (
            X,
            Y[:3],
            4,
            "expected two floating-point latents of one shape, got (4,) torch.float64 and (3,) torch.float64",
        ),
        (
            X.long(),
            Y.long(),
            4,
            "expected two floating-point latents of one shape, got (4,) torch.int64 and (4,) torch.int64",
        ),
    ],
)
@pytest.mark.parametrize("kind", WALKS)
def test_what_cannot_be_joined_is_told(kind: str, a: torch.Tensor, b: torch.Tensor, n: int, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        WALKS[kind](a, b, n)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", WALKS)
def test_a_walk_passes_through_its_stops(model: Model, kind: str) -> None:
    """A network of fixed-size blocks gives an image the same bits wherever in the block it stands."""
    images = walk(model, [1, 0, 40], seed=3, n_between=17, kind=kind)
    assert images.shape == (37, *model.image_shape)
    assert images.dtype == torch.uint8
    samples = model.sample(41, seed=3)
    for at, stop in zip((0, 18, 36), (1, 0, 40), strict=True):
        assert torch.equal(images[at], samples[stop])
    assert torch.equal(walk(model, [1, 0], seed=3, n_between=0), samples[[1, 0]])
    assert torch.equal(walk(model, [5, 5], n_between=2, kind=kind), model.sample(6)[[5] * 4])


def test_a_walk_is_of_the_network_that_is_asked_for(model: Model) -> None:
    assert torch.equal(walk(model, [0, 1], n_between=0, ema=False), model.sample(2, ema=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stops": [3]}, "stops: expected at least two sample numbers, got [3]"),
        ({"stops": []}, "stops: expected at least two sample numbers, got []"),
        ({"stops": [0, -1]}, "number of a sample: expected a whole number from 0 to below 2^40, got -1"),
        ({"stops": [0, 1], "kind": "cubic"}, "kind: expected linear or spherical, got 'cubic'"),
        ({"stops": [0, 1], "n_between": -1}, "n_between: expected a whole number of at least 0, got -1"),
        ({"stops": [0, 1], "seed": -1}, "--seed: expected a whole number from 0 to below 2^31, got -1"),
    ],
)
@pytest.mark.parametrize("function", [walk, walk_grid])
def test_a_walk_that_means_nothing_is_told(model: Model, function, options: dict, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        function(model, **options)
    assert str(caught.value) == message


def test_an_average_is_numpys(model: Model) -> None:
    z = model.latents([4, 0, 33], seed=2)
    np.testing.assert_allclose(average(model, [4, 0, 33], seed=2), z.double().numpy().mean(0), rtol=1e-6)
    assert torch.equal(average(model, [4], seed=2), z[0])
    assert torch.equal(average(model, [4, 0, 33], seed=2), average(model, [33, 4, 0], seed=2))


def test_what_is_taken_away_and_added_again_changes_nothing(model: Model) -> None:
    found = arithmetic(model, [0, 1, 2], [3, 4, 5], [3, 4, 5], n_variations=3)
    assert torch.equal(found.latent, average(model, [0, 1, 2]))
    assert torch.equal(found.image, found.base.mean_image)


def test_arithmetic_is_the_sum_of_averages_with_seeded_noise(model: Model) -> None:
    found = arithmetic(model, [0, 1, 2], [3, 4], [5, 6, 40], seed=1, n_variations=200)
    z = model.latents(range(41), seed=1).double().numpy()
    expected = z[:3].mean(0) - z[3:5].mean(0) + z[[5, 6, 40]].mean(0)
    np.testing.assert_allclose(found.latent, expected, atol=1e-6)
    shift = (found.variations - found.latent).numpy()
    assert np.abs(shift).max() <= 0.25 + 1e-6
    assert np.abs(shift).max() > 0.249
    assert shift.std() == pytest.approx(0.25 / math.sqrt(3), rel=0.02)
    assert torch.equal(found.minus.images, model.sample(5, seed=1)[3:])
    assert torch.equal(found.image, model.images(found.latent[None])[0])
    assert torch.equal(found.variation_images[:40], model.images(found.variations[:40]))
    again = arithmetic(model, [0, 1, 2], [3, 4], [5, 6, 40], seed=1, n_variations=2)
    assert torch.equal(again.variations, found.variations[:2])
    other = arithmetic(model, [0], [1], [2], seed=2, n_variations=2)
    assert not torch.equal(other.variations - other.latent, again.variations - again.latent)


def test_no_noise_gives_the_result_itself(model: Model) -> None:
    found = arithmetic(model, [0], [1], [2], noise=0, n_variations=2)
    assert torch.equal(found.variation_images, torch.stack([found.image] * 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minus": []}, "expected the numbers of the samples that show a concept, three or so, got none"),
        ({"noise": -0.1}, "noise: expected a number of at least 0, got -0.1"),
        ({"noise": math.nan}, "noise: expected a number of at least 0, got nan"),
        ({"n_variations": -1}, "n_variations: expected a whole number of at least 0, got -1"),
        ({"plus": ["a"]}, "number of a sample: expected a whole number from 0 to below 2^40, got 'a'"),
    ],
)
@pytest.mark.parametrize("function", [arithmetic, arithmetic_grid])
def test_arithmetic_that_means_nothing_is_told(model: Model, function, options: dict, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        function(model, **{"base": [0], "minus": [1], "plus": [2], **options})
    assert str(caught.value) == message


def test_pictures_show_the_images_enlarged(model: Model) -> None:
    picture = walk_grid(model, [0, 1, 2], n_between=3)
    first = np.asarray(picture.crop((16, 50, 64, 98)))
    assert np.array_equal(first[::6, ::6, 0], model.sample(1)[0, 0].numpy())
    assert walk_grid(model, [[0, 1, 2], [3, 4]], n_between=2).width == 2 * 16 + 7 * 48 + 6 * 4
    sheet = np.asarray(arithmetic_grid(model, [0, 1], [2], [3, 4, 5], names=("a", "b", "c")))
    assert ((sheet == (255, 0, 0)).all(-1)).sum() == 54**2 - 48**2  # the frame around the result
    assert isinstance(arithmetic_grid(model, [0], [1], [2], n_variations=0), Image.Image)


def test_pictures_that_mean_nothing_are_told(model: Model) -> None:
    with pytest.raises(OptionError) as caught:
        walk_grid(model, [0, [1, 2]])
    assert str(caught.value) == "stops: expected sample numbers or lists of them, not both, got [0, [1, 2]]"
    with pytest.raises(OptionError) as caught:
        arithmetic_grid(model, [0], [1], [2], names=("a", "b"))
    assert str(caught.value) == "names: expected three, of base, minus and plus, got ['a', 'b']"
