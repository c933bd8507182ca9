"""Where a report is written: what is told before the work, and what a full disk costs."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, PartialError
from ganmetrics.report.page import require_writable
from tests.helpers.pages import folder_of, page_of

pytest.importorskip("jinja2", reason="the page needs jinja2")


def unreadable(n: int) -> torch.Tensor:
    raise AssertionError("the work began")


MISTAKES = {
    "page.txt": "--report: expected a name that ends in .html, got {path!r}",
    "a folder.html": "--report {path}: is a folder; choose another name",
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
