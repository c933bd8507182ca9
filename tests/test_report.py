"""The page of an evaluation: what it says of bad generators, what its numbers are, whose pictures it shows."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shlex
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

import ganmetrics as gm
from ganmetrics.errors import OptionError, PartialError
from ganmetrics.history import Scored
from ganmetrics.metrics import METRICS
from ganmetrics.report.checks import percent
from ganmetrics.report.contents import number, per_class
from ganmetrics.report.page import require_writable
from ganmetrics.report.words import sentence, title
from ganmetrics.score import Score
from tests.conftest import PIXELS, REPOSITORY, Cli, write_folder

pytest.importorskip("jinja2", reason="the page needs jinja2")
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes, and the text, of a page whose tags must fit into each other."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(real: object, fake: object, path: Path, metrics: tuple[str, ...] = ("fid",), **options: object) -> Page:
    gm.evaluate(real, fake, metrics, features="pixels", report=path, progress=False, cache=False, **options)
    return Page(path.read_text(encoding="utf-8"))


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
    assert "Most real images are there twice or more" in page.text
    assert "In short" not in page.text
    assert not re.search(r"\b(inf|nan)\b", page.text)


@pytest.mark.parametrize("n", [2, 3, 4, 49])
def test_few_images_are_shown_and_not_judged(n: int, rng: np.random.Generator, tmp_path: Path) -> None:
    images = rng.integers(0, 256, (2 * n, 5, 5, 3), dtype=np.uint8)
    page = page_of(images[:n], images[n:], tmp_path / "page.html")
    assert "In short" not in page.text
    expected = "No verdict in words: that takes 50" if n >= 4 else "not held against real images: that takes 4"
    assert expected in page.text


def folder_of(path: Path, n: int, rng: np.random.Generator) -> Path:
    return write_folder(path, rng.integers(0, 256, (n, 6, 6, 3), dtype=np.uint8))


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
    assert "fakes are not held against real ones" in page.text
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


def unreadable(n: int) -> torch.Tensor:
    raise AssertionError("the work began")


MISTAKES = {
    "page.txt": "--report: expected a name that ends in .html, came {path!r}",
    "a folder.html": "--report {path}: is a folder; expected the name of a page",
    "nowhere/page.html": "--report {path}: its folder does not exist or cannot be written to",
    "mine.html": "--report {path}: is there already and is no report of ganmetrics; choose another name",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_before_the_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "a folder.html").mkdir()
    (tmp_path / "mine.html").write_text("<p>my own</p>")
    path = tmp_path / name
    with pytest.raises(OptionError) as error:
        gm.evaluate(unreadable, unreadable, ["fid"], features="pixels", n_samples=30, report=path, progress=False)
    assert str(error.value) == MISTAKES[name].format(path=str(path))


def test_a_report_is_replaced(rng: np.random.Generator, tmp_path: Path) -> None:
    real, fake = folder_of(tmp_path / "a", 5, rng), folder_of(tmp_path / "b", 5, rng)
    first = page_of(real, fake, tmp_path / "page.html").text
    assert page_of(fake, real, tmp_path / "page.html").text != first
    assert [path.name for path in tmp_path.glob("*page*")] == ["page.html"]


def test_a_disk_that_fills_up_does_not_cost_the_scores(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real, fake = folder_of(tmp_path / "a", 5, rng), folder_of(tmp_path / "b", 5, rng)
    path = tmp_path / "page.html"
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(PartialError) as caught:
        gm.evaluate(real, fake, ["fid"], features="pixels", report=path, progress=False, cache=False)
    assert str(caught.value) == f"--report: {path}: cannot be written (No space left on device)"
    assert list(caught.value.scores) == ["fid"]
    assert list(tmp_path.glob("*.html*")) == []
    assert list(tmp_path.glob(".*.html*")) == []


def test_without_jinja2_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(OptionError, match=r"^--report needs jinja2: pip install 'ganmetrics\[report\]'$"):
        require_writable(tmp_path / "page.html")


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
    values = [value for entry in METRICS.values() if set(entry.sides) <= {"real", "fake"} for value in entry.values]
    assert [value for value in values if not sentence(value)] == []
    assert title("recall@timm:vgg16") == "Recall"
    assert title("fid") == "Fréchet Inception Distance"


def test_metrics_on_an_extractor_of_their_own_need_no_other(rng: np.random.Generator, tmp_path: Path) -> None:
    real, fake = folder_of(tmp_path / "a", 25, rng), folder_of(tmp_path / "b", 25, rng)
    options = {"weights": tmp_path / "no-such.pth", "progress": False, "cache": False}
    gm.evaluate(real, fake, ["fid@pixels"], report=tmp_path / "page.html", **options)
    assert "seen through pixels" in Page((tmp_path / "page.html").read_text()).text
