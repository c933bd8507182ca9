"""docs/architecture.md matches the code: parts and their order, no import cycles, short files and functions."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("ganmetrics", "reference_models")
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
ENTRY_FILES = {"__init__", "__main__"}  # of a package: they only re-export names
LONGEST_FILE, MEDIAN_FUNCTION = 300, 8  # lines
MOST_AT_ROOT = {"ganmetrics": 18, "reference_models": 8}  # modules, entry files included


@cache
def modules(package: str) -> dict[str, Path]:
    """Every module by its dotted name; a package by its own."""
    found = {}
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


EVERY = {name: path for package in PACKAGES for name, path in modules(package).items()}


def imported(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, wherever in it, for type annotations too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in EVERY)
        elif isinstance(node, ast.ImportFrom) and node.module in EVERY:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in EVERY else node.module


def parts(package: str) -> list[str]:
    """The parts of a package in the order of the page, lowest level first; a folder ends in a slash."""
    table = PAGE.partition(f"<!-- parts {package} -->")[2].partition("<!-- /parts -->")[0]
    return re.findall(r"^\| `([\w/]+)` \|", table, re.MULTILINE)


def part_of(module: str) -> str:
    """A folder's name with a slash, or a module at the root; empty for a package's entry files."""
    package, _, rest = module.partition(".")
    first = rest.partition(".")[0]
    if not first or first in ENTRY_FILES:
        return ""
    return f"{first}/" if (REPOSITORY / package / first).is_dir() else first


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_names_every_part(package: str) -> None:
    there = {part_of(name) for name in modules(package)} - {""}
    assert sorted(parts(package)) == sorted(there)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_root_holds_no_more_modules_than_agreed(package: str) -> None:
    at_root = list((REPOSITORY / package).glob("*.py"))
    assert len(at_root) <= MOST_AT_ROOT[package]


@pytest.mark.parametrize("module", EVERY)
def test_imports_follow_the_order_of_the_page(module: str) -> None:
    package, own = module.partition(".")[0], part_of(module)
    if not own:
        return
    order = parts(package)
    for other in imported(EVERY[module]):
        if other.partition(".")[0] != package:
            assert package == "reference_models", f"{module} imports {other}: ganmetrics never imports reference_models"
        elif (there := part_of(other)) and there != own:
            assert order.index(there) < order.index(own), f"{module} imports {other}, which stands below it on the page"


def test_metrics_know_vectors_alone() -> None:
    for module, path in modules("ganmetrics").items():
        if re.fullmatch(r"ganmetrics\.metrics\.(numerics\.)?\w+", module) and not module.endswith(".inversion"):
            known = {part_of(other) for other in imported(path)}
            assert not known & {"images/", "features/", "generators/"}, module


def test_no_circle() -> None:
    """Of modules, type annotations counted."""
    arrows = {module: set(imported(path)) - {module} for module, path in EVERY.items()}
    left = set(arrows)
    while free := {module for module in left if not arrows[module] & left}:
        left -= free
    assert not left


def test_files_and_functions_can_be_read_at_once() -> None:
    sizes = {name: len(path.read_text().splitlines()) for name, path in EVERY.items()}
    assert {name: lines for name, lines in sizes.items() if lines > LONGEST_FILE} == {}
    functions = [
        node.end_lineno - node.lineno + 1
        for path in EVERY.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None
    ]
    assert statistics.median(functions) <= MEDIAN_FUNCTION
