"""Tar archives as a source: shards, classes, every kind of damage, and webdataset as the peer that reads the same."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import ImageError, SourceError
from ganmetrics.images import open_images, read_batches
from tests.conftest import write_folder
from tests.helpers.commands import PIXELS, Cli
from tests.helpers.packed import packed
from tests.helpers.pictures import png


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    return packed("tar", path, members)


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (12, 3, 5, 3), dtype=np.uint8)


@pytest.fixture
def shards(images: np.ndarray, tmp_path: Path) -> Path:
    """Folder `shards` of 008.tar to 011.tar with three images, their classes and a caption each."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for i, start in enumerate(range(0, 12, 3)):
        members = {}
        for j in range(start, start + 3):
            members[f"{j:04}.json"] = b"{}"
            members[f"{j:04}.png"] = png(images[j])
            members[f"{j:04}.cls"] = str(j % 2).encode()
        pack(folder / f"{8 + i:03}.tar", members)
    return folder


def read(source: object, **options: str) -> tuple[torch.Tensor, object]:
    reader = read_batches(open_images(source), 5, **options)
    return torch.cat([stack for batch in reader for stack in batch]), reader.summary


def expected(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "spelled",
    ["{}/{{008..011}}.tar", "{}/0{{08,09,10,11}}.tar", "{}/*.tar", "{}/0[01]?.tar", "{}", "{}/{{008..009,01*}}.tar"],
)
def test_shards_are_one_source_in_their_order(spelled: str, shards: Path, images: np.ndarray) -> None:
    if ".." in spelled and "," in spelled:  # bash reads this as two words, the first of which is no range
        with pytest.raises(SourceError, match=r"008\.\.009\.tar: no such file; "):
            open_images(spelled.format(shards))
        return
    source = open_images(spelled.format(shards))
    assert torch.equal(read(source)[0], expected(images))
    assert source.labels == [str(j % 2) for j in range(12)]
    assert source.where(3) == f"{shards}/009.tar/0003.png"
    assert not source.remarks


def test_one_archive_and_a_list_in_the_order_given(shards: Path, images: np.ndarray) -> None:
    assert torch.equal(read(shards / "009.tar")[0], expected(images[3:6]))
    assert torch.equal(read([shards / "010.tar", shards / "008.tar"])[0], expected(images[[6, 7, 8, 0, 1, 2]]))
    assert torch.equal(read(f"{shards}/{{9..8}}.tar".replace("{9", "00{9"))[0], expected(images[[3, 4, 5, 0, 1, 2]]))


def test_webdataset_reads_the_same(shards: Path, images: np.ndarray) -> None:
    """Written by its own writer, too, and handed over as its own dataset."""
    webdataset = pytest.importorskip("webdataset")
    path = str(shards.parent / "written.tar")
    with webdataset.TarWriter(path) as writer:
        for j, image in enumerate(images):
            writer.write({"__key__": f"{j:03}", "png": image, "cls": j % 3})
    theirs = list(webdataset.WebDataset(path, shardshuffle=False).decode("torchrgb8").to_tuple("png", "cls"))
    source = open_images(path)
    assert torch.equal(read(source)[0], torch.stack([image for image, _ in theirs]))
    assert source.labels == [str(label) for _, label in theirs]
    ours = webdataset.WebDataset(f"{shards}/{{008..011}}.tar", shardshuffle=False).decode("torchrgb8").to_tuple("png")
    assert gm.fid(ours, f"{shards}/{{008..011}}.tar", features="pixels").value == pytest.approx(0, abs=1e-12)


def test_a_packed_folder_is_the_folder(images: np.ndarray, tmp_path: Path) -> None:
    """Names, classes by folder, order and fingerprint; a hard link is the file that it links to."""
    for kind, part in (("a", images[:6]), ("b", images[6:])):
        write_folder(tmp_path / "folder" / kind, part)
    os.link(tmp_path / "folder/a/00000.png", tmp_path / "folder/b/linked.png")
    (tmp_path / "folder/b/._hidden.png").write_bytes(b"of macOS")
    with tarfile.open(tmp_path / "packed.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(path.relative_to(tmp_path / "folder") for path in (tmp_path / "folder").rglob("*.png")):
            archive.add(tmp_path / "folder" / name, arcname=f"./{name}")
    one, other = open_images(tmp_path / "folder"), open_images(tmp_path / "packed.tar")
    assert torch.equal(read(one)[0], read(other)[0])
    assert one.labels == other.labels == ["a"] * 6 + ["b"] * 7
    assert one.fingerprint() == other.fingerprint()


def test_odd_members(images: np.ndarray, tmp_path: Path) -> None:
    """Each is named, and left out only where that was asked for."""
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (("a.png", tarfile.SYMTYPE, "b.png"), ("c.png", tarfile.LNKTYPE, "absent.png")):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, target
            archive.addfile(header)
        for name, content in (("../d.png", png(images[0])), ("e.png", b"no image"), ("f.png", png(images[1]))):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    pixels, summary = read(path, on_error="skip")
    assert torch.equal(pixels, expected(images[1:2]))
    assert [(entry["image"].removeprefix(f"{path}/"), entry["reason"].split(" ")[0]) for entry in summary.skipped] == [
        ("a.png", "a"), ("c.png", "a"), ("../d.png", "its"), ("e.png", "not")
    ]  # fmt: skip
    with pytest.raises(ImageError, match=r"odd\.tar/a\.png: a link inside a tar archive, to b\.png; pack it with tar"):
        read(path)


def test_samples_of_several_images_are_told(images: np.ndarray, tmp_path: Path) -> None:
    several = {f"{j:03}.{kind}.png": png(images[j]) for j in range(3) for kind in ("0", "1")}
    source = open_images(pack(tmp_path / "x.tar", several))
    assert (len(source), source.labels) == (6, None)
    assert source.remarks == ["3 of 6 share a sample with another image (a name up to its first dot): all are taken"]


@pytest.mark.parametrize(
    ("damage", "reason", "left"),
    [
        (lambda whole: whole[: whole.index(b"0004.png") + 530], "unexpected end of data", 1),
        (lambda whole: whole[: whole.index(b"0004.json")], "its end-of-archive mark is missing", 1),
        (lambda whole: whole.replace(b"0004.png\0", b"0004.pnh\0"), "no header at byte", 1),
        (lambda whole: whole + whole, "data follows its end-of-archive mark; join archives with tar --concatenate", 3),
        (lambda whole: b"", "empty file", 0),
        (lambda whole: b"PK\x03\x04" + whole[4:], "bad checksum", 0),
    ],
)
def test_damaged_archives(damage, reason: str, left: int, shards: Path, cli: Cli) -> None:
    """Told before any image is read, also of the archives before it; or listed and left out."""
    broken = shards / "009.tar"
    broken.write_bytes(damage(broken.read_bytes()))
    error = cli("stats", f"{shards}/*.tar", "-o", "x.npz", *PIXELS).error
    assert error.startswith(f"{broken}: is no tar archive, or a damaged one ({reason}")
    assert error.endswith(f"), after {left} images")
    score = json.loads(cli("fid", f"{shards}/*.tar", shards / "008.tar", *PIXELS, "--on-error=skip", "--json").out)
    assert [entry["image"] for entry in score["skipped"]] == [str(broken)]
    assert score["n_real"] == 9 + left
    if not left:
        assert cli("fid", broken, shards, *PIXELS).error.startswith(f"{broken}: is no tar archive, or a damaged one")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{}/{{008..013}}.tar", "{}/012.tar: no such file; {}/{{008..013}}.tar names it"),
        ("{}/x*.tar", "{}/x*.tar: no such file; {}/x*.tar names it"),
        ("{}/{{0..999999}}.tar", "{{0..999999}}: names 1000000 files, more than 100000"),
        ("{}/x.tar.gz", "{}/x.tar.gz: a compressed tar archive cannot be read in place; unpack it to a .tar"),
        ("{}/{{x,y}}.tar.gz", "{}/x.tar.gz: a compressed tar archive cannot be read in place; unpack it to a .tar"),
        ("{}/empty.tar", "{}/empty.tar: no image in this tar archive; searched 1 files for "),
    ],
)
def test_what_cannot_be_opened(given: str, message: str, shards: Path) -> None:
    for name in ("x.tar.gz", "y.tar.gz"):
        (shards / name).touch()
    pack(shards / "empty.tar", {"a.txt": b""})
    with pytest.raises(SourceError) as raised:
        open_images(given.format(shards))
    assert str(raised.value).startswith(message.format(*[shards] * message.count("{}")))


def test_an_archive_that_shrinks_after_it_was_opened(shards: Path) -> None:
    source = open_images(shards / "008.tar")
    os.truncate(shards / "008.tar", 3000)
    with pytest.raises(ImageError, match="cut off: its tar archive has become shorter since it was opened"):
        for _ in read_batches(source, 4):
            pass


def test_images_beside_archives(shards: Path, images: np.ndarray) -> None:
    write_folder(shards / "images", images[:2])
    source = open_images(shards)
    assert (len(source), source.remarks) == (2, ["4 .tar left out: not among the extensions that are read"])


def test_partial_classes_are_none(images: np.ndarray, tmp_path: Path) -> None:
    some: Sequence[tuple[str, bytes]] = [("a/1.png", png(images[0])), ("a/1.cls", b"7"), ("b/2.png", png(images[1]))]
    assert open_images(pack(tmp_path / "x.tar", dict(some))).labels is None
