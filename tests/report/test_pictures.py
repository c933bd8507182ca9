"""Pictures of the page: the right ones, as they were measured, however they can be had."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganmetrics.images import Summary, open_images
from ganmetrics.measurement.side import Side
from ganmetrics.report.pictures import Pictures, Thumbnails, grid, reduced
from tests.conftest import write_folder
from tests.report.test_report import page_of


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_skipped_image_does_not_shift_the_pictures(rng: np.random.Generator, tmp_path: Path) -> None:
    images = rng.integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
    write_folder(tmp_path / "a", images)
    (tmp_path / "a" / "00004.png").write_bytes(b"no image")
    side = Side("real", None, opened=open_images(tmp_path / "a"), summary=Summary(left_out=[4]))
    pictures = Pictures(side, None, n_vectors=11)
    assert [pictures.name(i) for i in (3, 4, 10)] == ["00003.png", "00005.png", "00011.png"]
    shown = pictures.shown(4, "five")
    assert shown is not None
    assert np.array_equal(decoded(shown.uri), images[5])
    assert (shown.width, shown.pixelated) == (6 * 13, True)
    (tmp_path / "a" / "00005.png").unlink()
    assert pictures.shown(4, "gone") is None
    assert not Pictures(side, None, n_vectors=12).there  # other images than those that were measured


def test_pictures_of_streams_are_kept_as_they_were_measured(rng: np.random.Generator) -> None:
    small, large = rng.integers(0, 256, (2, 3, 20, 30), dtype=np.uint8), np.full((2, 1, 96, 72), 7, np.uint8)
    thumbnails = Thumbnails()
    thumbnails.watch(torch.from_numpy(small))
    thumbnails.watch(torch.from_numpy(large))
    assert np.array_equal(thumbnails.read(1).numpy(), small[1])
    assert torch.equal(thumbnails.read(3), torch.full((1, 48, 36), 7, dtype=torch.uint8))
    assert np.array_equal(thumbnails.read(0).numpy(), small[0])


class Fresh(torch.utils.data.Dataset):
    """A dataset that gives other pixels at every reading, and remembers them."""

    def __init__(self, n: int) -> None:
        self.given: list[torch.Tensor] = []
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> torch.Tensor:
        self.given.append(torch.randint(0, 256, (3, 6, 6), dtype=torch.uint8))
        return self.given[-1]


def test_a_dataset_is_not_read_a_second_time(seeded: None, tmp_path: Path) -> None:
    real, fake = Fresh(30), Fresh(25)
    page = page_of(real, fake, tmp_path / "page.html")
    assert (len(real.given), len(fake.given)) == (30, 25)
    shown = next(image for image in page.all("img") if (image["alt"] or "").startswith("fake image #"))
    number = int(re.search(r"#(\d+)", shown["alt"] or "")[1])
    assert np.array_equal(decoded(shown["src"] or "").transpose(2, 0, 1), fake.given[number].numpy())


def test_grids_hold_every_picture_in_its_cell(rng: np.random.Generator) -> None:
    images = [torch.from_numpy(rng.integers(0, 256, (1, 8, 6 + i % 3), dtype=np.uint8)) for i in range(10)]
    made = grid(images, 4, "ten")
    assert made is not None
    page = decoded(made.uri)
    assert page.shape == (3 * 9 - 1, 4 * 9 - 1, 4)
    assert np.array_equal(page[9:17, 9:17, 0], images[5][0].numpy())  # 8 wide, as its cell
    assert np.array_equal(page[9:17, 19:25, 1], images[6][0].numpy())  # 6 wide, in the middle
    assert page[..., 3].sum() == 255 * sum(image[0].numel() for image in images)
    assert grid([], 4, "none") is None


def test_reduced_keeps_the_mean_and_the_shape_of_small_ones() -> None:
    wide = torch.arange(96 * 96).reshape(1, 96, 96).remainder(200).to(torch.uint8)
    assert reduced(wide, 48).shape == (1, 48, 48)
    assert reduced(wide, 48).float().mean() == pytest.approx(float(wide.float().mean()), abs=0.6)
    assert reduced(wide, 96) is wide
