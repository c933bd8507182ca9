"""JPEG files decoded by torchvision: the same pictures as by Pillow, and Pillow for all that is not plain."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganmetrics as gm
from ganmetrics.errors import ImageError, OptionError
from ganmetrics.images import open_images, read_batches
from ganmetrics.images.decode import CMYK, ROTATED, decode
from ganmetrics.images.jpeg import JpegDecoder, is_plain
from ganmetrics.measurement import reference_cache
from ganmetrics.measurement.measurement import configured
from ganmetrics.statistics import files
from tests.conftest import write_folder

CPU = torch.device("cpu")
LITE = {"features": "efficientnet-lite0", "device": "cpu", "progress": False}


def jpeg(picture: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photo(photo_patches: Callable[..., np.ndarray]) -> np.ndarray:
    return photo_patches(1, 97, 3)[0]


ROTATION = Image.Exif()
ROTATION[0x0112] = 6
KINDS: dict[str, tuple[dict[str, Any], bool, tuple[str, ...]]] = {
    "plain": ({}, True, ()),
    "fine": ({"quality": 95, "subsampling": 0}, True, ()),
    "coarse": ({"quality": 30, "subsampling": 2}, True, ()),
    "grey": ({"mode": "L"}, True, ()),
    "with exif": ({"exif": Image.Exif()}, True, ()),
    "progressive": ({"progressive": True}, False, ()),
    "rotated": ({"exif": ROTATION}, False, (ROTATED,)),
    "cmyk": ({"mode": "CMYK"}, False, (CMYK,)),
    "rgb without colour transform": ({"keep_rgb": True, "subsampling": 0}, False, ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_torchvision_reads_plain_files_and_leaves_the_others_to_pillow(
    kind: str, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU both are libjpeg-turbo, and give the same but for what their versions differ in."""
    options, by_torchvision, notes = KINDS[kind]
    decoder, read = JpegDecoder(CPU), []
    decoded = decoder._decoded
    monkeypatch.setattr(decoder, "_decoded", lambda *given: (read.append(1), decoded(*given))[1])
    file = jpeg(photo, **options)
    expected, found = decode(io.BytesIO(file)), decode(io.BytesIO(file), decoder)
    assert bool(read) == by_torchvision
    assert (found.notes, found.kind) == (expected.notes, expected.kind)
    assert found.notes == notes
    assert found.pixels.shape == expected.pixels.shape
    assert int((found.pixels.int() - expected.pixels.int()).abs().max()) <= 2


@pytest.mark.parametrize("damage", ["half", "no end", "empty", "text"])
def test_damaged_files_are_the_errors_of_pillow(damage: str, photo: np.ndarray, tmp_path: Path) -> None:
    whole = jpeg(photo)
    file = {"half": whole[: len(whole) // 2], "no end": whole[:-60], "empty": b"", "text": b"no image"}[damage]
    (tmp_path / "a.jpg").write_bytes(file)
    errors = []
    for decoder in (None, JpegDecoder(CPU)):
        with pytest.raises(ImageError) as caught:
            open_images(tmp_path, jpeg_decoder=decoder).read(0)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_what_torchvision_cannot_decode_goes_to_pillow(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, file = JpegDecoder(CPU), jpeg(photo)
    expected = decode(io.BytesIO(file))

    def fails(*given: Any) -> torch.Tensor:
        raise RuntimeError("nvjpegDecode failed: 3")

    for broken in (fails, lambda *given: torch.zeros(3, 5, 5, dtype=torch.uint8)):
        monkeypatch.setattr(decoder, "_decoded", broken)
        assert torch.equal(decode(io.BytesIO(file), decoder).pixels, expected.pixels)


def test_a_decoder_that_gives_another_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = JpegDecoder._decoded
    monkeypatch.setattr(JpegDecoder, "_decoded", lambda self, *given: decoded(self, *given).flip(0))
    with pytest.raises(OptionError, match="--jpeg-decoder torchvision: on cpu it gives another picture than Pillow"):
        JpegDecoder(CPU)

    def none(self: JpegDecoder, *given: Any) -> torch.Tensor:
        raise RuntimeError("not compiled with nvjpeg")

    monkeypatch.setattr(JpegDecoder, "_decoded", none)
    with pytest.raises(OptionError, match=r"cannot decode on cpu \(not compiled with nvjpeg\); leave it out"):
        JpegDecoder(CPU)


def test_plain_is_told_by_the_header_and_the_end(photo: np.ndarray) -> None:
    file = jpeg(photo)
    with Image.open(io.BytesIO(file)) as image:
        assert is_plain(file, image)
        assert not is_plain(file + b"more", image)
        at = file.index(b"\xff\xc0")
        for marker in b"\xc1\xc2\xc9\xca":
            assert not is_plain(file[: at + 1] + bytes([marker]) + file[at + 2 :], image)
    png = io.BytesIO()
    Image.fromarray(photo).save(png, "PNG")
    with Image.open(png) as image:
        assert not is_plain(file, image)


def test_a_score_says_who_decoded(photo_patches: Callable[..., np.ndarray], tmp_path: Path) -> None:
    real, fake = (write_folder(tmp_path / name, photo_patches(12, 60, i), "jpg") for i, name in enumerate("ab"))
    plain, other = (gm.fid(real, fake, jpeg_decoder=name, **LITE) for name in ("pillow", "torchvision"))
    assert other.value == pytest.approx(plain.value, rel=1e-3)
    assert "jpeg_decoder" not in plain.protocol
    assert other.protocol["jpeg_decoder"] == "torchvision-cpu"
    assert [text for text in other.warnings if text not in plain.warnings] == [JpegDecoder(CPU).warning]
    asked = {name: configured(["fid"], gm.Settings(jpeg_decoder=name, **LITE))[0] for name in ("pillow", "torchvision")}
    assert len({reference_cache.cache_key(one.need, "0") for one in asked.values()}) == 2
    kept = tmp_path / "plain.npz"
    files.write(kept, gm.stats(real, **LITE))
    score = gm.fid(kept, fake, jpeg_decoder="torchvision", **LITE)
    assert "the two sides were measured with different jpeg decoders: pillow and torchvision-cpu" in score.warnings


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archives_are_decoded_by_it_too(suffix: str, photo: np.ndarray, tmp_path: Path) -> None:
    import shutil

    folder = write_folder(tmp_path / "a", photo[None], "jpg")
    archive = shutil.make_archive(str(tmp_path / "packed"), suffix[1:], folder)
    read = []

    class Noted(JpegDecoder):
        def pixels(self, *given: Any) -> torch.Tensor | None:
            read.append(1)
            return super().pixels(*given)

    for source in (folder, archive, [folder / "00000.jpg"]):
        list(read_batches(open_images(source, jpeg_decoder=Noted(CPU)), 4))
    assert len(read) == 3


def test_an_unknown_decoder_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"^--jpeg-decoder: expected pillow or torchvision, got 'turbo'$"):
        gm.Settings(jpeg_decoder="turbo")
