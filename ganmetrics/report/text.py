"""Scores as text: a line or an aligned table, Markdown, CSV, or one JSON object per line. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ganmetrics.printable import printable

if TYPE_CHECKING:
    from ganmetrics.score import Score

HEAD = ("metric", "value", "+-", "95 % interval", "better")
COLUMNS = ("metric", "value", "spread", "low", "high", "better", "n_real", "n_fake")
PROTOCOL = ("protocol", "features", "tap", "weights_sha256", "resize", "dtype", "seed")


def lines(scores: Sequence[Score]) -> str:
    """One score as a line, several as a table. How they were measured follows; what differs becomes a column."""
    if len(scores) == 1:
        return f"{scores[0]}  ({scores[0].description()})"
    rows, footer = _rows(scores)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = {1, 2}
    table = [
        "  ".join(cell.rjust(width) if i in right else cell.ljust(width)
                  for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
    return "\n".join([*table, *footer])


def markdown(scores: Sequence[Score]) -> str:
    """A table for a README or a pull request."""
    (head, *body), footer = _rows(scores)
    table = [head, ["---" if name not in HEAD[1:3] else "---:" for name in head], *body]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return "\n".join([*rows, *(f"\n{line}" for line in footer)])


def comma_separated(scores: Sequence[Score]) -> str:
    """A header and one row per score, with all digits; the last column is the whole protocol as JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *PROTOCOL, "version", "protocol_json"])
    for score in scores:
        low, high = score.interval or (None, None)
        about = (score.metric, score.value, score.spread, low, high, score.better, score.n_real, score.n_fake)
        selected = (score.protocol.get(name) for name in PROTOCOL)
        writer.writerow([*about, *selected, score.version, json.dumps(dict(score.protocol))])
    return out.getvalue().rstrip("\n")


def json_lines(scores: Sequence[Score]) -> str:
    """One JSON object per line, including warnings."""
    return "\n".join(score.to_json() for score in scores)


FORMATS: dict[str, Callable[[Sequence[Score]], str]] = {
    "text": lines,
    "json": json_lines,
    "markdown": markdown,
    "csv": comma_separated,
}


def _rows(scores: Sequence[Score]) -> tuple[list[list[str]], list[str]]:
    """The rows of a table with its header, and the lines below it for what all scores share; no empty columns."""
    about = {
        "images": [score.counts() for score in scores],
        "measured by": [score.protocol_line() for score in scores],
        "over": [score.classes() for score in scores],
    }
    common = [printable(values[0]) for values in about.values() if len(set(values)) == 1 and values[0]]
    differing = {name: values for name, values in about.items() if len(set(values)) > 1}
    body = [
        [*_cells(score), *(printable(values[i]) for values in differing.values())] for i, score in enumerate(scores)
    ]
    used = [i for i, column in enumerate(zip(*body, strict=True)) if any(column)]
    rows = [[row[i] for i in used] for row in [[*HEAD, *differing], *body]]
    return rows, [f"({'; '.join(common)})"] if common else []


def _cells(score: Score) -> list[str]:
    return [printable(score.metric), *score.figures(), score.better]
