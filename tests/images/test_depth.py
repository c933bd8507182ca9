"""Fewer bits than 16 in files of 16 bits: the score names the range, and what it advises gives the right value."""

from __future__ import annotations

import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganmetrics as gm
from ganmetrics.errors import SourceError
from tests.conftest import write_folder
from tests.helpers.cached import OPTIONS, fid
from tests.helpers.commands import PIXELS, Cli
from tests.helpers.pictures import deep_png

N, HEIGHT, WIDTH = 6, 5, 4


def grey_and_more(pixels: np.ndarray) -> np.ndarray:
    """Grey with an alpha of 16 full bits."""
    return np.stack([pixels[..., 0], np.full(pixels.shape[:2], 65535, np.uint16)], axis=-1)


def deep_tiff(pixels: np.ndarray) -> bytes:
    """A 16-bit RGB TIFF by hand, little-endian and not compressed: PIL writes none in colour."""
    height, width, channels = pixels.shape
    data = pixels.astype("<u2").tobytes()
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8 + len(data)), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 8), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    depths = struct.pack("<3H", 16, 16, 16)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data) + len(depths)) + data + depths + directory


def tiff(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels[..., 0].copy()).save(path)


def netpbm(magic: str, pixels: np.ndarray) -> bytes:
    head = f"{magic} {pixels.shape[1]} {pixels.shape[0]} 65535\n".encode()
    plain = magic in ("P2", "P3")
    return head + (" ".join(map(str, pixels.reshape(-1))).encode() if plain else pixels.astype(">u2").tobytes())


# name: (extension, writer of uint16 (H, W, 3))
WRITERS: dict[str, tuple[str, Callable[[np.ndarray, Path], Any]]] = {
    "grey png": ("png", lambda x, path: path.write_bytes(deep_png(x[..., 0], 0))),
    "rgb png": ("png", lambda x, path: path.write_bytes(deep_png(x, 2))),
    "grey png with alpha": ("png", lambda x, path: path.write_bytes(deep_png(grey_and_more(x), 4))),
    "grey tiff": ("tif", tiff),
    "rgb tiff": ("tiff", lambda x, path: path.write_bytes(deep_tiff(x))),
    "pgm": ("pgm", lambda x, path: path.write_bytes(netpbm("P5", x[..., 0]))),
    "plain pgm": ("pgm", lambda x, path: path.write_bytes(netpbm("P2", x[..., 0]))),
    "ppm": ("ppm", lambda x, path: path.write_bytes(netpbm("P6", x))),
    "plain ppm": ("ppm", lambda x, path: path.write_bytes(netpbm("P3", x))),
}  # fmt: skip
GREY = ("grey png", "grey tiff", "pgm", "plain pgm")


def drawn(rng: np.random.Generator, bits: int, n: int = N) -> np.ndarray:
    """uint16 of that many bits, each image with their largest value."""
    images = rng.integers(0, 2**bits, (n, HEIGHT, WIDTH, 3), dtype=np.uint16)
    images[:, 0, 0] = 2**bits - 1
    return images


def written(folder: Path, images: np.ndarray, kind: str = "grey png") -> Path:
    folder.mkdir()
    extension, write = WRITERS[kind]
    for i, image in enumerate(images):
        write(image, folder / f"{i:03}.{extension}")
    return folder


def vendi(fake: Any, **options: Any) -> gm.Score:
    return gm.evaluate(None, fake, ["vendi"], **OPTIONS, **options)["vendi"]


def about_range(score: gm.Score) -> list[str]:
    return [warning for warning in score.warnings if "saved with 16 bits" in warning]


def said(bits: int, n: int = N, of: int | None = None, side: str = "real") -> str:
    shift = f" (x >> {bits - 8})" if bits > 8 else ""
    return (
        f"{n} of the {of or n} {side} images saved with 16 bits hold no value above {2**bits - 1}, the range of {bits} "
        "bits, and only the high byte of 16 is read, which makes them nearly black: save them with 8 bits"
        f"{shift}, or scaled to 16 (x << {16 - bits})"
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_range_is_named_and_the_advice_gives_zero(
    kind: str, bits: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    images = drawn(rng, bits)
    eight = (images >> (bits - 8)).astype(np.uint8)
    if kind == "grey png with alpha":  # Pillow makes it RGB
        eight = np.repeat(eight[..., :1], 3, axis=-1)
    export = write_folder(tmp_path / "eight", eight[..., 0] if kind in GREY else eight)
    wrong = fid(written(tmp_path / "deep", images, kind), export)
    assert about_range(wrong) == [said(bits)]
    assert about_range(fid(export, tmp_path / "deep")) == [said(bits, side="fake")]
    scaled = fid(written(tmp_path / "scaled", images << (16 - bits), kind), export)
    assert about_range(scaled) == []
    assert wrong.value > 0.01
    # a PPM in colour is rounded, as Pillow does it, instead of cut off: at most one of 255 off in every pixel
    assert scaled.value < (1e-9 if "ppm" not in kind else HEIGHT * WIDTH * 3 * (1 / 255) ** 2)


def test_other_numbers_of_bits_fall_into_the_next_usual_range(tmp_path: Path, rng: np.random.Generator) -> None:
    for bits, usual in ((9, 10), (11, 12), (13, 14)):
        folder = written(tmp_path / str(bits), drawn(rng, bits))
        assert about_range(vendi(folder)) == [said(usual, side="fake")]
    for bits in (15, 16):
        assert about_range(vendi(written(tmp_path / str(bits), drawn(rng, bits)))) == []


def test_it_is_decided_over_the_whole_source(tmp_path: Path, rng: np.random.Generator) -> None:
    """A dark image says nothing; nearly all images do."""
    dark, full = drawn(rng, 12, 19), drawn(rng, 16, 19)
    one_dark = np.concatenate([full, dark[:1]])
    one_full = np.concatenate([dark, full[:1]])
    assert about_range(vendi(written(tmp_path / "a", one_dark))) == []
    assert about_range(vendi(written(tmp_path / "b", one_full))) == [said(12, 19, 20, side="fake")]


def test_files_that_state_fewer_bits_are_scaled_by_them(tmp_path: Path, rng: np.random.Generator) -> None:
    """A PGM says its largest value, so 12 bits need no warning, and are right."""
    images = drawn(rng, 12)
    (tmp_path / "pgm").mkdir()
    for i, image in enumerate(images[..., 0]):
        (tmp_path / "pgm" / f"{i}.pgm").write_bytes(b"P5 4 5 4095\n" + image.astype(">u2").tobytes())
    export = write_folder(tmp_path / "eight", np.round(images[..., 0] / 4095 * 255).astype(np.uint8))
    score = fid(tmp_path / "pgm", export)
    assert about_range(score) == []
    assert score.value < HEIGHT * WIDTH * (1.01 / 255) ** 2


@pytest.mark.usefixtures("statistics_cache")
def test_it_is_said_from_everywhere(tmp_path: Path, rng: np.random.Generator, sides_read: list[str], cli: Cli) -> None:
    """Folder, zip, tar, list, images of PIL, with a bad file left out, from a warm cache, from statistics, merged."""
    folder = written(tmp_path / "deep", drawn(rng, 12))
    fake = write_folder(tmp_path / "fake", rng.integers(0, 256, (9, HEIGHT, WIDTH), dtype=np.uint8))
    files = sorted(folder.iterdir())
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive, tarfile.open(tmp_path / "deep.tar", "w") as tar:
        for file in files:
            archive.write(file, file.name)
            tar.add(file, file.name)
    opened = [Image.open(file) for file in files]
    sources = (folder, folder, tmp_path / "deep.zip", tmp_path / "deep.tar", files, opened, Pictures(files))
    for source in sources:
        assert about_range(fid(source, fake)) == [said(12)]
    assert sides_read.count("real") == 3  # the folder, and twice images of PIL
    for image in opened:
        image.close()
    for values in gm.evaluate(folder, fake, ["kid", "authenticity"], **OPTIONS).values():
        assert about_range(values) == [said(12)]

    shutil.copytree(folder, tmp_path / "more")
    (tmp_path / "more" / "x.png").write_text("no image")
    assert about_range(fid(tmp_path / "more", fake, on_error="skip")) == [said(12)]

    gm.stats(folder, **OPTIONS).save(tmp_path / "deep.npz")
    from_file = fid(tmp_path / "deep.npz", fake)
    assert [said(12).replace(" real", "") in warning for warning in about_range(from_file)] == [True]
    assert said(12) in cli("fid", folder, fake, *PIXELS).err


class Pictures(torch.utils.data.Dataset[Image.Image]):
    """Opened when they are asked for, and already loaded."""

    def __init__(self, files: list[Path]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image.Image:
        with Image.open(self.files[index]) as image:
            image.load()
            return image


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_arrays_are_told_to_keep_their_high_bits(
    bits: int, dtype: type, tmp_path: Path, rng: np.random.Generator
) -> None:
    images = drawn(rng, bits).astype(dtype)
    way = f"values up to {2**bits - 1}: if they have {bits} bits keep the high 8, (x >> {bits - 8}), and cast to uint8"
    np.save(tmp_path / "x.npy", images)
    sources: list[Any] = [images, torch.from_numpy(images), tmp_path / "x.npy", [images[0]], iter([images])]
    for source in sources:
        with pytest.raises(SourceError) as caught:
            vendi(source, layout="NHWC")
        assert str(caught.value).endswith(f"got {np.dtype(dtype)}; {way}")
    export = (images >> (bits - 8)).astype(np.uint8)
    exact = (images / (2**bits - 1)).astype(np.float64)
    assert fid(export, exact, value_range=(0, 1), layout="NHWC").value < HEIGHT * WIDTH * 3 * (1 / 255) ** 2


def test_other_integers_are_told_what_fits_them() -> None:
    negative = np.array([-5, 300], np.int32).reshape(2, 1, 1, 1)
    for images in (negative, np.abs(negative) * 10**6):
        with pytest.raises(SourceError, match="hand over floating-point images and their value_range"):
            vendi(images)
