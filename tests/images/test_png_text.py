"""Texts and colour profiles of any size change no pixel and leave no image out, and none is unpacked without bound."""

from __future__ import annotations

import io
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from ganmetrics.errors import ImageError
from ganmetrics.images import open_images, read_batches
from ganmetrics.images.decode import ROTATED, decode
from ganmetrics.images.png_text import without_large_texts
from tests.helpers.cached import fid
from tests.helpers.pictures import GREY, RGB, chw, deep_png, png, png_chunk

BEFORE, AFTER = 33, -12  # where chunks fit: after the header, before the end
LONG = b"a long text " * 250_000  # 3 MB
PACKED = zlib.compress(LONG)
NOISE = np.random.default_rng(0).bytes(2_000_000)
ORIENTED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
RAW_PROFILE = b"Raw profile type exif\0\0" + zlib.compress(f"\nexif\n{len(ORIENTED):8}\n{ORIENTED.hex()}\n".encode())

CHUNKS = {
    "compressed text": [(b"zTXt", b"parameters\0\0" + PACKED)],
    "compressed text that hardly shrinks": [(b"zTXt", b"parameters\0\0" + zlib.compress(NOISE))],
    "international text, compressed": [(b"iTXt", b"workflow\0\1\0en\0key\0" + PACKED)],
    "international text": [(b"iTXt", b"workflow\0\0\0\0\0" + LONG)],
    "colour profile": [(b"iCCP", b"printer\0\0" + PACKED)],
    "all of them": [(b"zTXt", b"a\0\0" + PACKED), (b"iCCP", b"b\0\0" + PACKED), (b"iTXt", b"c\0\1\0\0\0" + PACKED)],
    "many texts": [(b"tEXt", b"%d\0" % i + b"x" * 9_000_000) for i in range(8)],
    "texts of another method": [(b"zTXt", b"a\0\7" + PACKED), (b"iCCP", b"b\0\7" + PACKED)],
    "empty texts": [(b"zTXt", b""), (b"iTXt", b""), (b"iCCP", b""), (b"tEXt", b"")],
    "beside an orientation": [(b"iCCP", b"b\0\0" + PACKED), (b"zTXt", RAW_PROFILE)],
}


def with_chunks(file: bytes, chunks: list[tuple[bytes, bytes]], place: int) -> bytes:
    return file[:place] + b"".join(png_chunk(*chunk) for chunk in chunks) + file[place:]


def animated() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "png", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())])
    return file.getvalue()


def palette() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).quantize(16).save(file, "png")
    return file.getvalue()


DEEP = deep_png(RGB.astype(np.uint16) * 257, 2)
FILES = {"rgb": png(RGB), "grey": png(GREY), "animated": animated(), "palette": palette(), "16 bits": DEEP}


@pytest.mark.parametrize("place", [BEFORE, AFTER])
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", CHUNKS)
def test_the_picture_is_that_without_them(name: str, kind: str, place: int) -> None:
    plain = decode(io.BytesIO(FILES[kind]))
    found = decode(io.BytesIO(with_chunks(FILES[kind], CHUNKS[name], place)))
    assert torch.equal(found.pixels, plain.pixels)
    assert found.kind == plain.kind
    added = (ROTATED,) if name == "beside an orientation" and place == BEFORE else ()
    assert found.notes[: len(plain.notes)] == plain.notes
    assert added == () or ROTATED in found.notes


def test_no_image_is_left_out_and_the_score_does_not_move(tmp_path: Path, rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    for name in ("plain", "texts"):
        (tmp_path / name).mkdir()
    for i, (image, chunks) in enumerate(zip(images, [*CHUNKS.values()] * 2, strict=False)):
        (tmp_path / "plain" / f"{i:02}.png").write_bytes(png(image))
        (tmp_path / "texts" / f"{i:02}.png").write_bytes(with_chunks(png(image), chunks, BEFORE))
    other = rng.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    expected = fid(tmp_path / "plain", other, layout="NHWC")
    for on_error in ("fail", "skip"):
        score = fid(tmp_path / "texts", other, layout="NHWC", on_error=on_error)
        assert (score.value, score.n_real, score.skipped) == (expected.value, 12, [])
    assert fid(tmp_path / "plain", tmp_path / "texts").value == pytest.approx(0, abs=1e-9)


def test_settings_of_pillow_are_those_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither changed while threads read, nor overridden: more is allowed where the user allows it, and less."""
    names = ("MAX_TEXT_CHUNK", "MAX_TEXT_MEMORY")
    before = [getattr(PngImagePlugin, name) for name in names]
    file = with_chunks(png(), CHUNKS["all of them"], BEFORE)
    seen = []

    def read(_: int) -> torch.Tensor:
        pixels = decode(io.BytesIO(file)).pixels
        seen.append([getattr(PngImagePlugin, name) for name in names])
        return pixels

    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(pixels, chw(RGB)) for pixels in pool.map(read, range(40)))
    assert seen == [before] * 40
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 5)
    small = with_chunks(png(), [(b"zTXt", b"a\0\0" + zlib.compress(b"six by"))], BEFORE)
    assert torch.equal(decode(io.BytesIO(small)).pixels, chw(RGB))


def test_nothing_hostile_is_unpacked_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand texts that would be 100 GB: what is unpacked stays within Pillow's limit for all texts together."""
    bomb = zlib.compress(bytes(100_000_000))
    file = with_chunks(png(), [(b"zTXt", b"%d\0\0" % i + bomb) for i in range(1000)], BEFORE)
    unpacked: list[int] = []

    class Counting:
        def __init__(self) -> None:
            self.real = make()

        def decompress(self, data: bytes, limit: int) -> bytes:
            content = self.real.decompress(data, limit)
            unpacked.append(len(content))
            return content

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    make = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    tracemalloc.start()
    found = decode(io.BytesIO(file))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert torch.equal(found.pixels, chw(RGB))
    assert max(unpacked) <= PngImagePlugin.MAX_TEXT_CHUNK
    assert sum(unpacked) <= PngImagePlugin.MAX_TEXT_MEMORY + 2 * PngImagePlugin.MAX_TEXT_CHUNK
    assert most < 3 * sys.getsizeof(file)


def test_other_damage_stays_damage(tmp_path: Path) -> None:
    whole = with_chunks(png(), CHUNKS["compressed text"], BEFORE)
    data = whole.index(b"IDAT")
    damaged = {
        "cut": whole[: data + 20],
        "flipped": whole[: data + 10] + bytes([whole[data + 10] ^ 255]) + whole[data + 11 :],
        "text only": whole[: data - 4],
        "endless": whole[:BEFORE] + b"\xff\xff\xff\xffzTXt" + whole[BEFORE:],
    }
    for name, content in damaged.items():
        (tmp_path / f"{name}.png").write_bytes(content)
        with pytest.raises(ImageError, match=r"truncated file|damaged file|not an image"):
            list(read_batches(open_images([tmp_path / f"{name}.png"]), 1))


def test_only_what_pillow_refuses_is_taken_out() -> None:
    kept = [(b"zTXt", b"a\0\0" + zlib.compress(b"short")), (b"iTXt", b"b\0\0\0\0\0short"), (b"tEXt", b"c\0short")]
    assert without_large_texts(io.BytesIO(with_chunks(png(), kept, BEFORE))) is None
    mixed = with_chunks(png(), [kept[0], *CHUNKS["all of them"], *kept[1:]], BEFORE)
    smaller = without_large_texts(io.BytesIO(mixed))
    assert smaller is not None
    assert smaller.getvalue() == with_chunks(png(), kept, BEFORE)
    for file in (b"", b"\x89PNG", b"GIF89a" + bytes(100), png()):
        assert without_large_texts(io.BytesIO(file)) is None


LARGE = {
    "jpeg profile": ("JPEG", {"icc_profile": NOISE}),
    "jpeg comment": ("JPEG", {"comment": NOISE[:60_000]}),
    "webp profile": ("WEBP", {"icc_profile": NOISE}),
    "webp exif": ("WEBP", {"exif": b"Exif\0\0" + NOISE}),
    "webp xmp": ("WEBP", {"xmp": NOISE}),
    "tiff profile": ("TIFF", {"icc_profile": NOISE}),
    "tiff text": ("TIFF", {"description": "a" * 3_000_000}),
    "gif comment": ("GIF", {"comment": NOISE}),
    "png exif": ("PNG", {"exif": b"Exif\0\0" + NOISE}),
}


@pytest.mark.parametrize("case", LARGE)
def test_other_formats_with_as_much_beside_the_picture(case: str) -> None:
    name, options = LARGE[case]
    plain, large = io.BytesIO(), io.BytesIO()
    Image.fromarray(RGB).save(plain, name)
    Image.fromarray(RGB).save(large, name, **options)
    assert len(large.getvalue()) > len(plain.getvalue()) + 50_000
    assert torch.equal(decode(large).pixels, decode(plain).pixels)
