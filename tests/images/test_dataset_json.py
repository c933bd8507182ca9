"""Sets as StyleGAN and EDM keep them: folders that are chunks, and the classes in `dataset.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganmetrics as gm
from ganmetrics.errors import OptionError
from ganmetrics.images import open_images
from tests.helpers.cached import OPTIONS
from tests.helpers.packed import KINDS, class_frechet, frechet, packed
from tests.helpers.pictures import png

N = 150


@pytest.fixture
def drawn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images 2x2 of three classes, of other brightness each, in random order."""
    classes = rng.permutation(np.repeat([0, 1, 2], N // 3))
    brightness = (40 * classes).astype(np.uint8)[:, None, None, None]
    return rng.integers(0, 140, (N, 2, 2, 3), dtype=np.uint8) + brightness, classes


def chunks(images: np.ndarray, labels: Any, chunk: int = 50, spelled: str = "{}", top: str = "") -> dict[str, bytes]:
    """Files as StyleGAN's dataset_tool.py writes them; `spelled` is how dataset.json writes a path."""
    names = [f"{i // chunk:05}/img{i:08}.png" for i in range(len(images))]
    if isinstance(labels, np.ndarray):
        labels = [[spelled.format(name), label] for name, label in zip(names, labels.tolist(), strict=True)]
    files = {top + name: png(image) for name, image in zip(names, images, strict=True)}
    return {**files, f"{top}dataset.json": json.dumps({"labels": labels}).encode()}


def class_fid(real: Path, fake: Path) -> gm.Score:
    return gm.evaluate(real, fake, ["class-fid"], **OPTIONS)["class-fid"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [50, 37, 1000])
def test_class_fid_is_over_the_classes_of_dataset_json(
    kind: str, chunk: int, drawn: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, tmp_path: Path
) -> None:
    (images, classes), other = drawn, rng.integers(0, 256, (N, 2, 2, 3), dtype=np.uint8)
    real = packed(kind, tmp_path / "real", chunks(images, classes, chunk))
    fake = packed(kind, tmp_path / "fake", chunks(other, classes[::-1].copy(), chunk))
    score = class_fid(real, fake)
    assert score.value == pytest.approx(class_frechet(images, classes, other, classes[::-1]), rel=1e-6)
    assert score.protocol["classes"] == {"real": "dataset.json", "fake": "dataset.json"}
    assert list(score.protocol["per_class"]) == ["0", "1", "2"]
    assert not [text for text in score.warnings if "classes" in text]


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_images_changes_nothing(
    kind: str, drawn: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, tmp_path: Path
) -> None:
    """Over chunks it is some small number that looks right."""
    images, classes = drawn
    order = rng.permutation(N)
    real = packed(kind, tmp_path / "real", chunks(images, classes))
    fake = packed(kind, tmp_path / "fake", chunks(images[order], classes[order]))
    assert class_fid(real, fake).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_class_folders_serve_on_the_other_side(kind: str, drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, classes = drawn
    real = packed(kind, tmp_path / "real", chunks(images, classes))
    folders = {f"{c}/{i}.png": png(images[i]) for i, c in enumerate(classes)}
    score = class_fid(real, packed("folder", tmp_path / "fake", folders))
    assert score.value == pytest.approx(0, abs=1e-12)
    assert score.protocol["classes"] == {"real": "dataset.json", "fake": "folders"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spelled", "top"),
    [("./{}", ""), ("{}", "./"), ("{}", "set/"), (".//{}", "a/b/"), ("{}", "")],
    ids=["./ in the paths", "./ in the names", "in a folder", "in two folders", "backslashes"],
)
def test_paths_are_compared_by_what_they_mean(
    kind: str, spelled: str, top: str, drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path, request: Any
) -> None:
    images, classes = drawn
    files = chunks(images, classes, spelled=spelled, top=top)
    if "backslashes" in request.node.name:
        name = "dataset.json"
        files[name] = json.dumps(json.loads(files[name]), ensure_ascii=False).replace("/", "\\\\").encode()
    assert open_images(packed(kind, tmp_path / "x", files)).labels == [str(c) for c in classes]


def test_names_of_a_zip_from_windows(drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    files = {name.replace("/", "\\"): content for name, content in chunks(*drawn).items()}
    assert open_images(packed("zip", tmp_path / "x", files)).labels == [str(c) for c in drawn[1]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda labels: None, "gives no labels"),
        (lambda labels: [], "gives no labels"),
        (lambda labels: labels[:-3], r"gives no class to 3 of 150 images, such as 00002/img00000147\.png, \.\.\."),
        (lambda labels: [["x.png", 1], *labels[1:]], r"gives no class to 1 of 150 images, such as 0{5}/img0{8}.png"),
        (lambda labels: [[labels[0][0], None], *labels[1:]], r"no class to 1 of 150 .*/img00000000\.png \(null\)"),
        (lambda labels: [[p, [0.2, 0.8]] for p, _ in labels], r"150 of 150 .*\.png \(\[0\.2, 0\.8\]\), \.\.\."),
        (lambda labels: [[p, 1.5] for p, _ in labels], r"150 of 150 .*\.png \(1\.5\), \.\.\."),
        (lambda labels: [*labels, [labels[0][0], 7]], r"gives 00000/img00000000\.png two classes"),
        (lambda labels: 3, r'has the labels 3; expected \{"labels": \[\[path, class\], \.\.\.\]\}'),
        (lambda labels: [1, 0, 2], r'has the label 1; expected \{"labels": \[\[path, class\], \.\.\.\]\}'),
    ],
)
def test_labels_that_are_no_classes(
    kind: str, change: Callable[..., Any], reason: str, drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """None are invented from the chunks: the line says why there are none, and metrics without classes go on."""
    files = chunks(*drawn)
    labels = json.loads(files["dataset.json"])["labels"]
    source = packed(kind, tmp_path / "x", {**files, "dataset.json": json.dumps({"labels": change(labels)}).encode()})
    assert open_images(source).labels is None
    with pytest.raises(OptionError, match=rf"^class-fid: expected real .* has none: its dataset\.json .*{reason}$"):
        class_fid(source, source)
    assert gm.fid(source, source, **OPTIONS).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 9999, b"not json\nat all"])
def test_a_broken_description_is_one_line(
    kind: str, content: bytes, drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    source = packed(kind, tmp_path / "x", {**chunks(*drawn), "dataset.json": content})
    with pytest.raises(OptionError, match=r"^class-fid: .* has none: its dataset\.json is no JSON \([^\n]*\)$"):
        class_fid(source, source)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (lambda c: [int(c == 0), int(c == 1), int(c == 2)], str),
        (lambda c: [float(c == 0), float(c == 1), float(c == 2)], str),
        (lambda c: [c], str),
        (lambda c: float(c), str),
        (lambda c: "abc"[c], lambda c: "abc"[c]),
        (lambda c: c == 2, lambda c: str(int(c == 2))),
    ],
    ids=["one-hot", "one-hot floats", "list of one", "whole floats", "names", "true and false"],
)
def test_kinds_of_classes(given: Any, expected: Any, drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, classes = drawn
    labels = [[f"{i // 50:05}/img{i:08}.png", given(c)] for i, c in enumerate(classes.tolist())]
    assert open_images(packed("zip", tmp_path / "x", chunks(images, labels))).labels == [
        expected(c) for c in classes.tolist()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_of_something_else_leaves_the_folders(
    kind: str, drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images, classes = drawn
    files = {f"{'xyz'[c]}/{i}.png": png(images[i]) for i, c in enumerate(classes)}
    for name, content, note in (
        ("dataset.json", b'{"name": "mine"}', 'its dataset.json has no entry "labels", so the folders are the classes'),
        ("x/dataset.json", b'{"labels": null}', "x/dataset.json was not read: it is not above all images"),
    ):
        source = packed(kind, tmp_path / f"of-{len(name)}", {**files, name: content})
        score = gm.evaluate(None, source, ["intra-class-diversity"], **OPTIONS)["intra-class-diversity"]
        assert list(score.protocol["per_class"]) == ["x", "y", "z"]
        assert f"fake classes: {note}" in score.warnings


def test_more_paths_than_images_are_told(drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, classes = drawn
    files = chunks(images, classes)
    del files["00001/img00000060.png"]
    score = class_fid(packed("folder", tmp_path / "a", files), packed("folder", tmp_path / "b", chunks(*drawn)))
    told = "real classes: images that its dataset.json names are not there: 1, such as 00001/img00000060.png"
    assert told in score.warnings


def test_shards_have_a_description_each_or_one_for_all(drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """The same paths in two shards are two images; a shard without a description uses that of another."""
    images, classes = drawn
    for name, part in (("0", slice(0, 80)), ("1", slice(80, N))):
        packed("tar", tmp_path / "each" / name, chunks(images[part], classes[part]))
    assert open_images(tmp_path / "each").labels == [str(c) for c in classes]
    files = chunks(images, classes)
    for number in range(3):
        starts = (f"0000{number}/", *(["dataset.json"] if number == 0 else []))
        part = {name: content for name, content in files.items() if name.startswith(starts)}
        packed("tar", tmp_path / "one" / str(number), part)
    opened = open_images(tmp_path / "one")
    assert (opened.labels, opened.classes.notes) == ([str(c) for c in classes], [])


def test_a_list_of_paths_is_described_in_their_folder(drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    folder = packed("folder", tmp_path / "x", chunks(*drawn))
    assert open_images(sorted(folder.rglob("*.png"))).labels == [str(c) for c in drawn[1]]


def test_classes_named_beside_the_images_go_before_a_description(
    drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images, classes = drawn
    files = chunks(images, classes)
    for i in range(N):
        files[f"{i // 50:05}/img{i:08}.cls"] = b"7" if i % 2 else b"8"
    assert open_images(packed("tar", tmp_path / "x", files)).labels == ["87"[i % 2] for i in range(N)]


def test_the_whole_set_is_what_fid_sees(drawn: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, tmp_path: Path):
    other = rng.integers(0, 256, (N, 2, 2, 3), dtype=np.uint8)
    real = packed("zip", tmp_path / "a", chunks(*drawn))
    score = gm.fid(real, packed("zip", tmp_path / "b", chunks(other, None)), **OPTIONS)
    assert score.value == pytest.approx(frechet(drawn[0], other), rel=1e-6)
