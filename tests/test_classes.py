"""The class of every image, as sources tell it, and the metrics over classes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganmetrics.images import open_images
from ganmetrics.images.names import classes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat/1.png", "dog/1.png", "cat/2.png"], ["cat", "dog", "cat"]),
        (["cat/old/1.png", "dog/1.png"], ["cat", "dog"]),
        (["all/train/cat/1.png", "all/train/dog/1.png"], ["cat", "dog"]),
        (["./cat/1.png", "/dog//1.png"], ["cat", "dog"]),
        (["c\nt/1.png", "dog/1.png"], ["c\\nt", "dog"]),
        (["1.png", "2.png"], None),
        (["cat/1.png", "dog/1.png", "3.png"], None),
        (["images/1.png", "images/2.png"], None),
        (["images/cat/1.png", "images/2.png"], None),
        ([], None),
    ],
)
def test_classes_are_the_top_folders_that_differ(names: list[str], expected: list[str] | None) -> None:
    assert classes(names) == expected


def grey(value: int) -> Image.Image:
    return Image.fromarray(np.full((4, 4), value, np.uint8))


def test_folders_zips_and_lists_of_paths_know_their_classes(tmp_path: Path) -> None:
    places = ["dog/b.png", "cat/a.png", "dog/a.png"]
    for place in places:
        (tmp_path / "set" / place).parent.mkdir(parents=True, exist_ok=True)
        grey(9).save(tmp_path / "set" / place)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for place in places:
            archive.write(tmp_path / "set" / place, f"top/{place}")
    assert open_images(tmp_path / "set").labels == ["cat", "dog", "dog"]
    assert open_images(tmp_path / "set.zip").labels == ["cat", "dog", "dog"]
    assert open_images([tmp_path / "set" / place for place in places]).labels == ["dog", "cat", "dog"]
    assert open_images(tmp_path / "set" / "dog").labels is None


def test_datasets_know_their_classes() -> None:
    from sklearn.datasets import load_digits

    expected = [str(label) for label in load_digits().target]
    assert open_images("digits").labels == expected
    assert open_images("digits[100:110]").labels == expected[100:110]


def test_torchvision_datasets_know_their_classes(tmp_path: Path, rng: np.random.Generator) -> None:
    """Files in MNIST's format; names where the dataset has names, figures for figures."""
    pixels, labels = rng.integers(0, 256, (12, 28, 28), dtype=np.uint8), rng.integers(0, 10, 12, dtype=np.uint8)
    for folder in ("MNIST", "FashionMNIST"):
        raw = tmp_path / folder / "raw"
        raw.mkdir(parents=True)
        for part in ("train", "t10k"):
            header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in pixels.shape)
            (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
            header = bytes([0, 0, 8, 1]) + len(labels).to_bytes(4, "big")
            (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    from torchvision.datasets import FashionMNIST

    assert open_images("mnist:test[2:9]", data_root=tmp_path).labels == [str(i) for i in labels[2:9]]
    named = open_images("fashion-mnist:train", data_root=tmp_path).labels
    assert named == [FashionMNIST.classes[i] for i in labels]


def test_an_npz_as_guided_diffusion_writes_it_knows_its_classes(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels, labels = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8), np.array([3, 1, 3, 999, 0])
    for name, save in (("plain", np.savez), ("packed", np.savez_compressed)):
        save(tmp_path / f"{name}.npz", pixels, labels)
        assert open_images(tmp_path / f"{name}.npz").labels == ["3", "1", "3", "999", "0"]


@pytest.mark.parametrize(
    "other", [np.zeros(4, int), np.zeros(5), np.zeros((5, 2), int), np.array([None] * 5)], ids=repr
)
def test_another_array_beside_the_images_is_no_class(tmp_path: Path, other: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", np.zeros((5, 8, 8, 3), np.uint8), other)
    assert open_images(tmp_path / "x.npz").labels is None


def test_arrays_know_none() -> None:
    assert open_images(np.zeros((5, 8, 8, 3), np.uint8)).labels is None
