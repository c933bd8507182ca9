"""The page of an evaluation: what it says of bad generators, what its numbers are, whose pictures it shows."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import ganmetrics as gm
from ganmetrics.history import Scored
from ganmetrics.metrics import OF_IMAGES
from ganmetrics.report.checks import percent
from ganmetrics.report.contents import number, per_class
from ganmetrics.report.words import sentence, title
from ganmetrics.score import Score
from tests.conftest import REPOSITORY
from tests.helpers.commands import PIXELS, Cli
from tests.helpers.pages import Page, folder_of, page_of

pytest.importorskip("jinja2", reason="the page needs jinja2")


def noisy(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(images.astype(int) + rng.integers(-6, 7, images.shape), 0, 255).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(1))) for one in images])


GENERATORS: dict[str, tuple[Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray], str]] = {
    "good": (lambda train, new, rng: new, "Nothing stands out"),
    "collapsed": (lambda train, new, rng: noisy(new[:3][rng.integers(3, size=len(new))], rng), "Repeats itself"),
    "memorising": (lambda train, new, rng: noisy(train, rng), "Copies real images"),
    "blurry": (lambda train, new, rng: blurred(new), "Blurry"),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_are_told_apart_by_the_first_words(
    name: str, digits: np.ndarray, rng: np.random.Generator, tmp_path: Path
) -> None:
    mixed = digits[rng.permutation(len(digits))]
    train, new = mixed[:220], mixed[220:440]
    make, words = GENERATORS[name]
    page = page_of(train, make(train, new, rng), tmp_path / "page.html", layout="NHW")
    assert f"In short: {words}" in page.text


def test_real_images_that_are_there_twice_are_no_measure(rng: np.random.Generator, tmp_path: Path) -> None:
    few = rng.integers(0, 256, (25, 5, 5, 3), dtype=np.uint8)
    page = page_of(np.concatenate([few, few]), few[:, ::-1].repeat(3, axis=0), tmp_path / "page.html")
    assert "Most real images occur twice or more" in page.text
    assert "In short" not in page.text
    assert not re.search(r"\b(inf|nan)\b", page.text)


@pytest.mark.parametrize("n", [2, 3, 4, 49])
def test_few_images_are_shown_and_not_judged(n: int, rng: np.random.Generator, tmp_path: Path) -> None:
    images = rng.integers(0, 256, (2 * n, 5, 5, 3), dtype=np.uint8)
    page = page_of(images[:n], images[n:], tmp_path / "page.html")
    assert "In short" not in page.text
    expected = "No verdict in words: that needs 50" if n >= 4 else "not compared with real images: that needs 4"
    assert expected in page.text


HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;{{7*7}}<script>"


def test_hostile_names_are_text(rng: np.random.Generator, tmp_path: Path) -> None:
    folder_of(tmp_path / HOSTILE, 25, rng)
    (tmp_path / HOSTILE / "<b>bad.png").write_bytes(b"no image")
    undecodable = folder_of(tmp_path / "caf\udce9", 25, rng)
    page = page_of(tmp_path / HOSTILE, undecodable, tmp_path / "page.html", on_error="skip")
    assert not page.all("script")
    assert all((image["src"] or "").startswith("data:image/") for image in page.all("img"))
    assert HOSTILE in page.text
    assert "<b>bad.png: " in page.text
    assert "caf\\xe9" in page.text


def test_the_page_needs_nothing_else(rng: np.random.Generator, tmp_path: Path) -> None:
    page = page_of(folder_of(tmp_path / "a", 25, rng), folder_of(tmp_path / "b", 25, rng), tmp_path / "page.html")
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not {"script", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert "http" not in re.sub(r"base64,[^\"]*", "", (tmp_path / "page.html").read_text()).replace("http-equiv", "")


def test_headings_alternatives_and_scopes(rng: np.random.Generator, tmp_path: Path) -> None:
    page = page_of(folder_of(tmp_path / "a", 25, rng), folder_of(tmp_path / "b", 25, rng), tmp_path / "page.html")
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 == levels.count(1)
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(image["alt"] for image in page.all("img"))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert all(plot.get("aria-label") or plot.get("aria-hidden") for plot in page.all("svg"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}


def test_scores_are_the_same_with_a_page(rng: np.random.Generator, tmp_path: Path) -> None:
    real, fake = folder_of(tmp_path / "a", 30, rng), folder_of(tmp_path / "b", 30, rng)
    options = {"features": "pixels", "progress": False, "confidence": True, "resamples": 100}
    without = gm.evaluate(real, fake, ["fid", "prdc"], **options)
    with_page = gm.evaluate(real, fake, ["fid", "prdc"], report=tmp_path / "page.html", **options)
    cached = gm.evaluate(real, fake, ["fid", "prdc"], report=tmp_path / "page.html", **options)
    assert [score.value for score in without.values()] == [score.value for score in with_page.values()]
    assert [score.value for score in without.values()] == [score.value for score in cached.values()]
    text = Page((tmp_path / "page.html").read_text()).text
    for score in without.values():
        assert number(score.value) in text
        assert score.interval is None or "{} to {}".format(*map(number, score.interval)) in text
    assert any(score.interval for score in without.values())
    assert "cannot be read again" not in text


def test_statistics_files_have_no_pictures(rng: np.random.Generator, tmp_path: Path) -> None:
    real, fake = folder_of(tmp_path / "a", 30, rng), folder_of(tmp_path / "b", 30, rng)
    gm.stats(real, features="pixels", progress=False).save(tmp_path / "real.npz")
    page = page_of(tmp_path / "real.npz", fake, tmp_path / "page.html")
    assert "The real side is a statistics file: it holds no pictures" in page.text
    assert "fakes are not compared with real images" in page.text
    assert [image["alt"] for image in page.all("img")] == ["30 fake images, drawn at random"]


def test_values_by_class_are_a_table() -> None:
    score = Score("fid", 5.0, "lower", protocol={"per_class": {"<cat>": 3.0, "dog": {"value": 7.5, "rank": 2}}})
    table = per_class("fid", score, {"real": {"<cat>": 9, "dog": 4, "bird": 1}})
    assert table is not None
    assert table.columns == ["value", "real images", "rank"]
    assert table.rows == [("dog", ["7.5000", "4", "2"]), ("<cat>", ["3.0000", "9", "-"])]


def test_classes_are_on_the_page(rng: np.random.Generator, tmp_path: Path) -> None:
    for side in ("real", "fake"):
        for name, n in (("<i>cat", 12), ("dog", 15)):
            folder_of(tmp_path / side / name, n, rng)
    page = page_of(tmp_path / "real", tmp_path / "fake", tmp_path / "page.html", ("class-fid",))
    assert not page.all("i")
    table = page.text.partition("the worst class first")[2].partition("How it was measured")[0]
    assert re.search(r"<i>cat\d+\.\d{4}1212\b", table)
    assert re.search(r"dog\d+\.\d{4}1515 ", table)


def test_the_command_line_that_ran_is_quoted(rng: np.random.Generator, cli: Cli) -> None:
    folder_of(Path("my real"), 25, rng)
    folder_of(Path("fa'ke"), 25, rng)
    arguments = ["fid", "my real", "fa'ke", *PIXELS, "--no-cache", "--report", "a page.html"]
    ran = cli(*arguments)
    assert ran.code == 0
    code = Path("a page.html").read_text().partition("<code>")[2].partition("</code>")[0]
    words = []
    parser = HTMLParser()
    parser.handle_data = words.append
    parser.feed(code)
    parser.close()
    assert shlex.split("".join(words)) == ["ganmetrics", *arguments]


def test_the_call_of_the_library_is_python(rng: np.random.Generator, tmp_path: Path) -> None:
    real, fake = folder_of(tmp_path / "it's", 25, rng), folder_of(tmp_path / "b", 25, rng)
    text = page_of(str(real), str(fake), tmp_path / "page.html", ("prdc", "fid"), seed=3).text
    call = re.search(r"gm\.evaluate\(.*?html'\)", text)
    assert call is not None
    (tmp_path / "page.html").unlink()
    scores = eval(call[0], {"gm": gm})
    assert list(scores) == ["precision", "recall", "density", "coverage", "fid"]
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize(("share", "text"), [(0, "0 %"), (0.004, "under 1 %"), (0.313, "31 %"), (0.998, "over 99 %")])
def test_shares_are_never_rounded_to_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text


def test_the_commands_of_the_docs_run(rng: np.random.Generator, cli: Cli) -> None:
    folder_of(Path("real"), 40, rng)
    folder_of(Path("fake"), 40, rng)
    line = Scored(1, {"fid": Score("fid", 3.0, "lower")}, True, 1.0).to_json()
    for run in ("a", "b"):
        Path(f"runs/{run}").mkdir(parents=True)
        Path(f"runs/{run}/history.jsonl").write_text(line + "\n")
    commands = re.findall(r"^\$ ganmetrics (.*)$", (REPOSITORY / "docs" / "report.md").read_text(), flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert cli(*shlex.split(command), *["--no-cache"] * command.startswith("evaluate")).code == 0
    assert {"report.html", "curves.html"} <= {path.name for path in Path().iterdir()}


def test_every_value_over_images_has_its_sentence() -> None:
    values = [value for entry in OF_IMAGES.values() for value in entry.values]
    assert [value for value in values if not sentence(value)] == []
    assert title("recall@timm:vgg16") == "Recall"
    assert title("fid") == "Fréchet Inception Distance"


def test_metrics_on_an_extractor_of_their_own_need_no_other(rng: np.random.Generator, tmp_path: Path) -> None:
    real, fake = folder_of(tmp_path / "a", 25, rng), folder_of(tmp_path / "b", 25, rng)
    options = {"weights": tmp_path / "no-such.pth", "progress": False, "cache": False}
    gm.evaluate(real, fake, ["fid@pixels"], report=tmp_path / "page.html", **options)
    assert "seen through pixels" in Page((tmp_path / "page.html").read_text()).text
