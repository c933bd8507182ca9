"""The policy for odd files, row by row, as docs/images.md states it; every file is made here."""

import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganmetrics.errors import ImageError
from ganmetrics.images import decode, open_images, read_batches
from ganmetrics.images.decode import ALPHA, ANIMATED, CMYK, DEEP, ROTATED
from tests.helpers.pictures import GREY, NO_IMAGE, RGB, chw, deep_png

RGBA = np.dstack([RGB, GREY])
DEEP_PIXELS = np.random.default_rng(4).integers(0, 65536, (5, 7, 4), np.uint16)
DEEP_GREY, DEEP_RGB = DEEP_PIXELS[..., 0], DEEP_PIXELS[..., 1:]


def by_pil(path):
    return chw(np.asarray(Image.open(path).convert("RGB")))


def palette(path, **options):
    Image.fromarray(RGB).quantize(16).save(path, **options)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def frames(path, **options):
    first, second = Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())
    first.save(path, save_all=True, append_images=[second], **options)


def first_of(path):
    image = Image.open(path)
    image.seek(0)
    return chw(np.asarray(image.convert("RGB")))


CMYK_PIXELS = np.dstack([RGB, GREY])

# name of the row: (file name, writer, expected pixels or a function of the path, notes)
ROWS = {
    "grey": ("x.png", lambda p: Image.fromarray(GREY).save(p), chw(GREY), ()),
    "grey bmp": ("x.bmp", lambda p: Image.fromarray(GREY).save(p), chw(GREY), ()),
    "grey pgm": ("x.pgm", lambda p: Image.fromarray(GREY).save(p), chw(GREY), ()),
    "rgb": ("x.png", lambda p: Image.fromarray(RGB).save(p), chw(RGB), ()),
    "rgb ppm": ("x.ppm", lambda p: Image.fromarray(RGB).save(p), chw(RGB), ()),
    "rgb tiff": ("x.tif", lambda p: Image.fromarray(RGB).save(p), chw(RGB), ()),
    "rgb lossless webp": ("x.webp", lambda p: Image.fromarray(RGB).save(p, lossless=True), chw(RGB), ()),
    "rgb jpeg": ("x.JPG", lambda p: Image.fromarray(RGB).save(p, format="JPEG"), by_pil, ()),
    "grey jpeg": ("x.jpeg", lambda p: Image.fromarray(GREY).save(p), lambda p: by_pil(p)[:1], ()),
    "grey+alpha": ("x.png", lambda p: Image.fromarray(np.dstack([GREY, GREY])).save(p), chw(GREY), (ALPHA,)),
    "grey+opaque alpha": (
        "x.png",
        lambda p: Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)])).save(p),
        chw(GREY),
        (),
    ),
    "grey+transparent value": (
        "x.png",
        lambda p: Image.fromarray(GREY).save(p, transparency=int(GREY[0, 0])),
        chw(GREY),
        (ALPHA,),
    ),
    "rgba": ("x.png", lambda p: Image.fromarray(RGBA).save(p), chw(RGB), (ALPHA,)),
    "opaque rgba": ("x.png", lambda p: Image.fromarray(RGB).convert("RGBA").save(p), chw(RGB), ()),
    "palette": ("x.png", palette, by_pil, ()),
    "palette with one transparent": ("x.png", lambda p: palette(p, transparency=0), by_pil, (ALPHA,)),
    "palette with alpha table": ("x.png", lambda p: palette(p, transparency=bytes([9] * 16)), by_pil, (ALPHA,)),
    "palette gif": ("x.gif", palette, by_pil, ()),
    "1 bit": ("x.png", lambda p: Image.fromarray(GREY > 127).save(p), chw((GREY > 127) * np.uint8(255)), ()),
    "16-bit grey png": ("x.png", lambda p: p.write_bytes(deep_png(DEEP_GREY, 0)), chw(DEEP_GREY >> 8), (DEEP,)),
    "16-bit grey png with transparent value": (
        "x.png",
        lambda p: p.write_bytes(deep_png(DEEP_GREY, 0, DEEP_GREY[0, :1].astype(">u2").tobytes())),
        chw(DEEP_GREY >> 8),
        (DEEP, ALPHA),
    ),
    "16-bit rgb png": ("x.png", lambda p: p.write_bytes(deep_png(DEEP_RGB, 2)), chw(DEEP_RGB >> 8), ()),
    "16-bit grey pgm": (
        "x.pgm",
        lambda p: p.write_bytes(b"P5 7 5 65535\n" + DEEP_GREY.astype(">u2").tobytes()),
        chw(DEEP_GREY >> 8),
        (DEEP,),
    ),
    "16-bit grey tiff": ("x.tiff", lambda p: Image.fromarray(DEEP_GREY).save(p), chw(DEEP_GREY >> 8), (DEEP,)),
    "cmyk": ("x.tif", lambda p: Image.fromarray(CMYK_PIXELS, "CMYK").save(p), by_pil, (CMYK,)),
    "cmyk jpeg": ("x.jpg", lambda p: Image.fromarray(CMYK_PIXELS, "CMYK").save(p), by_pil, (CMYK,)),
    "exif rotation": ("x.jpg", lambda p: Image.fromarray(RGB).save(p, exif=exif(6)), by_pil, (ROTATED,)),
    "exif rotation png": ("x.png", lambda p: Image.fromarray(RGB).save(p, exif=exif(3)), chw(RGB), (ROTATED,)),
    "exif upright": ("x.jpg", lambda p: Image.fromarray(RGB).save(p, exif=exif(1)), by_pil, ()),
    "animated gif": ("x.gif", frames, first_of, (ANIMATED,)),
    "animated webp": ("x.webp", lambda p: frames(p, lossless=True), chw(RGB), (ANIMATED,)),
    "animated png": ("x.png", frames, chw(RGB), (ANIMATED,)),
    "tiff of two pages": ("x.tif", frames, chw(RGB), (ANIMATED,)),
    "1x1": ("x.png", lambda p: Image.fromarray(RGB[:1, :1].copy()).save(p), chw(RGB[:1, :1]), ()),
    "jpeg named png": (
        "x.png",
        lambda p: Image.fromarray(RGB).save(p, format="JPEG"),
        by_pil,
        ("JPEG in a file named .png: read by its contents",),
    ),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning", "ignore:Palette images:UserWarning")
def test_odd_file_is_read_by_its_rule(row, tmp_path):
    name, write, expected, notes = ROWS[row]
    path = tmp_path / name
    write(path)
    expected = expected(path) if callable(expected) else expected.to(torch.uint8)
    reader = read_batches(open_images(tmp_path), 4)
    [[stack]] = list(reader)
    assert stack.dtype == torch.uint8
    assert stack.is_contiguous()
    assert torch.equal(stack[0], expected)
    assert dict(reader.summary.notes) == dict.fromkeys(notes, 1)
    assert reader.summary.sizes == {tuple(expected.shape[1:]): 1}
    assert sum(reader.summary.formats.values()) == 1


def bomb(path):
    head = struct.pack(">IIBBBBB", 200_000, 1_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    data = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + data)


def cut(path, **options):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, **options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


BAD = {
    "bomb": ("x.png", bomb, r"more than 178,956,970 pixels: refused as a decompression bomb"),
    "truncated png": ("x.png", cut, "truncated file"),
    "truncated jpeg": ("x.jpg", cut, "truncated file"),
    "truncated bmp": ("x.bmp", cut, "truncated file"),
    "truncated gif": ("x.gif", cut, "truncated file"),
    "truncated ppm": ("x.ppm", cut, "truncated file"),
    "truncated tiff": ("x.tif", cut, "truncated file|damaged file .*"),
    "truncated webp": ("x.webp", cut, "truncated file|damaged file .*|" + re.escape(NO_IMAGE)),
    "empty": ("x.png", lambda p: p.write_bytes(b""), r"empty file \(0 bytes\)"),
    "text": ("x.png", lambda p: p.write_text("hello"), re.escape(NO_IMAGE)),
    "broken link": ("x.png", lambda p: p.symlink_to("nowhere"), "broken link"),
    "link to itself": ("x.png", lambda p: p.symlink_to("x.png"), "broken link|too many levels of symbolic links"),
    "pipe": ("x.png", os.mkfifo, "not a regular file"),
    "32-bit float tiff": (
        "x.tif",
        lambda p: Image.fromarray(GREY.astype(np.float32)).save(p),
        "floating point pixels have no range to scale by; save it with 8 bits a channel",
    ),
    "32-bit int tiff": (
        "x.tif",
        lambda p: Image.fromarray(GREY.astype(np.int32)).save(p),
        "more than 16-bit or signed integer pixels have no range to scale by; save it with 8 bits a channel",
    ),
    "postscript named png": ("x.png", lambda p: Image.fromarray(RGB).save(p, format="EPS"), re.escape(NO_IMAGE)),
}


@pytest.mark.parametrize("row", BAD)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_file_is_named_or_listed(row, num_workers, tmp_path):
    name, write, reason = BAD[row]
    write(tmp_path / name)
    Image.fromarray(RGB).save(tmp_path / "good.png")
    source = open_images(tmp_path)
    with pytest.raises(ImageError) as caught:
        list(read_batches(source, 4, num_workers=num_workers))
    assert caught.value.where == f"{tmp_path}/{name}"
    assert re.fullmatch(reason, caught.value.reason), caught.value.reason
    reader = read_batches(source, 4, num_workers=num_workers, on_error="skip")
    assert torch.equal(next(iter(list(reader)))[0][0], chw(RGB))
    assert reader.summary.skipped == [{"image": f"{tmp_path}/{name}", "reason": caught.value.reason}]


def test_every_row_of_the_table_is_tested_and_every_test_is_in_the_table():
    table = (Path(__file__).parents[2] / "docs" / "images.md").read_text().split("## Odd files")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")][2:]
    named = [name for row in rows for name in re.findall("`([^`]+)`", row[-1].split("|")[-1])]
    tests = [name for name in named if name.startswith("test_") and not name.endswith(".py")]
    assert all(re.search("`", row[-1]) for row in rows)
    assert sorted(set(named) - set(tests) - {"tests/images/test_array_files.py"}) == sorted(ROWS | BAD)
    readers = [*Path(__file__).parent.glob("test_*.py")]
    sources = "".join(path.read_text() for path in readers)
    assert len(tests) >= 9
    assert all(f"def {name}(" in sources for name in tests)


def test_decompression_bomb_holds_whatever_pil_is_set_to(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    bomb(tmp_path / "x.png")
    with pytest.raises(ImageError, match="200000 x 1000 is more than 178,956,970 pixels"):
        list(read_batches(open_images(tmp_path), 4))


def test_a_picture_just_below_the_limit_is_no_bomb(monkeypatch, tmp_path):
    monkeypatch.setattr(decode, "MAX_PIXELS", 35)
    Image.fromarray(RGB).save(tmp_path / "x.png")
    assert len(list(read_batches(open_images(tmp_path), 4))) == 1
