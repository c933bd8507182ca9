"""Training images and their order, and the samples of a trained generator: which image is which, to the bit."""

from __future__ import annotations

import os
import warnings
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reference_models
from ganmetrics.errors import GanMetricsError, OptionError, SourceError
from reference_models import data
from reference_models.data import Order, TrainingData, coloured, open_data, sized
from reference_models.errors import CheckpointError, DataError
from reference_models.recipe import Recipe
from reference_models.sampler import BLOCK, Model, load
from tests.conftest import REPOSITORY, write_folder
from tests.runs import NEVER, run


def prepared(source: Any, size: int = 8, nc: int | None = None, **options: Any) -> TrainingData:
    return open_data(source, Recipe(image_size=size, nc=nc, batch_size=4), **options)


def pixels(found: TrainingData) -> np.ndarray:
    return found.images.__getitems__(list(range(len(found.images)))).numpy()


# -------------------------------------------------------------------------------------------------------------- sources


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    found = prepared("digits")
    assert found.nc == 1
    np.testing.assert_allclose(pixels(found)[:, 0], load_digits().images * 255 / 16, atol=0.5)
    assert {key: found.about[key] for key in ("name", "n_images", "channels", "image_size")} == {
        "name": "digits", "n_images": 1797, "channels": 1, "image_size": 8,
    }  # fmt: skip
    assert prepared("digits[100:164]").about["name"] == "digits[100:164]"
    np.testing.assert_array_equal(pixels(prepared("digits[100:164]")), pixels(found)[100:164])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_images_from_any_kind_of_source(channels: int, rng: np.random.Generator, tmp_path: Path) -> None:
    images = rng.integers(0, 256, (9, 8, 8) if channels == 1 else (9, 8, 8, 3), dtype=np.uint8)
    folder = write_folder(tmp_path / "images", images)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    np.savez(tmp_path / "images.npz", images)
    first = images[:, None] if channels == 1 else images.transpose(0, 3, 1, 2)
    scaled = torch.from_numpy(first.copy()).float() / 127.5 - 1
    sources = [folder, tmp_path / "images.zip", tmp_path / "images.npz", images, torch.from_numpy(first.copy())]
    for source in sources:
        found = prepared(source)
        assert found.nc == channels
        np.testing.assert_array_equal(pixels(found), first)
    np.testing.assert_array_equal(pixels(prepared(scaled, value_range=(-1, 1))), first)
    assert len({prepared(source).about["sha256"] for source in sources}) == 1


def test_one_pixel_changes_the_checksum(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (300, 8, 8), dtype=np.uint8)
    before = prepared(images).about["sha256"]
    images[123, 4, 5] ^= 1
    assert prepared(images).about["sha256"] != before


def test_grey_and_colour_together(rng: np.random.Generator, tmp_path: Path) -> None:
    grey = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8)
    colour = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    write_folder(tmp_path / "mixed/a", grey)
    write_folder(tmp_path / "mixed/b", colour)
    found = prepared(tmp_path / "mixed")
    assert found.nc == 3
    np.testing.assert_array_equal(pixels(found)[:3], np.repeat(grey[:, None], 3, axis=1))
    np.testing.assert_array_equal(pixels(found)[3:], colour.transpose(0, 3, 1, 2))
    luma = np.stack([np.asarray(Image.fromarray(image).convert("L"), np.int16) for image in colour])
    alone = pixels(prepared(tmp_path / "mixed", nc=1))
    assert alone.shape == (6, 1, 8, 8)
    np.testing.assert_array_equal(alone[:3, 0], grey)
    assert np.abs(alone[3:, 0].astype(np.int16) - luma).max() <= 1


def test_nc_three_from_grey() -> None:
    one, three = prepared("digits[0:20]"), prepared("digits[0:20]", nc=3)
    np.testing.assert_array_equal(pixels(three), np.repeat(pixels(one), 3, axis=1))


# ---------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 80), (81, 40), (33, 47), (6, 9)])
def test_resize_and_crop_against_pillow(height: int, width: int, photo_patches: Any) -> None:
    """Shorter side to 16 by Pillow's antialiased bilinear, centre cut out; a byte's rounding apart."""
    photo = photo_patches(1, 96, 1)[0][:height, :width]
    ours = sized(torch.from_numpy(photo.transpose(2, 0, 1).copy()), 16)
    short = min(height, width)
    new = (16, int(16 * height / short)) if width == short else (int(16 * width / short), 16)
    scaled = Image.fromarray(photo).resize(new, Image.Resampling.BILINEAR)
    left, top = round((scaled.width - 16) / 2), round((scaled.height - 16) / 2)
    expected = np.asarray(scaled.crop((left, top, left + 16, top + 16)), np.int16)
    assert ours.shape == (3, 16, 16)
    assert np.abs(ours.numpy().transpose(1, 2, 0).astype(np.int16) - expected).max() <= 1


def test_images_of_many_sizes_and_of_the_right_one(rng: np.random.Generator, tmp_path: Path) -> None:
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((8, 8), (20, 30), (9, 8), (300, 8))]
    (tmp_path / "images").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"images/{i}.png")
    found = pixels(prepared(tmp_path / "images"))
    assert found.shape == (4, 3, 8, 8)
    np.testing.assert_array_equal(found[0], images[0].transpose(2, 0, 1))
    np.testing.assert_array_equal(found[3], images[3][146:154].transpose(2, 0, 1))


def test_coloured_leaves_what_fits_alone() -> None:
    image = torch.arange(3 * 4, dtype=torch.uint8).view(3, 2, 2)
    assert coloured(image, 3) is image


# ------------------------------------------------------------------------------------------------------ does not fit


def test_decoded_when_asked_for(rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "images", rng.integers(0, 256, (100, 12, 10), dtype=np.uint8))
    memory = prepared(folder)
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    streamed = prepared(folder)
    assert (memory.images.in_memory, streamed.images.in_memory) == (True, False)
    np.testing.assert_array_equal(pixels(streamed), pixels(memory))
    batches = [
        list(found.batches(Recipe(batch_size=16, workers=workers), 3, 2, 9))
        for found, workers in ((memory, 0), (streamed, 0), (streamed, 2))
    ]
    for others in batches[1:]:
        assert [torch.equal(*pair) for pair in zip(batches[0], others, strict=True)] == [True] * 7
    before = streamed.about["sha256"]
    first = write_folder(tmp_path / "one", rng.integers(0, 256, (1, 12, 10), dtype=np.uint8)) / "00000.png"
    first.replace(folder / "00000.png")
    assert prepared(folder).about["sha256"] != before  # 0 is a probe


def test_one_that_can_only_be_read_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5, 8, 8), np.uint8))
    monkeypatch.setattr(data, "IN_MEMORY", 2**20 * 0)
    with pytest.raises(DataError, match=r"5 images do not fit into 0 GiB and can only be read in order; give a folder"):
        prepared(tmp_path / "x.npy")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_breaks_while_it_trains_is_one_line(
    workers: int, rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a decoding process it came back with a traceback for a message."""
    folder = write_folder(tmp_path / "images", rng.integers(0, 256, (20, 8, 8), dtype=np.uint8))
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    found = prepared(folder)
    (folder / "00011.png").write_bytes(b"no longer an image")
    with pytest.raises(GanMetricsError) as caught:
        list(found.batches(Recipe(batch_size=4, workers=workers), 0, 0, 5))
    assert "00011.png" in str(caught.value)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------------- errors


def test_errors_in_their_exact_words(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepared("digits[0:5]").steps_per_epoch(6)
    assert str(caught.value) == "digits[0:5]: has 5 images, fewer than one batch of 6; lower --batch-size"
    with pytest.raises(SourceError) as absent:
        prepared(tmp_path / "absent")
    assert str(absent.value).startswith(
        f"{tmp_path}/absent: no such file or folder, and no dataset of that name (known: "
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(GanMetricsError, match="empty: "):
        prepared(tmp_path / "empty")


def test_mnist() -> None:
    root = os.environ.get("GANMETRICS_DATA", str(REPOSITORY.parent / "shared/data"))
    if not (Path(root) / "MNIST").is_dir():
        pytest.skip("MNIST is not at hand; GANMETRICS_DATA says where it is")
    found = open_data("mnist[0:1000]", Recipe(image_size=28, dataroot=root))
    assert found.about["name"] == "mnist:train[0:1000]"
    from torchvision.datasets import MNIST

    np.testing.assert_array_equal(pixels(found)[:, 0], MNIST(root, train=True).data[:1000].numpy())


# ---------------------------------------------------------------------------------------------------------------- order


def test_every_epoch_is_a_permutation_of_its_own() -> None:
    batches = list(Order(23, 5, 7, range(12)))
    epochs = [list(chain(*batches[i : i + 4])) for i in (0, 4, 8)]
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch) == 20
        assert set(epoch) <= set(range(23))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert list(Order(23, 5, 8, range(12))) != batches
    full = list(Order(20, 5, 7, range(4)))
    assert sorted(chain(*full)) == list(range(20))


@pytest.mark.parametrize("start", range(12))
def test_the_order_is_a_function_of_the_step(start: int) -> None:
    torch.manual_seed(start)
    assert list(Order(23, 5, 7, range(start, 12))) == list(Order(23, 5, 7, range(12)))[start:]
    assert len(Order(23, 5, 7, range(start, 12))) == 12 - start


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_processes_share_each_batch(world: int) -> None:
    whole = list(Order(50, 6, 1, range(20)))
    parts = [list(Order(50, 6, 1, range(20), rank=rank, world=world)) for rank in range(world)]
    assert [list(chain(*together)) for together in zip(*parts, strict=True)] == whole
    assert {len(part) for parts_of_rank in parts for part in parts_of_rank} == {6 // world}


def test_loading_draws_nothing_from_the_global_random_numbers() -> None:
    found = prepared("digits")
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(found.batches(Recipe(batch_size=64), 0, 0, 40))
    assert torch.equal(torch.get_rng_state(), before)


# -------------------------------------------------------------------------------------------------------------- samples


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampler") / "run"
    scoring = reference_models.Scoring(every=4, features="pixels", n_samples=32)
    run("dcgan", folder, 8, cadence=reference_models.Cadence(scoring=scoring, progress=False))
    return folder


@pytest.fixture(scope="module")
def model(out: Path) -> Model:
    return load(out, device="cpu")


@pytest.mark.parametrize("batch_size", [1, 3, 31, 32, 33, 100, None])
@pytest.mark.parametrize("ema", [True, False])
def test_the_same_images_whatever_the_batch(model: Model, batch_size: int | None, ema: bool) -> None:
    whole = model.sample(70, seed=5, ema=ema)
    assert (whole.dtype, whole.shape) == (torch.uint8, (70, 1, 8, 8))
    batches = list(model.batches(70, seed=5, ema=ema, batch_size=batch_size))
    assert torch.equal(torch.cat(batches), whole)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size or 256}
    assert torch.equal(model.sample(70, seed=5, ema=ema, batch_size=batch_size), whole)


@pytest.mark.parametrize("n", [1, 7, 32, 45])
def test_few_are_the_first_of_many(model: Model, n: int) -> None:
    assert torch.equal(model.sample(n), model.sample(100)[:n])


@pytest.mark.parametrize("start", [1, 31, 32, 33, 64, 99])
def test_a_start_shares_a_seed(model: Model, start: int) -> None:
    assert torch.equal(model.sample(120 - start, start=start, batch_size=7), model.sample(120)[start:])


def test_seeds_and_averages_differ(model: Model) -> None:
    assert not torch.equal(model.sample(8), model.sample(8, seed=1))
    assert not torch.equal(model.sample(64), model.sample(64, ema=False))
    assert len({image.numpy().tobytes() for image in model.sample(64)}) == 64


def test_samples_are_the_network_on_its_latents(model: Model) -> None:
    """No more than rounding apart from one plain call, with latents from torch's generator."""
    z = torch.cat([torch.randn(BLOCK, 8, generator=torch.Generator().manual_seed(3 * 1_000_003 + b)) for b in (0, 1)])
    assert torch.equal(model.latents([0, 40, 5], seed=3), z[[0, 40, 5]])
    plain = ((model.network(ema=False)(z) + 1) * 127.5).round().to(torch.int16)
    assert int((plain - model.sample(64, seed=3, ema=False).to(torch.int16)).abs().max()) <= 1
    assert torch.equal(model.images(z[:10]), model.sample(10, seed=3))


def test_gradients_reach_the_latents(model: Model) -> None:
    z = model.latents(range(3)).requires_grad_()
    images = model(z)
    assert images.shape == (3, *model.image_shape)
    assert float(images.detach().abs().max()) <= 1
    images.square().sum().backward()
    assert z.grad is not None
    assert bool((z.grad.flatten(1).norm(dim=1) > 0).all())
    assert all(p.grad is None for p in model.network().parameters())


def test_nobodys_random_numbers_move(out: Path) -> None:
    import random

    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    load(out, device="cpu").sample(40, ema=False)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_where_a_model_is_loaded_from(out: Path, model: Model) -> None:
    assert model.step == 8
    assert load(str(out)).step == load(out / "last").step == 8
    best = load(out, which="best")
    assert best.checkpoint.path == out / "best"
    assert load(out / "best").step == best.step
    assert torch.equal(load(out / "best").sample(3), best.sample(3))
    assert torch.equal(load(out / "last").sample(3), model.sample(3))


def test_where_a_kill_left_the_checkpoint(out: Path, tmp_path: Path) -> None:
    """Between two renames; its own name was once not found."""
    import shutil

    shutil.copytree(out / "last", tmp_path / "run/last.new")
    assert load(tmp_path / "run").step == 8
    assert load(tmp_path / "run/last").step == 8


def test_errors_of_loading_in_their_exact_words(out: Path, tmp_path: Path) -> None:
    run("dcgan", tmp_path / "run", 0, cadence=NEVER)
    tail = "expected the --out of a `reference-models train`"
    (tmp_path / "empty").mkdir()
    for path, which, expected in (
        ("absent", "last", f"{tmp_path}/absent: no such folder; {tail}"),
        ("empty", "last", f"{tmp_path}/empty: holds no checkpoint; {tail}"),
        ("empty", "best", f"{tmp_path}/empty: holds no checkpoint; {tail}"),
        ("run", "best", f"{tmp_path}/run: was not scored, so it has no best checkpoint; train with --score-every"),
    ):
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / path, which=which)
        assert str(caught.value) == expected


def test_errors_of_sampling_in_their_exact_words(out: Path, model: Model) -> None:
    for call, expected in (
        (lambda: load(out, which="middle"), "which: expected last or best, came 'middle'"),
        (lambda: model.sample(0), "-n: expected a whole number from 1 to below 2^40, came 0"),
        (lambda: model.sample(2.5), "-n: expected a whole number from 1 to below 2^40, came 2.5"),
        (lambda: model.sample(1, seed=-1), "--seed: expected a whole number from 0 to below 2^31, came -1"),
        (lambda: model.sample(1, start=-1), "--start: expected a whole number from 0 to below 2^40, came -1"),
        (lambda: model.sample(1, batch_size=0), "batch_size: expected a whole number of at least 1, came 0"),
        (lambda: model(torch.zeros(2, 9)), "expected latents ('N', 8), came (2, 9)"),
    ):
        with pytest.raises(OptionError) as caught:
            call()
        assert str(caught.value) == expected


def test_training_says_nothing_to_the_warnings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run("dcgan", tmp_path / "run", 2)
