"""Every text says over how many classes a value is and names the first; folders that may be no classes are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import ganmetrics as gm
from ganmetrics.images.classes import FOLDERS, Classes, doubt
from ganmetrics.report.text import FORMATS
from ganmetrics.score import Score
from tests.helpers.cached import OPTIONS
from tests.helpers.commands import PIXELS, Cli
from tests.helpers.packed import KINDS, packed
from tests.helpers.pictures import png

OVER = Score("class-fid", 1.5, "lower", n_real=9, protocol={"features": "pixels", "per_class": {"b": 1, "a": 2}})
ALONE = Score("fid", 2.5, "lower", n_real=9, protocol={"features": "pixels"})


def test_every_text_names_the_classes() -> None:
    assert str(OVER) == f"{OVER}" == "class-fid 1.5000 over 2 classes: a, b"
    assert FORMATS["text"]([OVER]) == "class-fid 1.5000 over 2 classes: a, b  (9 real; pixels)"
    several = OVER.with_(metric="intra-class-diversity")
    for style in ("text", "markdown"):
        assert FORMATS[style]([OVER, several]).splitlines()[-1] == "(9 real; pixels; 2 classes: a, b)"
        head, *_, over, fid, how = [line for line in FORMATS[style]([OVER, ALONE]).splitlines() if line]
        assert head.rstrip(" |").endswith("over")
        assert over.rstrip(" |").endswith("2 classes: a, b")
        assert "classes" not in fid
        assert how == "(9 real; pixels)"
    assert (str(ALONE), f"{OVER:.1f}") == ("fid 2.5000", "1.5")


def test_many_classes_and_odd_names() -> None:
    many = OVER.with_(protocol={"per_class": {str(i): 0.0 for i in sorted(range(12), key=str)}})
    assert many.classes() == "12 classes: 0, 1, 2, 3, 4 and 7 more"
    assert OVER.with_(protocol={"per_class": {"c\nt": 0.0}}).classes() == "1 class: c\\nt"


def labels(sizes: dict[str, int]) -> Classes:
    return Classes([name for name, n in sizes.items() for _ in range(n)], FOLDERS)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("train val test", "test, train, val are names of parts of a set"),
        ("train test", "test, train are names of parts of a set"),
        ("Training validation", "Training, validation are names of parts of a set"),
        ("trainA trainB testA testB", "testA, testB, trainA, trainB are names of parts of a set"),
        ("train2017 val2017", "train2017, val2017 are names of parts of a set"),
        ("images masks", "images is a name of parts of a set"),
        ("cat dog test", "test is a name of parts of a set"),
        ("real fake", "fake, real are names of parts of a set"),
        ("train other", "train is a name of parts of a set"),
        ("chunk_0 chunk_1 chunk_10", "chunk_0, chunk_1, chunk_10 are names of chunks of one list"),
        ("part-1 part-2", "part-1, part-2 are names of chunks of one list"),
        ("cat dog", None),
        ("bus car train", None),
        ("n01440764 n01443537", None),
        ("A B C", None),
        ("imagery testament realistic", None),
    ],
)
def test_names_that_are_hardly_classes(names: str, said: str | None) -> None:
    assert doubt(labels({name: 10 + i for i, name in enumerate(names.split())})) == said


@pytest.mark.parametrize(
    ("names", "counts", "doubted"),
    [
        ("00000 00001 00002", (1000, 1000, 1000), True),
        ("00000 00001 00002", (1000, 1000, 7), True),
        ("00000 00001", (1000, 7), True),
        ("0 1 2 10", (50, 50, 50, 8), True),
        ("1 2", (50, 50), True),
        ("0 1", (50, 8), False),  # two classes of other sizes
        ("0 1 2", (50, 50, 51), False),
        ("0 1 2", (50, 40, 50), False),
        ("0 1 x", (50, 50, 50), False),
    ],
)
def test_numbers_of_equal_size_may_be_chunks(names: str, counts: Sequence[int], doubted: bool) -> None:
    found = doubt(labels(dict(zip(names.split(), counts, strict=True))))
    assert found == (f"they are numbers, with {counts[0]} images each, as chunks of one list are" if doubted else None)


def test_classes_that_are_stated_are_not_doubted() -> None:
    for origin in ("dataset.json", ".cls files", "the dataset"):
        assert doubt(Classes(["0", "1"] * 50, origin)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_over_splits_warns_and_one_over_classes_does_not(
    kind: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    def score(side: str, parts: Sequence[str]) -> gm.Score:
        images = rng.integers(0, 256, (len(parts), 20, 2, 2, 3), dtype=np.uint8)
        files = {f"{part}/{i}.png": png(images[j, i]) for j, part in enumerate(parts) for i in range(20 - j)}
        source = packed(kind, tmp_path / side, files)
        return gm.evaluate(None, source, ["intra-class-diversity"], **OPTIONS)["intra-class-diversity"]

    splits, classes = score("a", ["train", "val"]), score("b", ["cat", "dog"])
    assert splits.warnings == [
        "fake classes: the folders were taken for classes, but train, val are names of parts of a set; a value over "
        "no real classes means nothing: give a folder of class folders, or a dataset.json"
    ]
    assert (classes.warnings, classes.protocol["classes"]) == ([], {"fake": "folders"})


def test_saved_statistics_say_it_where_classes_are_used(rng: np.random.Generator, tmp_path: Path) -> None:
    images = rng.integers(0, 256, (2, 20, 2, 2, 3), dtype=np.uint8)
    files = {f"{part}/{i}.png": png(images[j, i]) for j, part in enumerate(("train", "val")) for i in range(20)}
    gm.stats(packed("folder", tmp_path / "x", files), keep="vectors", **OPTIONS).save(tmp_path / "x.npz")
    scores = gm.evaluate(None, tmp_path / "x.npz", ["intra-class-diversity", "vendi"], **OPTIONS)
    told = [text for text in scores["intra-class-diversity"].warnings if "parts of a set" in text]
    assert [text[:60] for text in told] == ["fake classes: the folders were taken for classes, but train,"]
    assert not [text for text in scores["vendi"].warnings if "classes" in text]
    assert "class_notes" not in scores["vendi"].protocol


def test_the_command_line_and_the_page_say_it(class_folders: tuple[Path, Path], cli: Cli) -> None:
    ran = cli("class-fid", *class_folders, *PIXELS, "--report", "page.html")
    assert " over 2 classes: a, b  (" in ran.out
    assert "; 2 classes: a, b" in Path("page.html").read_text()
    table = cli("evaluate", *class_folders, *PIXELS, "-m", "fid,class-fid").out
    assert "2 classes: a, b" in table
    assert "classes" not in cli("fid", *class_folders, *PIXELS).out
