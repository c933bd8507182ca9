"""Several metrics at once: what cannot be is told before the work, and what fails does not take the others with it."""

from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import PartialError, StatisticsError
from ganmetrics.measurement.measurement import configured, require_counts
from ganmetrics.measurement.settings import Settings
from ganmetrics.report.page import require_writable
from tests.conftest import write_folder
from tests.helpers.commands import PIXELS, Cli

QUIET = (*PIXELS, "--quiet")


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 256, (n, 2, 2, 3), dtype=np.uint8)


@pytest.fixture
def copies(tmp_path: Path, rng: np.random.Generator) -> None:
    """Real images and fakes that are copies of them, which have no MiFID."""
    images = draw(rng, 70)
    write_folder(tmp_path / "real", images)
    write_folder(tmp_path / "fake", images)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading of images that must not begin."""
    monkeypatch.setattr("ganmetrics.measurement.reading.extract_parts", None)


# --- one metric fails


@pytest.mark.usefixtures("copies")
def test_the_scores_of_the_others_are_kept(cli: Cli) -> None:
    with pytest.raises(PartialError, match=r"^mifid: MiFID is FID over .*: the fakes are copies") as caught:
        gm.evaluate("real", "fake", ["fid", "mifid", "kid"], features="pixels")
    assert list(caught.value.scores) == ["fid", "kid"]
    assert {name: type(error) for name, error in caught.value.errors.items()} == {"mifid": StatisticsError}
    assert caught.value.scores["kid"].value == gm.kid("real", "fake", features="pixels").value
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.scores) == (str(caught.value), caught.value.scores)
    with pytest.raises(StatisticsError, match=r"^MiFID is FID over"):
        gm.evaluate("real", "fake", ["mifid"], features="pixels")


@pytest.mark.usefixtures("copies")
def test_the_command_prints_the_others_and_fails(cli: Cli) -> None:
    ran = cli("evaluate", "real", "fake", "-m", "fid,mifid,kid", *QUIET, "--json", "--report", "page.html")
    assert ran.code == 1
    assert [json.loads(line)["metric"] for line in ran.out.splitlines()] == ["fd-pixels", "kd-pixels"]
    (line,) = ran.err.splitlines()
    assert line.startswith("Error: mifid: MiFID is FID over")
    page = Path("page.html").read_text()
    assert "no score of mifid: MiFID is FID over" in page
    assert "fid,mifid,kid" in page
    assert "Kernel Inception Distance" in page


@pytest.mark.usefixtures("copies")
def test_a_single_metric_that_fails_says_nothing_else(cli: Cli) -> None:
    assert cli("mifid", "real", "fake", *QUIET).error.startswith("MiFID is FID over")


def test_an_evaluator_keeps_them_too(rng: np.random.Generator) -> None:
    images = torch.from_numpy(draw(rng, 70)).permute(0, 3, 1, 2).contiguous()
    evaluator = gm.Evaluator(["mifid", "fid"], images, features="pixels")
    evaluator.update(images)
    with pytest.raises(PartialError) as caught:
        evaluator.compute()
    assert list(caught.value.scores) == ["fid"]


# --- too few images


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("metric", "real", "fake", "options", "said"),
    [
        ("fid", 1, 40, {}, "a Fréchet distance needs at least 2 real images, got 1"),
        ("fid", 40, 1, {}, "a Fréchet distance needs at least 2 fake images, got 1"),
        ("fid-infinity", 40, 29, {}, "FID-infinity needs at least 30 fake images, got 29"),
        ("fid-infinity", 1, 30, {}, "FID-infinity needs at least 2 real images, got 1"),
        ("kid", 40, 1, {}, "a kernel distance needs at least 2 fake images, got 1"),
        ("cmmd", 1, 40, {}, "a kernel distance needs at least 2 real images, got 1"),
        ("vendi", 40, 1, {}, "a Vendi score needs at least 2 fake images, got 1"),
        ("authenticity", 1, 40, {}, "authenticity needs at least 2 real images, got 1"),
        ("mifid", 40, 1, {}, "MiFID needs at least 2 fake images, got 1"),
        ("prdc", 40, 5, {}, "precision, recall, density and coverage with k = 5 need at least 6 fake images, got 5; "
         "give more images or a smaller --k"),
        ("prdc", 40, 40, {"k": 5000}, "precision, recall, density and coverage with k = 5000 need at least 5001 real "
         "images, got 40; give more images or a smaller --k"),
    ],
)  # fmt: skip
def test_too_few_images_are_told_before_they_are_read(
    metric: str, real: int, fake: int, options: dict[str, Any], said: str, rng: np.random.Generator
) -> None:
    with pytest.raises(StatisticsError) as caught:
        gm.evaluate(draw(rng, real), draw(rng, fake), [metric], **{"features": "pixels", "cache": False, **options})
    assert str(caught.value) == said


def test_what_is_refused_by_number_is_what_cannot_be_computed(rng: np.random.Generator) -> None:
    """`least` is the least: with one image fewer there is no value, with as many there is."""
    for name in ("fid", "fid-infinity", "kid", "cmmd", "vendi", "authenticity", "mifid", "prdc"):
        (one,) = configured([name], Settings(features="pixels"))
        for side in one.metric.sides:
            for short in (False, True):
                one.metric.reset()
                for other in one.metric.sides:
                    n = one.metric.least(other) if other == side else 40
                    vectors = torch.from_numpy(rng.standard_normal((n, 3)))
                    one.metric.update(vectors[short and other == side :], other)
                if short:
                    with pytest.raises(StatisticsError):
                        one.metric.results()
                else:
                    assert one.metric.results()


def test_counts_that_are_known_beforehand() -> None:
    measurements = configured(["fid", "prdc"], Settings(features="pixels", k=9))
    require_counts(measurements, {"fake": 10})
    with pytest.raises(StatisticsError, match=r"with k = 9 need at least 10 fake images, got 9;"):
        require_counts(measurements, {"fake": 9})


# --- classes


@pytest.mark.usefixtures("unread")
def test_unlike_classes_are_told_before_images_are_read(tmp_path: Path, rng: np.random.Generator, cli: Cli) -> None:
    for side, names in (("real", "ab"), ("fake", "ac"), ("lone", "ab")):
        for name in names:
            write_folder(tmp_path / side / name, draw(rng, 1 if (side, name) == ("lone", "b") else 4))
    assert cli("class-fid", "real", "fake", *QUIET).error == (
        "class-fid: expected the same classes on both sides, got no real image of c; no fake image of b; name the "
        "class folders alike"
    )
    for metric, sides in (("class-fid", ["real", "lone"]), ("intra-class-diversity", ["lone"])):
        said = cli(metric, *sides, *QUIET).error
        assert said == f"{metric}: expected at least 2 fake images of every class, got 1 of b"


def test_images_beside_class_folders_are_named(tmp_path: Path, rng: np.random.Generator, cli: Cli) -> None:
    for name in ("a", "b"):
        write_folder(tmp_path / "fake" / name, draw(rng, 3))
    write_folder(tmp_path / "fake", draw(rng, 1))
    assert cli("intra-class-diversity", "fake", *QUIET).error == (
        "intra-class-diversity: expected fake images with classes (a folder of class folders, or a dataset), and fake "
        "has none: 1 image lies outside of its class folders, such as fake/00000.png"
    )
    write_folder(tmp_path / "plain", draw(rng, 3))
    assert cli("intra-class-diversity", "plain", *QUIET).error.endswith("and plain has none")


# --- a real side that nothing compares with


UNUSED = "no metric that was asked for compares with the real images"


def test_a_real_side_that_no_metric_compares_with(tmp_path: Path, rng: np.random.Generator, cli: Cli) -> None:
    """It was ignored without a word, even where there was no such folder."""
    for side in ("real", "fake"):
        write_folder(tmp_path / side, draw(rng, 30))
    assert cli("evaluate", "nonexistent", "fake", "-m", "vendi", *QUIET).error.startswith("nonexistent: no such file")
    (score,) = cli("evaluate", "real", "fake", "-m", "vendi", *QUIET, "--json").scores
    assert UNUSED in score["warnings"]
    alone = gm.evaluate(None, "fake", ["vendi"], features="pixels")["vendi"]
    assert (UNUSED in alone.warnings, alone.value) == (False, score["value"])
    ran = cli("evaluate", "real", "fake", "-m", "vendi", *QUIET, "--report", "page.html")
    assert ran.code == 0
    assert "30 real images and 30 fake images" in Path("page.html").read_text()


# --- the page


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
@pytest.mark.usefixtures("unread", "copies")
def test_a_folder_that_takes_no_file_is_told_before_the_work(cli: Cli) -> None:
    said = cli("fid", "real", "fake", *QUIET, "--report", "/proc/x.html").error
    assert said.startswith("--report /proc/x.html: ")


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    require_writable(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("copies")
def test_a_page_that_cannot_be_written_after_all(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    ran = cli("vendi", "fake", *QUIET, "--report", "page.html")
    assert ran.code == 1
    assert ran.out.startswith("vendi-pixels ")
    assert ran.err.splitlines()[-1] == "Error: --report: page.html: cannot be written (No space left on device)"


# --- what came instead


def test_statistics_for_a_metric_over_images_name_it(cli: Cli, real_and_fake: dict[str, np.ndarray]) -> None:
    assert cli("stats", "real", "-o", "real.npz", *QUIET).code == 0
    assert cli("evaluate", "real.npz", "fake", "-m", "fid,prdc", *QUIET).error == (
        "prdc: needs the real images themselves, and real.npz holds statistics without them; "
        "give the images, or statistics made with ganmetrics stats -m prdc"
    )


def test_one_image_left_out_is_one(cli: Cli, real_and_fake: dict[str, np.ndarray]) -> None:
    Path("fake/00000.png").write_bytes(b"no image")
    (score,) = cli("fid", "real", "fake", *QUIET, "--json", "--on-error", "skip").scores
    assert "1 fake image was skipped; the score lists them" in score["warnings"]


def test_a_folder_among_the_entries_of_the_cache(
    cli: Cli, real_and_fake: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "1GB")
    Path(".cache/statistics/x.statistics").mkdir(parents=True)
    assert cli("fid", "real", "fake", *QUIET).code == 0
    ran = cli("cache", "clear")
    assert (ran.code, ran.out.startswith("removed 1 entry, ")) == (0, True)
    assert cli("cache", "list").out.startswith("0 entries, ")


def test_a_cache_that_is_no_folder(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("GANMETRICS_CACHE", str(Path("file").resolve()))
    for command in ("list", "clear"):
        said = cli("cache", command).error
        assert said == f"{Path('file').resolve()}: is no folder; name one by GANMETRICS_CACHE"
