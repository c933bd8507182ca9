"""Zip archives as a source: what their folder is, and every member that is refused."""

import zipfile

import numpy as np
import pytest
import torch

from ganmetrics.errors import ImageError, SourceError
from ganmetrics.images import open_images, read_batches
from tests.helpers.pictures import RGB, png


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_zip_equals_folder(tmp_path):
    folder = tmp_path / "f"
    members = {}
    for number, name in enumerate(["b/2.png", "b/10.png", "a.PNG", ".x/h.png", "__MACOSX/._a.png", "t.txt"]):
        members[name] = png(np.roll(RGB, number, 0))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(members[name])
    [[packed]] = list(read_batches(open_images(write_zip(tmp_path / "x.ZIP", members)), 8))
    [[plain]] = list(read_batches(open_images(folder), 8))
    assert len(packed) == 3
    assert torch.equal(packed, plain)


CLIMBS = "its path leaves the zip archive (absolute, or with ..): refused"


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "..\\x.png", "C:\\x.png"])
def test_zip_member_that_climbs_out_is_bad(name, tmp_path):
    source = open_images(write_zip(tmp_path / "x.zip", {name: png(), "good.png": png()}))
    reader = read_batches(source, 4, on_error="skip")
    [[stack]] = list(reader)
    assert len(stack) == 1
    assert reader.summary.skipped == [{"image": f"{tmp_path}/x.zip/{name}", "reason": CLIMBS}]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["x.zip"]


def patch_flags(path):
    data = bytearray(path.read_bytes())
    data[6] |= 1  # local header of the first member
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def patch_pixels(path):
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (patch_flags, "encrypted zip member; unpack the archive with its password first"),
        (patch_pixels, "damaged zip member (Bad CRC-32 for file 'a.png')"),
    ],
)
def test_encrypted_and_corrupt_zip_members_are_bad(patch, reason, tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.png": png(), "b.png": png()}, zipfile.ZIP_STORED)
    patch(path)
    with pytest.raises(ImageError) as caught:
        list(read_batches(open_images(path), 4))
    assert str(caught.value) == f"{path}/a.png: {reason}"
    reader = read_batches(open_images(path), 4, on_error="skip")
    assert [len(batch[0]) for batch in reader] == [1]
    assert len(reader.summary.skipped) == 1


def test_zip_that_is_none_and_zip_without_images(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(SourceError, match=r"text.zip: is no zip archive, or a damaged one \(File is not a zip file\)"):
        open_images(tmp_path / "text.zip")
    with pytest.raises(SourceError, match=r"no image in this zip; searched its 0 files for \.avif \.bmp"):
        open_images(write_zip(tmp_path / "empty.zip", {}))
