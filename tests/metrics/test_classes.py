"""The class of every image, as sources tell it, and the metrics over classes."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.images import open_images
from ganmetrics.images.names import classes
from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics.class_fid import ClassFrechetDistance
from ganmetrics.metrics.fid import frechet_distance
from ganmetrics.metrics.intra_class_diversity import IntraClassDiversity


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


def labelled(rng: np.random.Generator, sizes: dict[str, int], d: int, scale: float = 1) -> tuple[np.ndarray, list[str]]:
    """Vectors whose place depends on their class, and the classes, mixed."""
    labels = [name for name, n in sizes.items() for _ in range(n)]
    labels = [labels[i] for i in rng.permutation(len(labels))]
    shift = np.array([[len(name)] for name in labels])
    return rng.standard_normal((len(labels), d)) * scale + shift, labels


def distance(real: tuple[np.ndarray, list[str]], fake: tuple[np.ndarray, list[str]]) -> ClassFrechetDistance:
    metric = ClassFrechetDistance(confidence=True)
    for side, (vectors, labels) in (("real", real), ("fake", fake)):
        for part in torch.from_numpy(vectors).split(17):
            metric.update(part, side)
        metric.labels[side] = labels
    return metric


def diversity(vectors: np.ndarray, labels: list[str]) -> IntraClassDiversity:
    metric = IntraClassDiversity()
    metric.update(torch.from_numpy(vectors))
    metric.labels["fake"] = labels
    return metric


@pytest.mark.parametrize("rows", [1, 60, 10_000])
def test_class_fid_is_the_mean_of_frechet_distances(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(sys.modules[ClassFrechetDistance.__module__], "ROWS", rows)
    real = labelled(rng, {"a": 40, "bb": 30, "ccc": 20}, 6)
    fake = labelled(rng, {"a": 25, "bb": 50, "ccc": 35}, 6, scale=1.5)
    expected = {}
    for name in ("a", "bb", "ccc"):
        parts = [vectors[np.array(labels) == name] for vectors, labels in (real, fake)]
        expected[name] = frechet_distance(
            *(torch.from_numpy(m) for x in parts for m in (x.mean(0), np.cov(x, rowvar=False)))
        )
    result = distance(real, fake).compute()
    assert result.protocol["per_class"] == pytest.approx(expected, rel=1e-9)
    assert result.value == pytest.approx(np.mean(list(expected.values())), rel=1e-9)


def test_class_fid_sees_classes_that_were_swapped(rng: np.random.Generator) -> None:
    real, fake = (labelled(rng, {"a": 60, "bbbb": 60}, 4) for _ in range(2))
    swapped = fake[0], ["a" if label == "bbbb" else "bbbb" for label in fake[1]]
    assert distance(real, swapped).compute().value > 20 * distance(real, fake).compute().value


def test_unlike_classes_are_named(rng: np.random.Generator) -> None:
    real, fake = labelled(rng, {"a": 9, "cat": 9, "dog": 9}, 3), labelled(rng, {"a": 9, "dogs": 9}, 3)
    with pytest.raises(StatisticsError) as raised:
        distance(real, fake).compute()
    assert str(raised.value) == (
        "class-fid: expected the same classes on both sides, got no real image of dogs; no fake image of cat, dog; "
        "name the class folders alike"
    )


def test_a_class_of_one_is_named(rng: np.random.Generator) -> None:
    real, fake = labelled(rng, {"a": 9, "b": 9}, 3), labelled(rng, {"a": 9, "b": 1}, 3)
    with pytest.raises(StatisticsError, match=r"^class-fid: expected at least 2 fake images .*, got 1 of b$"):
        distance(real, fake).compute()
    with pytest.raises(StatisticsError, match=r"of every class, got 1 of b$"):
        diversity(*fake).compute()


def test_vectors_without_a_class(rng: np.random.Generator) -> None:
    vectors, labels = labelled(rng, {"a": 9, "b": 9}, 3)
    message = "intra-class-diversity: expected the class of every fake image, got 17 classes for 18 images"
    with pytest.raises(StatisticsError, match=f"^{message}$"):
        diversity(vectors, labels[1:]).compute()


def test_small_classes_are_told_with_the_number_needed(rng: np.random.Generator) -> None:
    real, fake = labelled(rng, {"a": 90, "b": 16}, 4), labelled(rng, {"a": 30, "b": 20}, 4)
    assert list(distance(real, fake).compute().warnings) == [
        "the smallest class has 16 real and 20 fake images for 4 dimensions: its distance is biased upward; "
        "compare only at these counts, or give at least 20 a class"
    ]
    assert not distance(fake, fake).compute().warnings


def test_intra_class_diversity_is_the_mean_over_pairs(rng: np.random.Generator) -> None:
    vectors, labels = labelled(rng, {"a": 12, "bb": 5, "ccc": 2}, 7)
    expected = {}
    for name in ("a", "bb", "ccc"):
        x = vectors[np.array(labels) == name]
        pairs = [1 - x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for i in range(len(x)) for j in range(i)]
        expected[name] = np.mean(pairs)
    result = diversity(vectors, labels).compute()
    assert result.protocol["per_class"] == pytest.approx(expected, rel=1e-10)
    assert result.value == pytest.approx(np.mean(list(expected.values())), rel=1e-10)


@pytest.mark.parametrize("noise", [0, 1e-12, 1e-9, 1e-5])
def test_nearly_collapsed_classes_have_their_small_diversity(noise: float, rng: np.random.Generator) -> None:
    """It was -1.1e-16 for any of them: 1 - cos of 1. What is right is the mean of |x - y|^2 / 2 over pairs."""
    class_images = rng.standard_normal((2, 1, 30)) + noise * rng.standard_normal((2, 40, 30))
    result = diversity(class_images.reshape(80, 30), ["a"] * 40 + ["b"] * 40).compute()
    expected = []
    for x in class_images:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        expected.append(np.mean([np.square(x[i] - x[j]).sum() / 2 for i in range(40) for j in range(i)]))
    assert list(result.protocol["per_class"].values()) == pytest.approx(expected, rel=1e-3, abs=1e-30)
    assert min(result.protocol["per_class"].values()) >= 0
    assert result.value == pytest.approx(np.mean(expected), rel=1e-3, abs=1e-30)


def test_collapsed_classes_have_no_diversity_and_opposed_images_most() -> None:
    one, other = np.eye(4)[:2]
    labels = ["a", "a", "a", "b", "b"]
    assert diversity(np.array([one, 2 * one, one, other, 3 * other]), labels).compute().value == pytest.approx(0)
    assert diversity(np.array([one, one, one, other, -other]), labels).compute().value == pytest.approx(1)


@pytest.mark.parametrize("name", ["class-fid", "intra-class-diversity"])
def test_an_interval_holds_the_expected_value_95_times_in_100(rng: np.random.Generator, name: str) -> None:
    sizes = {"a": 60, "bb": 80, "ccc": 100}
    metrics = []
    for _ in range(300):
        real, fake = labelled(rng, sizes, 4), labelled(rng, sizes, 4, scale=1.6)
        metrics.append(distance(real, fake) if name == "class-fid" else diversity(*fake))
    values = [metric.compute().value for metric in metrics]
    intervals = [interval(v, m.replicates(200, 0)[name]) for v, m in zip(values, metrics, strict=True)]
    assert 0.895 <= np.mean([low <= np.mean(values) <= high for low, high in intervals]) <= 0.985


def test_class_folders_are_scored_from_end_to_end(tmp_path: Path, rng: np.random.Generator) -> None:
    for side in ("real", "fake"):
        for label in ("cat", "dog"):
            (tmp_path / side / label).mkdir(parents=True)
            for i in range(20):
                pixels = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / side / label / f"{i}.png")
    names = ["fid", "class-fid", "intra-class-diversity"]
    scores = gm.evaluate(tmp_path / "real", tmp_path / "fake", names, features="pixels", confidence=True)
    assert set(scores) == set(names)
    assert list(scores["class-fid"].protocol["per_class"]) == ["cat", "dog"]
    cats = gm.fid(tmp_path / "real" / "cat", tmp_path / "fake" / "cat", features="pixels")
    assert scores["class-fid"].protocol["per_class"]["cat"] == pytest.approx(cats.value, rel=1e-9)
    assert all(score.interval is not None for score in scores.values())
    with pytest.raises(OptionError, match=r"^class-fid: expected fake images with classes "):
        gm.evaluate(tmp_path / "real", tmp_path / "fake" / "cat", ["class-fid"], features="pixels")


def test_a_metric_over_fake_classes_beside_a_real_side_of_class_folders(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Reading the real side first ended in a KeyError: the metric has no such side."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    fake = torch.from_numpy(rng.integers(0, 256, (6, 3, 4, 4), dtype=np.uint8))
    options = {"features": "pixels", "device": "cpu", "progress": False, "layout": "NCHW"}
    evaluator = gm.Evaluator(["fid", "intra-class-diversity"], real=tmp_path, **options)
    evaluator.update(fake, labels=["x", "y"] * 3)
    alone = gm.IntraClassDiversity(**options)
    alone.update(fake, labels=["x", "y"] * 3)
    assert evaluator.compute()["intra-class-diversity"].value == alone.compute().value
