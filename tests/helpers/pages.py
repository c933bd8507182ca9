"""A report's page as a reader has it: its text, pictures, headings; and folders to make one of."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

import ganmetrics as gm
from tests.conftest import write_folder

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


def folder_of(path: Path, n: int, rng: np.random.Generator) -> Path:
    return write_folder(path, rng.integers(0, 256, (n, 6, 6, 3), dtype=np.uint8))
