"""Differences that come from how images were saved or prepared are told by every metric, from any source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features

import ganmetrics as gm
from ganmetrics.images.summary import BLOCK, Summary, has_colour
from ganmetrics.metrics.index import METRICS, SIDES
from tests.conftest import write_folder
from tests.helpers.cached import OPTIONS, fid

N, SIDE = 12, 8
COMPARING = [name for name, entry in METRICS.items() if entry.sides == SIDES]


def photos(rng: np.random.Generator, n: int = N, size: int = 20) -> np.ndarray:
    """`(n, size, size, 3)`, smooth, in colour, from 0 to 255."""
    coarse = rng.integers(0, 256, (n, 5, 5, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(x).resize((size, size), Image.Resampling.BICUBIC)) for x in coarse])


def greyed(images: np.ndarray) -> np.ndarray:
    """The same shape, R = G = B."""
    return np.repeat(images[..., 1:2], 3, axis=-1)


def told(score: gm.Score, about: str) -> list[str]:
    return [warning for warning in score.warnings if about in warning]


# ------------------------------------------------------------------------------------------------------------- colour

COLOUR = "are in colour"


def said_of_colour(real: str, fake: str) -> list[str]:
    return [
        f"{real} of the real images are in colour and {fake} of the fake ones, the others hold only greys: "
        "this changes the value by itself"
    ]


@pytest.mark.parametrize("name", COMPARING)
def test_grey_against_colour_by_every_metric(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    if METRICS[name].load().kind == "spatial":
        pytest.skip("pixels have no spatial vectors; the warnings are those of fid")
    images, others = rng.integers(0, 256, (2, 40, 2, 2, 3), dtype=np.uint8)
    for side, pixels in (("real", images), ("fake", greyed(others)), ("colour", others)):
        for part in "ab":
            write_folder(tmp_path / side / part, pixels[:20] if part == "a" else pixels[20:])
    for score in gm.evaluate(tmp_path / "real", tmp_path / "fake", [name], **OPTIONS).values():
        assert told(score, COLOUR) == said_of_colour("all", "none")
    for score in gm.evaluate(tmp_path / "real", tmp_path / "colour", [name], **OPTIONS).values():
        assert told(score, COLOUR) == []


SAVED: dict[str, Callable[[Path, np.ndarray], Any]] = {
    "png": lambda path, images: write_folder(path, images),
    "jpeg": lambda path, images: write_folder(path, images, "jpg"),
    "webp": lambda path, images: write_folder(path, images, "webp"),  # which turns some greys by 1 of 255
    "array": lambda path, images: images,
    "tensor": lambda path, images: torch.from_numpy(images),
    "floats": lambda path, images: torch.from_numpy(images).permute(0, 3, 1, 2).double() / 127.5 - 1,
    "images of PIL": lambda path, images: [Image.fromarray(image) for image in images],
    "stream": lambda path, images: iter([images[:5], images[5:]]),
    "callable": lambda path, images: iter_of(images),
}


def iter_of(images: np.ndarray) -> Callable[[int], np.ndarray]:
    state = {"next": 0}

    def draw(n: int) -> np.ndarray:
        state["next"] += n
        return images[state["next"] - n : state["next"]]

    return draw


@pytest.mark.parametrize("way", SAVED)
def test_grey_in_three_channels_from_any_source(way: str, tmp_path: Path, rng: np.random.Generator) -> None:
    images = photos(rng)
    save = SAVED[way]
    options: dict[str, Any] = {"value_range": (-1, 1), "n_samples": N}
    colour = fid(images, save(tmp_path / "colour", images), **options)
    grey = fid(images, save(tmp_path / "grey", greyed(images)), **options)
    assert told(colour, COLOUR) == []
    assert told(grey, COLOUR) == said_of_colour("all", "none")
    assert told(fid(greyed(images), save(tmp_path / "g", greyed(images)), **options), COLOUR) == []


def test_grey_in_one_channel(rng: np.random.Generator) -> None:
    """Features of a network take both; two grey sides, as of MNIST, are alike."""
    images = photos(rng)
    mean = {**OPTIONS, "features": lambda x: x.float().mean((2, 3))[:, :1]}
    one_channel = images[..., 1]
    assert told(gm.fid(images, one_channel, **mean), COLOUR) == said_of_colour("all", "none")
    assert told(gm.fid(one_channel, images, **mean), COLOUR) == said_of_colour("none", "all")
    assert told(gm.fid(one_channel, greyed(images), **mean), COLOUR) == []
    assert told(gm.fid(one_channel, one_channel, **mean), COLOUR) == []


@pytest.mark.parametrize(("grey", "warned"), [(0, False), (5, False), (6, True), (12, True)])
def test_sides_that_hold_some_of_both(grey: int, warned: bool, rng: np.random.Generator) -> None:
    """Told where they differ in half of the images; a few grey ones are in every set of photographs."""
    images = photos(rng)
    mixed = np.concatenate([greyed(images[:grey]), images[grey:]])
    share = {6: "50.0 %", 12: "none"}.get(grey, "")
    assert told(fid(images, mixed), COLOUR) == (said_of_colour("all", share) if warned else [])


def test_a_single_coloured_pixel_is_found_wherever_it_is(rng: np.random.Generator) -> None:
    """Against each pixel of each image: how many images have one whose channels differ by more than 8."""
    for shape in ((3, 3, 20, 30), (2, 3, 1, 1), (5, 3, 300, 300), (70, 3, 9, 7)):
        grey = rng.integers(0, 50, (shape[0], 1, *shape[2:]), dtype=np.uint8)
        images = np.repeat(grey, 3, axis=1)
        for i, by in enumerate((9, 8, 200)[: shape[0]]):
            place = (i, i % 3, *(int(rng.integers(size)) for size in shape[2:]))
            images[place] += by
        spread = images.astype(int).max(1) - images.astype(int).min(1)
        expected = int((spread > 8).any((1, 2)).sum())
        for layout in (torch.from_numpy(images), torch.from_numpy(images).to(memory_format=torch.channels_last)):
            summary = Summary()
            summary.add([layout])
            assert summary.colour == expected / shape[0]
            assert int(has_colour(layout, torch.maximum, torch.minimum).sum()) == expected  # as on a GPU
    assert BLOCK < 5 * 300 * 300  # one of them takes several blocks


@pytest.mark.usefixtures("statistics_cache")
def test_from_the_cache_and_from_statistics(tmp_path: Path, rng: np.random.Generator, sides_read: list[str]) -> None:
    images = photos(rng)
    real, fake = write_folder(tmp_path / "real", images), write_folder(tmp_path / "fake", greyed(images))
    for _ in range(2):
        assert told(fid(real, fake), COLOUR) == said_of_colour("all", "none")
    assert sides_read == ["real", "fake", "fake"]
    for name, source in (("real", real), ("fake", fake)):
        gm.stats(source, **OPTIONS).save(tmp_path / f"{name}.npz")
    files = tmp_path / "real.npz", tmp_path / "fake.npz"
    for sides in (files, (real, files[1]), (files[0], fake)):
        assert told(fid(*sides), COLOUR) == said_of_colour("all", "none")
    gm.merge([files[0], files[0].with_name("fake.npz")]).save(tmp_path / "both.npz")
    assert told(fid(tmp_path / "both.npz", fake), COLOUR) == said_of_colour("50.0 %", "none")


def test_from_a_monitor_and_from_batches(rng: np.random.Generator) -> None:
    images = torch.from_numpy(photos(rng)).permute(0, 3, 1, 2)
    grey = images[:, 1:2].expand(-1, 3, -1, -1)
    monitor = gm.Monitor(real=images, metrics=["fid", "kid"], every=1, n_samples=N, **OPTIONS)
    for step, (pixels, expected) in enumerate(((grey, said_of_colour("all", "none")), (images, []))):
        scores = monitor(step, lambda n, pixels=pixels: pixels[torch.arange(n) % N])
        assert scores is not None
        for score in scores.values():
            assert told(score, COLOUR) == expected
    metric = gm.FID(real=images, **OPTIONS)
    metric.update(grey[:5])
    metric.update(grey[5:])
    assert told(metric.compute(), COLOUR) == said_of_colour("all", "none")
    metric.reset()
    metric.update(images)
    assert told(metric.compute(), COLOUR) == []


# -------------------------------------------------------------------------------------------------------- compression

COMPRESSION = "compression changes the value by itself"


def said_of_compression(real: str, fake: str) -> list[str]:
    return [f"the real images are {real} and the fake ones {fake}: {COMPRESSION}"]


def folder(place: Path, images: np.ndarray, extension: str, **options: Any) -> Path:
    place.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(place / f"{i:03}.{extension}", **options)
    return place


AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
LOSSY: list[Any] = [
    ("jpg", {}, "JPEG"),
    ("webp", {}, "WEBP"),
    ("gif", {}, "GIF"),
    pytest.param("avif", {}, "AVIF", marks=AVIF),
    ("tif", {"compression": "jpeg"}, "JPEG inside TIFF"),
]
LOSSLESS = [("png", {}), ("bmp", {}), ("tif", {}), ("ppm", {}), ("webp", {"lossless": True})]


@pytest.mark.parametrize(("extension", "options", "name"), LOSSY)
def test_png_against_what_loses_something(
    extension: str, options: dict[str, Any], name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """The same images: the value is what saving did, so a value above 0 and a warning go together."""
    images = photos(rng)
    png, lossy = folder(tmp_path / "png", images, "png"), folder(tmp_path / "lossy", images, extension, **options)
    score = fid(png, lossy)
    assert score.value > 1e-3
    assert told(score, COMPRESSION) == said_of_compression("PNG", name)
    assert told(fid(lossy, png), COMPRESSION) == said_of_compression(name, "PNG")
    assert told(fid(images, lossy), COMPRESSION) == said_of_compression("not compressed", name)
    again = folder(tmp_path / "again", images, extension, **options)
    same = fid(lossy, again)
    assert same.value == pytest.approx(0, abs=1e-9)
    assert told(same, COMPRESSION) == []


@pytest.mark.parametrize(("extension", "options"), LOSSLESS)
def test_png_against_what_loses_nothing(
    extension: str, options: dict[str, Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    images = photos(rng)
    for other in (folder(tmp_path / "other", images, extension, **options), images):
        score = fid(folder(tmp_path / f"png{id(other)}", images, "png"), other)
        assert score.value == pytest.approx(0, abs=1e-9)
        assert told(score, COMPRESSION) == []


def test_two_ways_of_losing_and_palettes(tmp_path: Path, rng: np.random.Generator) -> None:
    images = photos(rng)
    jpeg, webp = folder(tmp_path / "jpg", images, "jpg"), folder(tmp_path / "webp", images, "webp")
    assert told(fid(jpeg, webp), COMPRESSION) == said_of_compression("JPEG", "WEBP")
    png = folder(tmp_path / "png", images, "png")
    (tmp_path / "palette").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).quantize(64).save(tmp_path / "palette" / f"{i}.png")
    score = fid(png, tmp_path / "palette")
    assert score.value > 1e-3
    assert told(score, COMPRESSION) == said_of_compression("PNG", "PNG with a palette")


@pytest.mark.parametrize(("jpeg", "expected"), [(5, ""), (6, "partly JPEG"), (11, "mostly JPEG"), (12, "JPEG")])
def test_sides_of_several_formats(jpeg: int, expected: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Told where the sides differ in half of the images."""
    images = photos(rng)
    mixed = folder(tmp_path / "real", images[jpeg:], "png")
    for i, image in enumerate(images[:jpeg]):
        Image.fromarray(image).save(mixed / f"x{i:02}.jpg")
    warned = told(fid(mixed, images), COMPRESSION)
    if jpeg == 6:
        assert len(warned) == 1  # as many of both: either may be named
    else:
        assert warned == (said_of_compression(expected, "not compressed") if expected else [])


def qualities(place: Path, images: np.ndarray, *of: int) -> Path:
    """As many images of each quality."""
    place.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(place / f"{i:03}.jpg", quality=of[i % len(of)])
    return place


@pytest.mark.parametrize(
    ("real", "fake", "said"),
    [
        ((95,), (75,), ("about quality 95", "about quality 75")),
        ((75,), (95,), ("about quality 75", "about quality 95")),
        ((90,), (80,), ("about quality 90", "about quality 80")),
        ((80,), (75,), ("about quality 80", "about quality 75")),
        ((50,), (20,), ("about quality 50", "about quality 20")),
        ((100,), (92,), ("about quality 100", "about quality 92")),
        ((95,), (95, 60), ("about quality 95", "qualities from about 60 to 95")),
        ((85,), (95, 75), ("about quality 85", "qualities from about 75 to 95")),
        ((95,), (95,), None),
        ((95,), (93,), None),
        ((75, 95), (95, 75), None),
        ((94, 95, 96), (95,), None),
    ],
)
def test_jpeg_of_unlike_quality(
    real: tuple[int, ...], fake: tuple[int, ...], said: tuple[str, str] | None, tmp_path: Path, rng: np.random.Generator
) -> None:
    images = photos(rng)
    sides = qualities(tmp_path / "real", images, *real), qualities(tmp_path / "fake", images, *fake)
    expected = [] if said is None else [
        f"the real images are JPEG of {said[0]} and the fake ones of {said[1]}: {COMPRESSION}"
    ]  # fmt: skip
    assert told(fid(*sides), COMPRESSION) == expected
    gm.stats(sides[0], **OPTIONS).save(tmp_path / "real.npz")
    assert told(fid(tmp_path / "real.npz", sides[1]), COMPRESSION) == expected


@pytest.mark.usefixtures("statistics_cache")
def test_the_quality_is_known_from_the_cache(tmp_path: Path, rng: np.random.Generator, sides_read: list[str]) -> None:
    images = photos(rng)
    sides = qualities(tmp_path / "real", images, 95), qualities(tmp_path / "fake", images, 75)
    first, second = fid(*sides), fid(*sides)
    assert sides_read == ["real", "fake", "fake"]
    assert len(told(first, "about quality 95")) == 1
    assert first.warnings == second.warnings


def test_few_jpeg_files_say_nothing_of_quality(tmp_path: Path, rng: np.random.Generator) -> None:
    images = photos(rng)
    real, fake = folder(tmp_path / "real", images[:10], "png"), folder(tmp_path / "fake", images[:10], "png")
    for place, quality in ((real, 95), (fake, 30)):
        Image.fromarray(images[11]).save(place / "x.jpg", quality=quality)
    assert told(fid(real, fake), COMPRESSION) == []


# -------------------------------------------------------------------------------------------------------------- range

RANGE = "were both meant to have the same range?"


@pytest.mark.parametrize(("shift", "warned"), [(0, False), (1, False), (2, True), (4, True)])
def test_one_side_in_a_smaller_range(shift: int, warned: bool, rng: np.random.Generator) -> None:
    """As 12-bit images whose high byte was kept, or digits from 0 to 16, cast to bytes."""
    images = rng.integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)
    images[:, 0, 0] = 255
    dark = images >> shift
    (expected,) = [[]] if not warned else [
        [f"no pixel of the fake images exceeds {255 >> shift} of 255, and the real ones reach 255: {RANGE}"]
    ]  # fmt: skip
    assert told(fid(images, dark), RANGE) == expected
    assert len(told(fid(dark, images), "no pixel of the real images exceeds")) == len(expected)
    assert told(fid(dark, dark), RANGE) == []
