"""Patterns: of paths that are one source together, and of the names of images that are chosen in a source."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ganmetrics.errors import OptionError, SourceError
from ganmetrics.images.names import parts_of, some
from ganmetrics.printable import brief, natural_order, printable

RANGE = re.compile(r"(\d+)\.\.(\d+)", re.ASCII)
INNERMOST = re.compile(r"\{([^{}]*)\}")
TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|.", re.DOTALL)
MANY = 100_000  # largest number of paths that one pattern may name


def is_pattern(text: str) -> bool:
    """Whether a path that does not exist can be a pattern for several."""
    return bool(set("{*?[") & set(text))


def expanded(pattern: str) -> list[str]:
    """The paths that match a pattern: braces in the order written; `*`, `?` and `[...]` sorted, numbers by value.

    A folder at its start that exists under just this name is taken so, even with brackets in its name.

    Raises SourceError if no file matches, or if a file named by braces does not exist.
    """
    paths: list[str] = []
    for path in braces(os.path.expanduser(pattern)):
        matches = natural_order(glob.glob(_escaped(path))) if set("*?[") & set(path) else [path]
        if not matches or not os.path.exists(matches[0]):
            raise SourceError(f"{printable(path)}: no such file; {printable(pattern)} names it")
        paths += matches
    return paths


def _escaped(path: str) -> str:
    folder = os.path.dirname(path)
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return glob.escape(folder) + path[len(folder) :]


def braces(text: str) -> list[str]:
    """`a{0..2}{x,y}` -> `a0x`, `a0y`, `a1x`, ...; numbers keep their leading zeros. Raises SourceError for too many."""
    brace = INNERMOST.search(text)
    if brace is None:
        return [text]
    inside = RANGE.fullmatch(brace[1])
    choices = brace[1].split(",") if inside is None else _numbers(inside[1], inside[2])
    paths = [path for choice in choices for path in braces(text[: brace.start()] + choice + text[brace.end() :])]
    if len(paths) > MANY:
        raise SourceError(f"{printable(text)}: names {len(paths)} files, more than {MANY}")
    return paths


def _numbers(first: str, last: str) -> list[str]:
    padded = any(len(number) > 1 and number.startswith("0") for number in (first, last))
    width = max(len(first), len(last)) if padded else 1
    low, high = int(first), int(last)
    if abs(high - low) >= MANY:
        raise SourceError(f"{{{first}..{last}}}: names {abs(high - low) + 1} files, more than {MANY}")
    return [f"{number:0{width}}" for number in (range(low, high + 1) if low <= high else range(low, high - 1, -1))]


@dataclass(frozen=True)
class Selection:
    """Which images of a source are taken, by patterns of their names.

    A pattern without `/` is of the file's name in any folder, one with `/` of the end of its path, from the start of a
    folder's name; `/` in front ties it to the root, `/` at the end takes a whole folder. `*` and `?` stay within a
    name, `**` does not; `{a,b}` is either.

    Attributes:
        include: an image is taken if it matches one of them, or if there is none.
        exclude: but not if it matches one of these.
        shared: those among them that are for other sources too, so that they need not match here.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shared: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def chosen(self, names: Sequence[str], source: str) -> tuple[list[int], list[str]]:
        """The indices of the names that are taken, and notes on shared patterns that match none.

        A name that is empty or ends in `/` stands for something that cannot be listed, and stays.

        Raises SourceError if no image is left, or nothing matches a pattern that is for this source alone.
        """
        if not self:
            return list(range(len(names))), []
        paths = ["/".join(parts_of(name)) for name in names]
        matches = {
            (option, pattern): _matches(pattern, paths)
            for option, patterns in (("--include", self.include), ("--exclude", self.exclude))
            for pattern in patterns
        }
        holds = f"it holds {some(list(names))}"
        without = [f"{option} {printable(pattern)}" for (option, pattern), found in matches.items() if not found]
        for (option, pattern), found in matches.items():
            if not found and pattern not in self.shared:
                raise SourceError(f"{source}: no image matches {option} {printable(pattern)}; {holds}")
        included = [found for (option, _), found in matches.items() if option == "--include"]
        excluded = [found for (option, _), found in matches.items() if option == "--exclude"]
        taken = set[int]().union(*included) if included else set(range(len(paths)))
        taken = taken.difference(*excluded).union(i for i, name in enumerate(names) if not name or name.endswith("/"))
        if not taken:
            stated = ", ".join(f"{option} {printable(pattern)}" for option, pattern in matches)
            raise SourceError(f"{source}: no image is left by {stated}; {holds}")
        return sorted(taken), [f"none matches {pattern}" for pattern in without]

    def to_dict(self) -> dict[str, list[str]]:
        """The patterns by option, for the protocol of a score."""
        return {name: list(patterns) for name in ("include", "exclude") if (patterns := getattr(self, name))}


ALL = Selection()


def checked(option: str, patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Patterns as a tuple. Raises OptionError for anything that is none."""
    several = isinstance(patterns, Iterable) and not isinstance(patterns, str)
    found: tuple[Any, ...] = tuple(patterns) if several else (patterns,)
    for pattern in found:
        if not isinstance(pattern, str) or not pattern.strip("/"):
            raise OptionError(f"{option}: expected a pattern of names such as '*_fake_B.png', got {brief(pattern)}")
        _expression(pattern, option)
    return found


def _matches(pattern: str, paths: Sequence[str]) -> set[int]:
    expression = _expression(pattern, "a pattern")
    return {i for i, path in enumerate(paths) if expression.fullmatch(path)}


def _expression(pattern: str, option: str) -> re.Pattern[str]:
    """The regular expression of the paths that match. Raises OptionError for malformed brackets."""
    alternatives = []
    for text in braces(pattern.replace("\\", "/")):
        body = text.strip("/").removeprefix("./") + ("/**" if text.endswith("/") else "")
        start = "" if text.startswith("/") else "(?:.*/)?"
        alternatives.append(start + "".join(map(_translated, TOKEN.findall(body))))
    try:
        return re.compile("|".join(alternatives), re.DOTALL)
    except re.error as error:
        raise OptionError(f"{option}: {printable(pattern)} is no pattern of names ({error.msg})") from error


def _translated(token: str) -> str:
    simple = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if token in simple:
        return simple[token]
    if len(token) == 1:
        return re.escape(token)
    inside = token[1:-1].replace("\\", "\\\\")
    return f"[^{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]"
