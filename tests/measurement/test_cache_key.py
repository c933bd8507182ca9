"""What the key of kept statistics covers: which change of a file or an option makes a new entry, and which none."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import ganmetrics as gm
from ganmetrics.errors import ImageError
from ganmetrics.images import open_images
from ganmetrics.measurement import shared_reading
from ganmetrics.measurement.measurement import configured
from ganmetrics.measurement.reference_cache import cache_key
from ganmetrics.measurement.settings import Settings
from tests.helpers.cached import OPTIONS, fid, stored, without_origin

pytestmark = pytest.mark.usefixtures("statistics_cache")


def test_a_file_replaced_with_the_same_name_size_and_date(
    class_folders: tuple[Path, Path], sides_read: list[str]
) -> None:
    real, fake = class_folders
    before = fid(real, fake)
    victim = real / "b" / "00007.bmp"
    status, content = victim.stat(), bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (victim.stat().st_size, victim.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    sides_read.clear()
    after = fid(real, fake)
    assert sides_read == ["real", "fake"]
    assert after.value != before.value
    assert after.value == fid(real, fake, cache=False).value


def test_files_added_removed_and_renamed(class_folders: tuple[Path, Path], sides_read: list[str]) -> None:
    real, fake = class_folders

    def is_read() -> bool:
        sides_read.clear()
        score = fid(real, fake)
        assert score.value == fid(real, fake, cache=False).value
        return sides_read[0] == "real"

    assert is_read()
    shutil.copy(real / "a/00000.bmp", real / "a/00099.bmp")
    assert is_read()
    (real / "a/00099.bmp").unlink()
    assert not is_read()
    (real / "a/00000.bmp").rename(real / "a/00000-renamed.bmp")  # still the first
    assert not is_read()
    (real / "a/00000-renamed.bmp").rename(real / "c.bmp")  # now the last: vectors are kept in order
    assert is_read()
    assert not is_read()
    (real / "b/00001.bmp").write_bytes((real / "b/00002.bmp").read_bytes())
    assert is_read()
    (real / "notes.txt").write_text("no image")
    assert not is_read()


def test_the_same_images_from_elsewhere(
    class_folders: tuple[Path, Path], tmp_path: Path, sides_read: list[str]
) -> None:
    real, fake = class_folders
    value = fid(real, fake).value
    (tmp_path / "link").symlink_to(real)
    shutil.copytree(real, tmp_path / "copy")
    files = sorted(real.rglob("*.bmp"))
    with zipfile.ZipFile(tmp_path / "real.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(real))
    sides_read.clear()
    for place in (tmp_path / "link", tmp_path / "copy", tmp_path / "real.zip", list(map(str, files))):
        assert fid(place, fake).value == value
    assert sides_read == ["fake"] * 4
    assert len(stored()) == 1


def test_arrays_count_with_what_was_stated_of_them(rng: np.random.Generator, sides_read: list[str]) -> None:
    """By bytes, whatever object holds them; a range, a rounding, an order of axes or a type makes other images."""
    real, fake = (rng.integers(0, 256, (40, 3, 3, 3), dtype=np.uint8) for _ in range(2))
    floats = torch.from_numpy(real).float() / 512

    def is_read(images: Any, **stated: Any) -> bool:
        sides_read.clear()
        assert gm.fid(images, fake, **OPTIONS, **{"layout": "NCHW", **stated}).n_real == 40
        return sides_read[0] == "real"

    assert is_read(real)
    assert not is_read(torch.from_numpy(real.copy()))
    assert not is_read(np.asfortranarray(real))
    assert is_read(real.transpose(0, 2, 3, 1))
    assert is_read(real, layout="NHWC")
    assert is_read(floats, value_range=(0, 1))
    assert not is_read(floats.clone(), value_range=(0, 1))
    assert is_read(floats, value_range=(-1, 1))
    assert is_read(floats.double(), value_range=(0, 1))
    assert is_read(floats.bfloat16(), value_range=(0, 1))


def test_what_may_differ_next_time_is_never_kept(class_folders: tuple[Path, Path], rng: np.random.Generator) -> None:
    """Streams, datasets with code of their own, extractors with code of their own (the code has no checksum)."""
    real, fake = (rng.integers(0, 256, (40, 3, 3, 3), dtype=np.uint8) for _ in range(2))
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(real))
    gm.fid(iter([torch.from_numpy(real)]), fake, **OPTIONS, layout="NCHW")
    gm.fid(dataset, fake, **OPTIONS, layout="NCHW")
    gm.fid(lambda n: torch.from_numpy(real[:n]), fake, **OPTIONS, layout="NCHW", n_samples=40)
    for own in (lambda images: images.flatten(1).float(), torch.nn.Sequential(Float(), torch.nn.Linear(48, 5))):
        gm.fid(*class_folders, **{**OPTIONS, "features": own})
    gm.inception_score(class_folders[1], **{**OPTIONS, "features": "efficientnet-lite0"}, splits=2)  # has no real side
    gm.stats(class_folders[1], **OPTIONS)
    fid(*class_folders, cache=False)
    assert stored() == []


class Float(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).float()


def test_the_key_holds_all_that_decides_a_vector(synthetic_weights: Path, tmp_path: Path) -> None:
    state = torch.load(synthetic_weights, weights_only=True)
    state["fc.bias"] = state["fc.bias"] + 1
    torch.save(state, tmp_path / "other.pth")

    def key(name: str = "fid", fingerprint: str = "0", **options: Any) -> str:
        settings = Settings(**{"device": "cpu", "weights": synthetic_weights, **options})
        (own,) = configured([name], settings)
        return cache_key(own.need, fingerprint)

    first = key()
    others = [
        key(fingerprint="1"),
        key(confidence=True),  # keeps the vectors themselves
        key(weights=tmp_path / "other.pth"),
        key(dtype="float64"),
        key(dtype="bfloat16"),
        key(features="inception:768"),
        *(key(protocol=name) for name in ("clean-fid", "torchmetrics")),
        key(features="pixels", weights=None),
        key(features="efficientnet-lite0", weights=None),
    ]
    assert key() == first
    assert key(batch_size=3, num_workers=0, ddof=0, cache=False) == first
    assert len({first, *others}) == 1 + len(others)
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        assert key(features="pixels", weights=None) not in others
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def test_skipped_images_belong_to_the_entry(
    class_folders: tuple[Path, Path], tmp_path: Path, sides_read: list[str]
) -> None:
    real, fake = class_folders
    (real / "a/00003.bmp").write_bytes(b"no image")
    (real / "b/00003.bmp").unlink()
    (real / "b/00003.bmp").symlink_to("nowhere")
    plain, first, second = (fid(real, fake, on_error="skip", cache=cache) for cache in (False, True, True))
    assert sides_read == ["real", "fake", "real", "fake", "fake"]
    assert without_origin(plain) == without_origin(first) == without_origin(second)
    assert [Path(entry["image"]).name for entry in second.skipped] == ["00003.bmp"] * 2
    with pytest.raises(ImageError, match=r"00003\.bmp: not an image"):
        fid(real, fake)
    shutil.copytree(real, tmp_path / "copy", symlinks=True)
    third = fid(tmp_path / "copy", fake, on_error="skip")
    assert third.protocol["cached"] == ["real"]
    assert third.skipped[0]["image"] == f"{tmp_path}/copy/a/00003.bmp"


def test_an_entry_without_skipped_images_serves_both(class_folders: tuple[Path, Path], sides_read: list[str]) -> None:
    fid(*class_folders, on_error="skip")
    fid(*class_folders, on_error="fail")
    assert sides_read == ["real", "fake", "fake"]


def test_images_that_change_while_they_are_read_are_not_kept(
    class_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fake = class_folders
    extract = shared_reading.extract

    def disturbed(source: Any, feeds: Any, **options: Any) -> Any:
        found = extract(source, feeds, **options)
        shutil.copy(real / "a/00001.bmp", real / "a/00000.bmp")
        return found

    monkeypatch.setattr(shared_reading, "extract", disturbed)
    fid(real, fake)
    assert stored() == []


def test_fingerprints_of_odd_sources(tmp_path: Path) -> None:
    """What cannot be opened has one too, and a pipe is not waited for."""
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with_pipe = open_images(tmp_path).fingerprint()
    (tmp_path / "b.png").unlink()
    assert with_pipe not in (None, open_images(tmp_path).fingerprint())
    assert open_images(iter([1])).fingerprint() is None
