"""What a file tells beside its pixels: the quality of a JPEG file, loss, formats under another name."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features

from ganmetrics.errors import ImageError
from ganmetrics.images import Summary, open_images, read_batches
from ganmetrics.images.decode import decode
from ganmetrics.images.file_kinds import FileKind, nearest_quality
from tests.helpers.cached import fid
from tests.helpers.pictures import GREY, NO_IMAGE, RGB, chw

PHOTO = np.asarray(Image.fromarray(RGB).resize((70, 50), Image.Resampling.BICUBIC))
AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
JPEG_2000 = pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow reads no JPEG 2000")


def saved(form: str, pixels: np.ndarray = PHOTO, mode: str | None = None, **options: Any) -> bytes:
    image, file = Image.fromarray(pixels), io.BytesIO()
    (image if mode is None else image.convert(mode)).save(file, form, **options)
    return file.getvalue()


def kind(file: bytes) -> FileKind | None:
    return decode(io.BytesIO(file)).kind


@pytest.mark.parametrize("quality", [*range(1, 101, 9), 49, 51, 75, 85, 90, 95, 98, 99])
def test_the_quality_asked_of_libjpeg_is_found(quality: int) -> None:
    for options in ({}, {"mode": "L"}, {"mode": "CMYK"}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}):
        assert kind(saved("JPEG", quality=quality, **options)) == FileKind("JPEG", "JPEG", quality)


def test_tables_of_other_programs_have_about_a_quality() -> None:
    """Those of a quality, each step a little off; a flat table; a malformed one."""
    with Image.open(io.BytesIO(saved("JPEG", quality=80))) as image:
        table = image.quantization[0]
    uneven = [max(1, step + (1 if i % 2 else -1)) for i, step in enumerate(table)]
    found = kind(saved("JPEG", qtables=[uneven, uneven]))
    assert found is not None
    assert found.quality is not None
    assert abs(found.quality - 80) <= 2
    assert nearest_quality((1,) * 64) == 100
    assert nearest_quality((255,) * 64) == 1
    assert nearest_quality((1, 2, 3)) is None


def animated_webp(**options: Any) -> bytes:
    return saved("WEBP", save_all=True, append_images=[Image.fromarray(PHOTO[::-1].copy())], **options)


LOSS = {
    "png": (saved("PNG"), None),
    "bmp": (saved("BMP"), None),
    "tiff": (saved("TIFF"), None),
    "tiff, packed": (saved("TIFF", compression="tiff_lzw"), None),
    "ppm": (saved("PPM"), None),
    "lossless webp": (saved("WEBP", lossless=True), None),
    "lossless webp with a profile": (saved("WEBP", lossless=True, icc_profile=bytes(999)), None),
    "lossless webp, animated": (animated_webp(lossless=True), None),
    "webp": (saved("WEBP"), "WEBP"),
    "webp of quality 100": (saved("WEBP", quality=100), "WEBP"),
    "webp with a profile": (saved("WEBP", icc_profile=bytes(999)), "WEBP"),
    "webp, animated": (animated_webp(), "WEBP"),
    "webp with alpha": (saved("WEBP", mode="RGBA"), "WEBP"),
    "gif": (saved("GIF"), "GIF"),
    "png with a palette": (saved("PNG", mode="P"), "palette"),
    "tiff with jpeg inside": (saved("TIFF", compression="jpeg"), "JPEG"),
}


@pytest.mark.parametrize("case", LOSS)
def test_what_saving_changed(case: str) -> None:
    """By the pixels: they are the saved ones exactly where nothing is said to have changed them."""
    file, coding = LOSS[case]
    found = decode(io.BytesIO(file))
    assert found.kind is not None
    assert found.kind.coding == coding
    assert torch.equal(found.pixels, chw(PHOTO)) == (coding is None)


def test_a_webp_that_ends_early_or_never_is_not_searched_for_long() -> None:
    from ganmetrics.images.file_kinds import is_lossless_webp

    endless = b"RIFF\0\0\0\0WEBP" + b"JUNK\0\0\0\0" * 10**6
    for file in (b"", b"RIFF", endless):
        assert not is_lossless_webp(io.BytesIO(file))


# by the name that the file has, its format, and whether Pillow is built with it
UNDER_ANOTHER_NAME = [
    pytest.param("x.png", "AVIF", {}, marks=AVIF),
    pytest.param("x.jpg", "AVIF", {"quality": 30}, marks=AVIF),
    pytest.param("x.png", "JPEG2000", {}, marks=JPEG_2000),
    pytest.param("x.jpeg", "JPEG2000", {"no_jp2": True}, marks=JPEG_2000),
    ("x.png", "WEBP", {}),
    ("x.JPG", "WEBP", {"lossless": True}),
    ("x.png", "JPEG", {}),
    ("x.png", "GIF", {}),
    ("x.jpg", "PNG", {}),
    ("x.webp", "PNG", {}),
    ("x.bmp", "TIFF", {}),
    ("x.tif", "BMP", {}),
    ("x.png", "PPM", {}),
    ("x.png", "TGA", {}),
    ("x.png", "SGI", {}),
    ("x.png", "PCX", {}),
]


@pytest.mark.parametrize(("name", "form", "options"), UNDER_ANOTHER_NAME)
def test_a_format_under_another_name_is_read_with_a_note(
    name: str, form: str, options: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_bytes(saved(form, **options))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "x" / name, name)
    with Image.open(tmp_path / "x" / name) as image:
        expected = chw(np.asarray(image.convert("RGB")))
    for source in (tmp_path / "x", tmp_path / "x.zip", [tmp_path / "x" / name]):
        reader = read_batches(open_images(source), 4)
        [[stack]] = list(reader)
        assert torch.equal(stack[0], expected)
        extension = name[1:].lower()
        assert dict(reader.summary.notes) == {f"{form} in a file named {extension}: read by its contents": 1}


def test_names_that_fit_need_no_note(tmp_path: Path) -> None:
    for name in ("a.png", "b.PNG", "c.jpg", "d.jpeg", "e.tif", "f.tiff", "g.webp", "h.gif", "i.bmp", "j.pgm", "k.ppm"):
        Image.fromarray(GREY).save(tmp_path / name)
    Image.fromarray(RGB).save(tmp_path / "l.jpg", format="MPO")
    reader = read_batches(open_images(tmp_path), 20)
    list(reader)
    assert dict(reader.summary.notes) == {}


@AVIF
def test_a_folder_of_avif_is_read(tmp_path: Path) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "x.avif")
    with Image.open(tmp_path / "x.avif") as image:
        expected = chw(np.asarray(image.convert("RGB")))
    reader = read_batches(open_images(tmp_path), 4)
    [[stack]] = list(reader)
    assert torch.equal(stack[0], expected)
    assert (dict(reader.summary.notes), reader.summary.codings) == ({}, {"AVIF": 1})


@pytest.mark.usefixtures("statistics_cache")
def test_the_note_is_that_of_these_names_also_from_the_cache(tmp_path: Path, sides_read: list[str]) -> None:
    """The same bytes under their own name, then under another: what is kept for one is not said of the other."""
    rng = np.random.default_rng(0)
    files = [saved("PNG", rng.integers(0, 256, (2, 2, 3), np.uint8)) for _ in range(9)]
    fake = rng.integers(0, 256, (9, 3, 2, 2), np.uint8)
    note = "9 of 9 real images: PNG in a file named .webp: read by its contents"
    for folder, extension in (("right", "png"), ("wrong", "webp"), ("again", "png")):
        (tmp_path / folder).mkdir()
        for i, file in enumerate(files):
            (tmp_path / folder / f"{i}.{extension}").write_bytes(file)
    for folder in ("right", "wrong", "right", "wrong", "again"):
        assert (note in fid(tmp_path / folder, fake, layout="NCHW").warnings) == (folder == "wrong")
    assert sides_read.count("real") == 2


def test_bytes_that_are_no_picture_stay_none(tmp_path: Path, rng: np.random.Generator) -> None:
    """More formats are tried, and none takes noise, text, or what would run another program."""
    contents = [rng.bytes(n) for n in (10, 100, 10_000)] + [b"text " * 100, bytes(1000), b"%!PS-Adobe-3.0 EPSF-3.0\n"]
    contents.append(saved("TGA")[:-18])  # without its last line, nearly any bytes could be one
    for content in contents:
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(ImageError) as caught:
            list(read_batches(open_images(tmp_path), 1))
        assert caught.value.reason == NO_IMAGE


def test_what_needs_a_plug_in_is_told_so(tmp_path: Path) -> None:
    heads = {"HEIF": b"ftypheic", "JPEG XL": b"JXL \r\n\x87\n"}
    for name, head in heads.items():
        (tmp_path / "x.png").write_bytes(struct.pack(">I", 12) + head + bytes(40))
        with pytest.raises(ImageError, match=f"{name}, which this Pillow cannot read; upgrade it, add a plug-in, or"):
            list(read_batches(open_images(tmp_path), 1))


def test_what_was_seen_survives_every_way_it_travels(tmp_path: Path) -> None:
    """In parts of several processes, joined; through the cache; through a statistics file."""
    for i, (file, _) in enumerate(LOSS.values()):
        (tmp_path / f"{i:02}.png").write_bytes(file)
    for i in range(3):
        (tmp_path / f"x{i}.jpg").write_bytes(saved("JPEG", quality=70 + 10 * i))
    source = open_images(tmp_path)
    whole = summary_of(source)
    joined = Summary()
    for start, stop in ((0, 5), (5, 18), (18, 19)):
        part = summary_of(source.part(start, stop))
        joined.join(Summary.from_dict(part.to_dict(), source))
    for other in (joined, Summary.from_dict(whole.to_dict(), source), Summary.of_record(whole.record())):
        for name in ("total", "kinds", "sizes", "colour", "min_value", "max_value", "qualities", "formats"):
            assert getattr(other, name) == getattr(whole, name), name
    assert whole.qualities == {70: 1, 80: 1, 90: 1}
    assert joined.notes == whole.notes


def test_records_of_earlier_versions_and_malformed_ones() -> None:
    earlier = Summary.of_record({"sizes": [[[4, 5], 7]], "formats": {"JPEG": 6, "PNG": 1}})
    assert (earlier.total, earlier.sizes, earlier.codings, earlier.colour) == (7, {(4, 5): 7}, {"JPEG": 6}, None)
    malformed: list[Any] = [
        {}, {"sizes": 5}, {"sizes": [[1]]}, {"formats": "PNG"}, {"seen": 3}, {"seen": {}}, {"seen": {"n_images": "x"}},
        {"seen": {"n_images": 3, "kinds": [[]], "pixels": []}},
    ]  # fmt: skip
    for record in malformed:
        assert Summary.of_record(record) == Summary()


def summary_of(source: Any) -> Summary:
    reader = read_batches(source, 4)
    list(reader)
    return reader.summary
