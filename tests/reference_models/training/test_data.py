"""Training images and their order: which image is which, to the bit."""

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

from ganmetrics.errors import GanMetricsError, SourceError
from ganmetrics.images.preparation import coloured, sized
from reference_models.errors import DataError
from reference_models.recipe import Recipe
from reference_models.training import data
from reference_models.training.data import Order, TrainingData, open_data
from tests.conftest import REPOSITORY, write_folder
from tests.helpers.runs import run


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
    ours = sized(torch.from_numpy(photo.transpose(2, 0, 1).copy()), 16, 16)
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


def test_training_says_nothing_to_the_warnings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run("dcgan", tmp_path / "run", 2)
