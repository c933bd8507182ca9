"""`.npy` and `.npz` files that are one source together, and arrays of an `.npz` that are named by their key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, SourceError
from ganmetrics.images import open_images
from ganmetrics.images.patterns import Selection
from tests.helpers.cached import OPTIONS, stored
from tests.helpers.commands import PIXELS, Cli
from tests.helpers.packed import class_frechet, frechet
from tests.helpers.pictures import read

SIZES = (7, 20, 3, 31, 1, 8, 9, 10, 4, 2, 5, 20)  # of twelve parts: 2 comes before 10


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (sum(SIZES), 2, 5, 3), dtype=np.uint8)


def save(kind: str, path: Path, *arrays: np.ndarray, **named: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    {".npy": lambda: np.save(path, *arrays), ".npz": lambda: np.savez(path, *arrays, **named),
     "packed.npz": lambda: np.savez_compressed(path, *arrays, **named)}[kind]()  # fmt: skip


def parts(kind: str, folder: Path, images: np.ndarray, **named: np.ndarray) -> Path:
    """Files samples_0, samples_1, ... samples_11; arrays in `named` are cut likewise."""
    for i, stop in enumerate(np.cumsum(SIZES)):
        own = slice(stop - SIZES[i], stop)
        ending = ".npy" if kind == ".npy" else ".npz"
        save(kind, folder / f"samples_{i}{ending}", images[own], **{key: array[own] for key, array in named.items()})
    return folder


def chw(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


SPELLED: dict[str, Callable[[Path], Any]] = {
    "folder": lambda folder: folder,
    "folder with a slash": lambda folder: f"{folder}/",
    "glob": lambda folder: f"{folder}/samples_*.np[yz]",
    "braces": lambda folder: f"{folder}/samples_{{0..11}}{os.listdir(folder)[0][-4:]}",
    "list": lambda folder: [folder / f"samples_{i}{os.listdir(folder)[0][-4:]}" for i in range(12)],
}


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("kind", [".npy", ".npz", "packed.npz"])
def test_parts_are_one_source_in_the_order_of_their_numbers(
    kind: str, spelled: str, images: np.ndarray, tmp_path: Path
) -> None:
    source = SPELLED[spelled](parts(kind, tmp_path / "parts", images))
    for batch_size in (1, 8, 500):
        assert torch.equal(read(source, batch_size), chw(images))
    opened = open_images(source)
    for start, stop in ((0, 1), (5, 33), (27, 30), (119, 120), (0, 120), (30, 31)):
        part = opened.part(start, stop)
        assert torch.equal(torch.cat([stack.pixels for stack in part.stacks(4)]), chw(images[start:stop]))
        again = part.part(0, stop - start)
        assert torch.equal(torch.cat([stack.pixels for stack in again.stacks(4)]), chw(images[start:stop]))


def test_scores_are_those_of_the_whole(images: np.ndarray, rng: np.random.Generator, tmp_path: Path, cli: Cli) -> None:
    fake = rng.integers(0, 200, images.shape, dtype=np.uint8)
    sides = parts(".npz", tmp_path / "a", images), f"{parts('.npy', tmp_path / 'b', fake)}/*.npy"
    (score,) = cli("fid", *sides, *PIXELS, "--no-cache", "--json").scores
    assert score["value"] == pytest.approx(frechet(images, fake), rel=1e-5)
    np.save("whole.npy", images)
    np.save("other.npy", fake)
    assert score["value"] == cli("fid", "whole.npy", "other.npy", *PIXELS, "--no-cache", "--json").scores[0]["value"]


def test_a_stack_of_three_grey_images_among_the_parts(rng: np.random.Generator, tmp_path: Path) -> None:
    """Alone it could be one image of three channels."""
    grey = rng.integers(0, 256, (12, 8, 9), dtype=np.uint8)
    for i, own in enumerate((slice(0, 8), slice(8, 11), slice(11, 12))):
        np.save(tmp_path / f"{i}.npy", grey[own])
    assert torch.equal(read(tmp_path), torch.from_numpy(grey)[:, None])


def test_a_folder_of_single_images(images: np.ndarray, tmp_path: Path) -> None:
    for i, image in enumerate(images[:12]):
        np.save(tmp_path / f"img_{i}.npy", image)
    assert torch.equal(read(tmp_path, layout="NHWC"), chw(images[:12]))
    with pytest.raises(SourceError, match=r"can be \d+ grey images or one single image; say which with"):
        open_images(tmp_path)


def test_floats_need_their_range(images: np.ndarray, tmp_path: Path) -> None:
    floats = (images / 255).astype(np.float32)
    source = parts(".npz", tmp_path / "parts", floats)
    with pytest.raises(SourceError, match="need their range"):
        open_images(source)
    assert torch.equal(read(source, value_range=(0, 1)), chw(images))


def test_many_parts_do_not_stay_open(tmp_path: Path) -> None:
    import resource

    for i in range(80):
        np.save(tmp_path / f"{i}.npy", np.full((1, 2, 5, 3), i, np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        pixels = read(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert pixels[:, 0, 0, 0].tolist() == list(range(80))


@pytest.mark.parametrize(
    ("other", "got"),
    [
        (np.zeros((4, 2, 6, 3), np.uint8), r"\(4, 2, 6, 3\) uint8"),
        (np.zeros((4, 2, 5, 3), np.float32), r"\(4, 2, 5, 3\) float32"),
        (np.zeros((4, 2, 5), np.uint8), r"\(4, 2, 5\) uint8"),
        (np.zeros(4, np.int64), r"\(4,\) int64"),
        (np.array(3), r"\(\) int64"),
    ],
)
def test_parts_that_differ_are_one_line(other: np.ndarray, got: str, images: np.ndarray, tmp_path: Path) -> None:
    parts(".npy", tmp_path / "x", images)
    np.save(tmp_path / "x" / "samples_5.npy", other)
    with pytest.raises(SourceError) as told:
        open_images(tmp_path / "x")
    assert told.match(
        rf"^{tmp_path}/x: expected parts of one shape and type, got \(7, 2, 5, 3\) uint8 in {tmp_path}/x/samples_0.npy "
        rf"and {got} in {tmp_path}/x/samples_5\.npy$"
    )


def test_other_files_among_the_parts(images: np.ndarray, tmp_path: Path) -> None:
    folder = parts(".npz", tmp_path / "x", images)
    np.savez(folder / "statistics.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(SourceError, match=r"x/statistics\.npz: holds statistics \(mu and sigma\), not images"):
        open_images(folder)
    chosen = open_images(folder, selection=Selection(exclude=("stat*",)))
    assert (chosen.n_images, len(read(f"{folder}/samples_*.npz"))) == (len(images), len(images))
    (folder / "notes.txt").write_text("text")
    with pytest.raises(SourceError, match=r"x/notes\.txt: not a kind of file that is understood"):
        open_images(f"{folder}/[ns]*")
    (folder / "x.tar").write_bytes(b"")
    with pytest.raises(SourceError, match=r"x: holds 1 tar archives and 13 \.npy or \.npz files; name one kind"):
        open_images(folder)
    with pytest.raises(SourceError, match=r"names files of several kinds, \.npz, \.tar; name one kind"):
        open_images([folder / "samples_0.npz", folder / "x.tar"])
    np.save(folder / "empty.npy", images[:0])
    with pytest.raises(SourceError, match=r"empty\.npy: holds no image, its shape is \(0, 2, 5, 3\)"):
        open_images([folder / "samples_0.npz", folder / "empty.npy"])


def test_parts_are_chosen_by_their_names(images: np.ndarray, tmp_path: Path) -> None:
    folder = parts(".npz", tmp_path / "x", images)
    score = gm.fid(folder, folder, include=["real:samples_[0-3].npz", "fake:samples_??.npz"], **OPTIONS)
    assert (score.n_real, score.n_fake) == (sum(SIZES[:4]), sum(SIZES[10:]))
    with pytest.raises(SourceError, match=r"no image matches --include x\*; it holds samples_0\.npz, samples_1\.npz, "):
        gm.fid(folder, folder, include="fake:x*", **OPTIONS)


@pytest.mark.usefixtures("statistics_cache")
def test_statistics_of_parts_are_kept(images: np.ndarray, tmp_path: Path) -> None:
    folder = parts("packed.npz", tmp_path / "x", images)
    cached = [gm.fid(folder, images, **OPTIONS).protocol.get("cached") for _ in range(2)]
    assert cached == [None, ["real"]]
    np.savez(folder / "samples_3.npz", 255 - images[:31])
    assert gm.fid(folder, images, **OPTIONS).value > 0
    assert len(stored()) == 2


def test_classes_of_parts(images: np.ndarray, rng: np.random.Generator, tmp_path: Path) -> None:
    classes = rng.integers(0, 2, len(images))
    folder = parts(".npz", tmp_path / "x", images, arr_1=classes)
    fake, other = rng.integers(0, 200, images.shape, dtype=np.uint8), classes[::-1].copy()
    np.savez(tmp_path / "fake.npz", fake, other)
    score = gm.evaluate(folder, tmp_path / "fake.npz", ["class-fid"], **OPTIONS)["class-fid"]
    assert score.value == pytest.approx(class_frechet(images, classes, fake, other), rel=1e-5)
    assert score.protocol["classes"] == {"real": "array arr_1", "fake": "array arr_1"}
    np.savez(folder / "samples_3.npz", images[:31])
    with pytest.raises(OptionError, match="class-fid: expected real images with classes"):
        gm.evaluate(folder, tmp_path / "fake.npz", ["class-fid"], **OPTIONS)


KEYS = ("train_images", "val_images")


@pytest.fixture
def medical(images: np.ndarray, tmp_path: Path) -> Path:
    """As MedMNIST keeps its sets."""
    labels = np.arange(len(images), dtype=np.uint8)[:, None] % 3
    np.savez(tmp_path / "data.npz", train_images=images[:80], val_images=images[80:], train_labels=labels[:80],
             val_labels=labels[80:])  # fmt: skip
    return tmp_path / "data.npz"


def test_a_key_names_the_array(medical: Path, images: np.ndarray, cli: Cli) -> None:
    assert torch.equal(read(f"{medical}:train_images"), chw(images[:80]))
    assert torch.equal(read(Path(f"{medical}:val_images")), chw(images[80:]))
    assert open_images(f"{medical}:val_images").labels == [str(i % 3) for i in range(80, 120)]
    (score,) = cli("fid", f"{medical}:train_images", f"{medical}:val_images", *PIXELS, "--json", "--no-cache").scores[
        :1
    ]
    assert score["value"] == pytest.approx(frechet(images[:80], images[80:]), rel=1e-5)


def test_keys_are_listed_where_one_is_needed(medical: Path, images: np.ndarray) -> None:
    listed = "train_images (80, 2, 5, 3), val_images (40, 2, 5, 3), train_labels (80, 1), val_labels (40, 1)"
    for source, error in (
        (medical, f"{medical}: expected images in an array arr_0, or in the only array with 3 or 4 axes; found "
                  f"{listed}; name one, as in {medical}:train_images"),
        (f"{medical}:images", f"{medical}: has no array 'images'; it holds {listed}"),
        (f"{medical}:", f"{medical}: has no array ''; it holds {listed}"),
        (f"{medical}:val_labels", f"{medical}: array 'val_labels' has the shape (40, 1), and images have 3 or 4 axes; "
                                  f"it holds {listed}"),
    ):  # fmt: skip
        with pytest.raises(SourceError) as told:
            open_images(source)
        assert str(told.value) == error


def test_a_key_for_every_part(images: np.ndarray, tmp_path: Path) -> None:
    folder = parts(".npz", tmp_path / "x", np.zeros(len(images)), fakes=images, reals=255 - images)
    assert torch.equal(read(f"{folder}/samples_*.npz:fakes"), chw(images))
    assert torch.equal(read([f"{folder}/samples_0.npz:reals", f"{folder}/samples_1.npz:fakes"]),
                       torch.cat([chw(255 - images[:7]), chw(images[7:27])]))  # fmt: skip


@pytest.mark.parametrize("name", ["C:\\data\\x.npz", "12:30.npz", "a.npz:b.npz", "x[1].npz", "x{1}.npz"])
def test_odd_names_still_work(name: str, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(name, some=images[:9], other=images[9:20])
    with pytest.raises(SourceError, match="name one, as in"):
        open_images(name)
    assert torch.equal(read(f"{name}:other"), chw(images[9:20]))
    np.savez(name, images[:9])
    assert torch.equal(read(name), chw(images[:9]))
    assert torch.equal(read([name, name]), torch.cat([chw(images[:9])] * 2))


def test_a_glob_in_a_folder_with_brackets(images: np.ndarray, tmp_path: Path) -> None:
    for name in ("run[1]", "run1"):
        parts(".npy", tmp_path / name, images if name == "run1" else 255 - images)
    assert torch.equal(read(f"{tmp_path}/run[1]/samples_*.npy"), chw(255 - images))


def test_arrays_beside_images_are_told(images: np.ndarray, tmp_path: Path) -> None:
    from tests.conftest import write_folder

    write_folder(tmp_path / "x", images[:3])
    np.save(tmp_path / "x" / "more.npy", images)
    assert open_images(tmp_path / "x").remarks == ["1 .npy left out: not among the extensions that are read"]


def test_a_key_names_vectors_too(rng: np.random.Generator, tmp_path: Path) -> None:
    real, fake = rng.standard_normal((50, 4)), rng.standard_normal((60, 4)) + 1
    np.savez(tmp_path / "v.npz", real=real, fake=fake)
    score = gm.fid(f"{tmp_path}/v.npz:real", f"{tmp_path}/v.npz:fake", device="cpu", progress=False)
    assert score.value == pytest.approx(frechet(real * 255, fake * 255), rel=1e-6)
