"""The pages in a real browser: nothing is asked for, nothing complains, nothing sticks out, everything can be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganmetrics as gm
from ganmetrics.report import history
from tests.conftest import write_folder
from tests.report.test_history import line, write
from tests.report.test_report import HOSTILE

pytest.importorskip("jinja2", reason="the page needs jinja2")
playwright = pytest.importorskip("playwright.sync_api", reason="pages are looked at through playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; apt-get install chromium")

WIDTHS = (375, 1280)
SCHEMES = ("light", "dark")
LOUD = 4.5  # least contrast of text, WCAG 2 AA

CONTRASTS = """() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const rgb = parts(getComputedStyle(e).backgroundColor);
      if (rgb.length < 4 || rgb[3] > 0) return rgb;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const e of document.body.querySelectorAll('*:not(title)')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e);
    const ink = parts(e.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), e.tagName + ' ' + e.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of copies under hostile names, with every section but classes, and a history."""
    folder, rng = tmp_path_factory.mktemp("pages"), np.random.default_rng(0)
    real = rng.integers(0, 250, (60, 6, 6, 3), dtype=np.uint8)
    for name, images in ((HOSTILE, real), ("fake" * 30, real[:55] + rng.integers(0, 6, (55, 6, 6, 3), dtype=np.uint8))):
        write_folder(folder / name, images)
    (folder / HOSTILE / "bad.png").write_bytes(b"no image")
    gm.evaluate(folder / HOSTILE, folder / ("fake" * 30), ["fid", "prdc"], features="pixels", on_error="skip",
                confidence=True, resamples=100, report=folder / "report.html", progress=False, cache=False)  # fmt: skip
    runs = [
        write(folder / f"run{i}" / "history.jsonl", *(line(s, fid=50 / s + i, precision=s / 99) for s in range(1, 30)))
        for i in range(9)
    ]
    history.report(runs, folder / "history.html")
    return {name: folder / f"{name}.html" for name in ("report", "history")}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "history"])
def test_page(name: str, width: int, scheme: str, browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    for details in page.query_selector_all("summary"):
        details.click()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    faint = [(round(ratio, 2), text) for ratio, text in page.evaluate(CONTRASTS) if ratio < LOUD]
    assert faint == []
    context.close()


def test_every_box_that_scrolls_can_be_reached_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 375, "height": 800})
    page.goto(pages["report"].as_uri())
    boxes = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1 &&"
        " getComputedStyle(e).overflowX === 'auto').map(e => e.tabIndex)"
    )
    assert boxes
    assert set(boxes) == {0}
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert (page.evaluate("document.activeElement.tagName"), outline) == ("A", "3px")
    page.close()


def test_verdicts_of_every_level_were_looked_at(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["report"].as_uri())
    levels = page.evaluate("[...document.querySelectorAll('.checks li')].map(e => e.className)")
    assert set(levels) == {"alarm", "note", "fine"}
    page.close()


def test_a_print_holds_what_is_folded_away(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["report"].as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("dl").first.bounding_box()["height"] > 20
    page.close()
