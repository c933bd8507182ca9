"""The contents of the page of one evaluation, in words and numbers; the template only lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganmetrics.report.checks import Check
from ganmetrics.report.pictures import Shown
from ganmetrics.report.words import sentence, title
from ganmetrics.score import Score, format_of

LONGEST = 200  # characters of one protocol entry on the page
SKIPPED = 50  # skipped images listed on the page


@dataclass(frozen=True)
class Row:
    """One score in the table of scores."""

    title: str
    name: str
    value: str
    interval: str
    spread: str
    better: str
    sentence: str
    how: str


@dataclass(frozen=True)
class Pair:
    """A fake, the real image nearest to it, and their distance in words."""

    fake: Shown | None
    real: Shown | None
    fake_name: str
    real_name: str
    words: str


@dataclass(frozen=True)
class PerClass:
    """The values of one score by class."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass
class Contents:
    """Everything on one page. Parts that are not known stay empty; `notes` says why, by name of the part."""

    real: str | None
    fake: str
    counts: str
    rows: Sequence[Row]
    checks: Sequence[Check] = ()
    summary: str = ""
    warnings: Sequence[str] = ()
    grids: Mapping[str, Shown | None] = field(default_factory=dict)
    copied: Sequence[Pair] = ()
    typical: Sequence[Pair] = ()
    untypical: Sequence[Pair] = ()
    k: int = 0
    n_looked_at: int = 0
    map: Any = None
    map_words: str = ""
    per_class: Sequence[PerClass] = ()
    command: str = ""
    command_is_python: bool = False
    skipped: Sequence[Mapping[str, str]] = ()
    n_skipped: int = 0
    protocols: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()
    notes: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    torch: str = ""
    seed: int = 0


def number(value: float) -> str:
    """A value as scores are printed."""
    return f"{value:{format_of(value)}}"


def row(key: str, score: Score) -> Row:
    """One line of the table of scores."""
    return Row(
        title=title(key),
        name=score.metric,
        value=number(score.value),
        interval="" if score.interval is None else "{} to {}".format(*map(number, score.interval)),
        spread="" if score.spread is None else f"± {number(score.spread)}",
        better=score.better,
        sentence=sentence(key),
        how="; ".join(filter(None, [score.description(), score.classes()])),
    )


def protocol(score: Score) -> list[tuple[str, str]]:
    """Every entry of a score's protocol as text; long ones are shortened."""
    shown = {name: value for name, value in score.protocol.items() if name != "per_class" and value is not None}
    return [(name.replace("_", " "), _text(value)) for name, value in shown.items()]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"


def per_class(key: str, score: Score, counts: Mapping[str, Mapping[str, int]]) -> PerClass | None:
    """The table of `protocol["per_class"]`, the worst class first; None if there are no values by class.

    The entry is {class: value} or {class: {column: value}}.
    counts: number of images by side and class.
    """
    by_class = score.protocol.get("per_class")
    if not isinstance(by_class, Mapping) or not by_class:
        return None
    lines = {
        str(name): dict(values) if isinstance(values, Mapping) else {"value": values}
        for name, values in by_class.items()
    }
    for name, values in lines.items():
        values.update({f"{side} images": images[name] for side, images in counts.items() if name in images})
    columns = list(dict.fromkeys(column for values in lines.values() for column in values))
    first = "value" if "value" in columns else columns[0]
    order = sorted(lines.items(), key=lambda item: _sortable(item[1].get(first)), reverse=score.better == "lower")
    rows = [(name, [_cell(values.get(column)) for column in columns]) for name, values in order]
    return PerClass(f"{title(key)} ({score.better} is better)", [column.replace("_", " ") for column in columns], rows)


def _sortable(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else _text(value)
