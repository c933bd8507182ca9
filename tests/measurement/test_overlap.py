"""Images that both sides hold are told, with their number: by bytes for files, by place for arrays and datasets."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganmetrics as gm
from ganmetrics.images import open_images, stored
from tests.conftest import write_folder
from tests.helpers.cached import OPTIONS
from tests.helpers.commands import PIXELS, Cli, torchrun
from tests.helpers.packed import KINDS, packed
from tests.helpers.pictures import png


def told(real: object, fake: object, **options: object) -> list[str]:
    warnings = gm.fid(real, fake, **{**OPTIONS, **options}).warnings
    return [text for text in warnings if "among the real ones" in text or "same source" in text]


@pytest.fixture
def drawn(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)


def files(images: np.ndarray, start: int = 0, folder: str = "") -> dict[str, bytes]:
    return {f"{folder}{start + i:04}.png": png(image) for i, image in enumerate(images)}


@pytest.mark.parametrize("real_kind", KINDS)
@pytest.mark.parametrize("fake_kind", KINDS)
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.usefixtures("statistics_cache")
def test_files_of_equal_bytes_are_counted(
    real_kind: str, fake_kind: str, cache: bool, drawn: np.ndarray, tmp_path: Path
) -> None:
    """Under other names and in another order, the second time with the real side from the cache."""
    real = packed(real_kind, tmp_path / "real", files(drawn[:40]))
    fake = packed(fake_kind, tmp_path / "fake", files(drawn[:29:-1], 500, "of/a/model/"))
    for _ in range(2):
        first = f"{fake}/of/a/model/0520.png"
        expected = f"10 of the 30 fake images are among the real ones too, byte for byte, such as {first}"
        assert told(real, fake, cache=cache) == [expected]
    assert told(packed(real_kind, tmp_path / "rest", files(drawn[:30])), fake, cache=cache) == []


def test_images_that_are_there_twice_count_as_often_as_they_are_fakes(drawn: np.ndarray, tmp_path: Path) -> None:
    real = packed("folder", tmp_path / "real", {**files(drawn[:20]), **files(drawn[:20], 100)})
    fake = packed("zip", tmp_path / "fake", {**files(drawn[18:30]), **files(drawn[18:30], 100)})
    (text,) = told(real, fake)
    assert text.startswith("4 of the 24 fake images are among the real ones too, byte for byte")


def test_one_side_inside_the_other(drawn: np.ndarray, tmp_path: Path, cli: Cli) -> None:
    packed("folder", Path("outer"), {**files(drawn[:40]), **files(drawn[40:], folder="generated/")})
    ran = cli("fid", "outer", "outer/generated", *PIXELS)
    assert (
        "Warning: all 20 fake images are among the real ones too, byte for byte, such as outer/generated/0000.png; one "
        "side lies inside the other: --exclude 'real:/generated/' leaves it out there\n"
    ) in ran.err
    ran = cli("fid", "outer", "outer/generated", *PIXELS, "--exclude", "real:/generated/")
    assert "among" not in ran.err
    assert "(40 real, 20 fake;" in ran.out
    ran = cli("fid", "outer/generated", "outer", *PIXELS)
    assert "Warning: 20 of the 60 fake images are among the real ones too" in ran.err
    assert "--exclude 'fake:/generated/' leaves it out there" in ran.err
    os.symlink("outer", "link")
    assert "one side lies inside the other" in cli("fid", "link", "outer/generated", *PIXELS).err


def test_the_same_place_is_the_same_file_without_reading(
    drawn: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed("folder", tmp_path / "x", files(drawn))
    (tmp_path / "y").mkdir()
    for path in sorted((tmp_path / "x").iterdir())[:7]:
        os.link(path, tmp_path / "y" / f"hard-{path.name}")
    os.symlink(tmp_path / "x" / "0050.png", tmp_path / "y" / "soft.png")
    monkeypatch.setattr(stored.StoredFiles, "mark", None)
    (text,) = told(tmp_path / "x", tmp_path / "y", cache=False)
    assert text.startswith("all 8 fake images are among")


def test_files_that_only_look_alike_are_none(rng: np.random.Generator, tmp_path: Path) -> None:
    """Of equal length, and equal in the middle and at the end, where their traces are taken."""
    images = np.zeros((40, 40, 40, 3), np.uint8)
    images[:, 30] = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for side, own in (("real", images[:20]), ("fake", images[20:])):
        write_folder(tmp_path / side, own, "bmp")
    one, other = (open_images(tmp_path / side) for side in ("real", "fake"))
    assert one.shared_with(other) == []
    assert len({*one._all_traces(), *other._all_traces()}) == 1
    assert told(tmp_path / "real", tmp_path / "fake") == []
    write_folder(tmp_path / "real", images[:25], "bmp")
    (text,) = told(tmp_path / "real", tmp_path / "fake")
    assert text.startswith("5 of the 20 fake images")


def test_empty_and_broken_files_are_not_the_same_image(drawn: np.ndarray, tmp_path: Path) -> None:
    for side, own in (("real", drawn[:30]), ("fake", drawn[30:])):
        write_folder(tmp_path / side, own)
        (tmp_path / side / "empty.png").touch()
        os.symlink("nowhere", tmp_path / side / "gone.png")
    assert told(tmp_path / "real", tmp_path / "fake", on_error="skip") == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_chosen_counts(kind: str, drawn: np.ndarray, tmp_path: Path) -> None:
    names = {**files(drawn[:30], folder="a/"), **files(drawn[30:], folder="b/")}
    source = packed(kind, tmp_path / "x", names)
    assert told(source, source, include=["real:a/*", "fake:b/*"]) == []
    (text,) = told(source, source, include=["fake:b/*"])
    assert text.startswith("all 30 fake images are among the real ones too")
    assert told(source, source)[0].startswith("real and fake are the same source")


def test_prepared_images_are_compared_as_they_are_stored(drawn: np.ndarray, tmp_path: Path) -> None:
    real, fake = packed("zip", tmp_path / "a", files(drawn[:40])), packed("folder", tmp_path / "b", files(drawn[30:]))
    (text,) = told(real, fake, prepare=2)
    assert text.startswith("10 of the 30 fake images")


def test_lists_of_paths_and_globs(drawn: np.ndarray, tmp_path: Path) -> None:
    folder = packed("folder", tmp_path / "x", files(drawn))
    paths = sorted(folder.iterdir())
    (text,) = told(paths[:40], paths[35:])
    assert text.startswith("5 of the 25 fake images are among the real ones too")
    (text,) = told(f"{folder}/00[0-3]*.png", paths[30:])
    assert text.startswith("10 of the 30 fake images")


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        ("digits[0:100]", "digits[50:150]", "50 of the 100 fake images are among the real ones too"),
        ("digits", "digits[5:105]", "all 100 fake images are among the real ones too"),
        ("digits[0:100]", "digits[100:200]", None),
    ],
)
def test_slices_of_a_dataset(real: str, fake: str, expected: str | None) -> None:
    assert told(real, fake) == ([expected] if expected else [])


def test_arrays_in_files(drawn: np.ndarray, tmp_path: Path) -> None:
    for i in range(6):
        np.save(tmp_path / f"part_{i}.npy", drawn[10 * i : 10 * i + 10])
    np.savez(tmp_path / "x.npz", one=drawn[:30], two=drawn[30:])
    glob, options = f"{tmp_path}/part_{{}}.npy", {"layout": "NHWC"}
    expected = ["10 of the 40 fake images are among the real ones too"]
    assert told(glob.format("[0-2]"), glob.format("[2-5]"), **options) == expected
    assert told(glob.format("[0-2]"), glob.format("[3-5]"), **options) == []
    (text,) = told(glob.format("*"), glob.format("3"), **options)
    assert text == "all 10 fake images are among the real ones too"
    assert told(f"{tmp_path}/x.npz:one", f"{tmp_path}/x.npz:two", **options) == []


def test_every_metric_is_told_once_and_the_sides_are_compared_once(
    drawn: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    compared = stored.StoredFiles._compared_with
    monkeypatch.setattr(
        stored.StoredFiles, "_compared_with", lambda own, other: calls.append(1) or compared(own, other)
    )
    real, fake = (
        packed("folder", tmp_path / "a", files(drawn[:40])),
        packed("folder", tmp_path / "b", files(drawn[30:])),
    )
    scores = gm.evaluate(real, fake, ["fid", "kid", "prdc"], **OPTIONS)
    for score in scores.values():
        assert len([text for text in score.warnings if "among the real ones" in text]) == 1
    assert calls == [1]


def test_traces_are_taken_while_images_are_read(
    drawn: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no file of a set of its own is opened again."""
    real, fake = (
        packed("folder", tmp_path / name, files(part)) for name, part in (("a", drawn[:30]), ("b", drawn[30:]))
    )
    opened: list[int] = []
    monkeypatch.setattr(stored.StoredFiles, "_take_trace", lambda own, index: opened.append(index) or b"")
    assert told(real, fake, cache=False) == []
    assert opened == []


def test_several_processes(drawn: np.ndarray, tmp_path: Path) -> None:
    real, fake = packed("tar", tmp_path / "a", files(drawn[:40])), packed("folder", tmp_path / "b", files(drawn[30:]))
    ran = torchrun("-m", "ganmetrics", "fid", real, fake, *PIXELS, "--batch-size=8", "--json", "--no-cache")
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    assert any(text.startswith("10 of the 30 fake images") for text in json.loads(line)["warnings"])


def test_a_picture_of_another_format_is_another_file(drawn: np.ndarray, tmp_path: Path) -> None:
    """What is compared are bytes, not pixels."""

    def bmp(image: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "bmp")
        return file.getvalue()

    real = packed("folder", tmp_path / "a", files(drawn))
    fake = packed("folder", tmp_path / "b", {f"{i}.bmp": bmp(image) for i, image in enumerate(drawn)})
    assert told(real, fake) == []
