"""`--prepare SIZE`: shorter side to SIZE, antialiased, centre cut out; the same for every kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganmetrics as gm
from ganmetrics.errors import OptionError
from ganmetrics.measurement.settings import Settings
from tests.helpers.commands import Cli

OPTIONS: dict[str, Any] = {"features": "pixels", "device": "cpu", "progress": False}


def antialiased(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`(H, W, C)` by the triangle filter, whose support grows with the scale, in float64, one axis after the other."""
    for axis, size in ((0, height), (1, width)):
        n = image.shape[axis]
        scale = n / size
        support = max(scale, 1.0)
        rows = []
        for i in range(size):
            centre = (i + 0.5) * scale
            first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), n)
            weights = np.maximum(0, 1 - np.abs((np.arange(first, last) + 0.5 - centre) / support))
            rows.append(np.tensordot(weights / weights.sum(), np.moveaxis(image, axis, 0)[first:last], 1))
        image = np.moveaxis(np.stack(rows), 0, axis)
    return image


def by_definition(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    short = min(height, width)
    new = (size, int(size * width / short)) if height == short else (int(size * height / short), size)
    resized = antialiased(image.astype(np.float64), *new)
    top, left = (round((extent - size) / 2) for extent in new)
    return resized[top : top + size, left : left + size]


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, list[np.ndarray]]:
    """Smooth images of several sizes, larger and smaller than the prepared ones."""
    shapes = [(20, 31), (31, 20), (24, 24), (12, 13), (9, 40), (8, 8), (50, 17)]
    images = []
    (tmp_path / "in").mkdir()
    for i, (height, width) in enumerate(shapes):
        image = antialiased(rng.integers(0, 256, (5, 5, 3)).astype(np.float64), height, width).round().astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "in" / f"{i}.png")
        images.append(image)
    return tmp_path / "in", images


def pixels(source: Any, **options: Any) -> np.ndarray:
    """The images that the extractor sees, by the flattened pixels of kept vectors."""
    file = gm.stats(source, keep="vectors", **{**OPTIONS, **options})
    return torch.cat(list(file.parts[-1].statistic.blocks())).double().numpy()


def test_equal_to_the_definition(folder: tuple[Path, list[np.ndarray]]) -> None:
    path, images = folder
    opened = Settings(prepare=8, **OPTIONS).open(path)
    for i, image in enumerate(images):
        got = opened.read(i).pixels.permute(1, 2, 0).double().numpy()  # type: ignore[attr-defined]
        assert got.shape == (8, 8, 3)
        assert np.abs(got - by_definition(image, 8)).max() <= 1.5  # torchvision rounds after each axis


def test_every_kind_of_source_is_prepared_alike(
    folder: tuple[Path, list[np.ndarray]], tmp_path: Path, rng: np.random.Generator
) -> None:
    images = rng.integers(0, 256, (6, 21, 30, 3), dtype=np.uint8)
    (tmp_path / "same").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "same" / f"{i}.png")
    np.save(tmp_path / "x.npy", images)
    sources = [tmp_path / "same", tmp_path / "x.npy", torch.from_numpy(images), images]
    read = [pixels(source, prepare=8) for source in sources]
    assert all(np.array_equal(rows, read[0]) for rows in read)
    metric = gm.Evaluator(["vendi"], prepare=8, **OPTIONS)
    metric.update(images)
    direct = gm.evaluate(None, images, ["vendi"], prepare=8, **OPTIONS)
    assert metric.compute()["vendi"].value == direct["vendi"].value


def test_stated_in_the_score_and_part_of_the_key(
    cli: Cli, folder: tuple[Path, list[np.ndarray]], statistics_cache: None
) -> None:
    path, _ = folder
    asked = ("fid", str(path), str(path), "--features", "pixels", "--quiet", "--json")
    first = cli(*asked, "--prepare", "8").scores[0]
    assert first["protocol"]["prepare"] == "8 pixels: shorter side by antialiased bilinear, centre cut out"
    again = cli(*asked, "--prepare", "8").scores[0]
    assert again["protocol"]["cached"] == ["real"]
    other = cli(*asked, "--prepare", "9").scores[0]
    assert "cached" not in other["protocol"]
    assert (first["value"], first["protocol"]["tap"]) == (again["value"], "features")


def test_sides_prepared_unlike_are_told(folder: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    path, _ = folder
    gm.stats(path, prepare=8, **OPTIONS).save(tmp_path / "prepared.npz")
    fakes = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    score = gm.fid(tmp_path / "prepared.npz", fakes, **OPTIONS)
    assert any("different preparations: 8 pixels: " in text for text in score.warnings)
    assert not any(
        "preparation" in text for text in gm.fid(tmp_path / "prepared.npz", fakes, prepare=8, **OPTIONS).warnings
    )


def test_statistics_without_a_protocol_are_not_prepared(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "other.npz", mu=draw.random(192), sigma=np.eye(192))
    fakes = draw.integers(0, 256, (9, 20, 20, 3), dtype=np.uint8)
    score = gm.fid(tmp_path / "other.npz", fakes, prepare=8, **OPTIONS)
    assert "real: --prepare 8 does not change these statistics" in score.warnings


def test_a_side_has_an_upper_bound() -> None:
    with pytest.raises(
        OptionError, match=r"^--prepare: expected a whole number from 1 to below 2\^14, got 1000000000$"
    ):
        Settings(prepare=10**9)
