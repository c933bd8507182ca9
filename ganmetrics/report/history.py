"""Histories of several runs as one page: for each metric a panel with curves and a table of last and best values."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganmetrics.errors import OptionError
from ganmetrics.history import Scored, standing
from ganmetrics.printable import printable, reason_of
from ganmetrics.report import svg
from ganmetrics.report.contents import number
from ganmetrics.report.page import render, require_writable, save
from ganmetrics.report.words import sentence, title
from ganmetrics.score import Score


@dataclass(frozen=True)
class Run:
    """A history as read: its name, its valid lines, and sentences about what was left out."""

    name: str
    lines: Sequence[Scored]
    remarks: Sequence[str]


@dataclass(frozen=True)
class Entry:
    """A run in the table of one metric."""

    run: int
    name: str
    n: int
    last: str
    last_step: int
    best: str
    best_step: int
    interval: str


@dataclass(frozen=True)
class Panel:
    """One metric over all runs."""

    name: str
    title: str
    better: str
    sentence: str
    plot: Any
    entries: Sequence[Entry]


def report(paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> list[str]:
    """Write the page of the histories. Returns sentences about what was left out.

    Raises OptionError for a page that cannot be written, and for a history that cannot be read or holds no score.
    """
    require_writable(output, "-o")
    runs = [read(path, name) for path, name in zip(paths, names(paths), strict=True)]
    remarks = [remark for run in runs for remark in run.remarks]
    lists = [printable(os.fspath(path)) for path in paths]
    values = {"runs": runs, "panels": panels(runs), "remarks": remarks, "paths": lists, "styles": svg.STYLES}
    save(output, render("history.html.j2", values))
    return remarks


def names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Names of the runs: the shortest ends of the paths that differ; a path given twice is numbered.

    Raises OptionError for no path.
    """
    if not paths:
        raise OptionError("report: expected at least one history, got none")
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    short = ["/".join(part[-depth:]) for part in parts]
    if all(name.endswith("/history.jsonl") for name in short):
        short = [name.removesuffix("/history.jsonl") for name in short]
    return [printable(f"{name} ({i})" if short.count(name) > 1 else name) for i, name in enumerate(short, 1)]


def read(path: str | os.PathLike[str], name: str) -> Run:
    """Read the history of a run. Invalid lines and values that are not finite are left out, with a remark.

    Raises OptionError for a file that cannot be read or holds no score.
    """
    file = printable(os.fspath(path))
    try:
        text = Path(path).read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        reason = reason_of(error)
        raise OptionError(f"{file}: cannot be read ({reason}); expected a history as gm.Monitor writes it") from error
    lines: list[Scored] = []
    invalid: list[int] = []  # numbers of lines
    lost: dict[int, list[str]] = {}  # by `id` of the line: a later line of the same step may replace it
    numbered = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    for i, line in numbered:
        try:
            scored, names = _line(line)
            lines.append(scored)
            lost[id(scored)] = [f"{name} of step {scored.step}" for name in names]
        except (ValueError, TypeError, KeyError, AttributeError):
            invalid.append(i)
    if not any(line.scores for line in lines) and any(lost.values()):
        first = next(filter(None, lost.values()))[0]
        raise OptionError(f"{file}: no value in it is a finite number, the first is {first}")
    if not any(line.scores for line in lines):
        raise OptionError(f'{file}: no line of it is one of a history: {{"step": ..., "scores": {{...}}, ...}}')
    remarks = []
    if invalid and invalid[-1] == numbered[-1][0]:
        remarks.append(f"{file}: its last line was cut off and is left out")
        invalid.pop()
    if invalid:
        remarks.append(f"{file}: {len(invalid)} lines are no scores and are left out, the first is line {invalid[0]}")
    kept = standing(lines)
    if values := [value for line in kept for value in lost[id(line)]]:
        many = (
            "1 value is no finite number and is"
            if len(values) == 1
            else f"{len(values)} values are no finite numbers and are"
        )
        remarks.append(f"{file}: {many} left out, the first is {values[0]}")
    return Run(name, kept, remarks)


def _line(text: str) -> tuple[Scored, list[str]]:
    """One line, and the names of its values that are not finite. Unknown keys are ignored."""
    fields = json.loads(text)
    parsed = {str(name): _score(str(name), score) for name, score in fields["scores"].items()}
    scores = {name: score for name, score in parsed.items() if score is not None}
    line = Scored(int(fields["step"]), scores, bool(fields.get("best")), float(fields.get("seconds") or 0.0))
    return line, [name for name, score in parsed.items() if score is None]


def _score(name: str, fields: Mapping[str, Any]) -> Score | None:
    """A score from its JSON fields; None if its value is not a finite number."""
    value, ends = fields.get("value"), fields.get("interval")
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    interval = (float(ends[0]), float(ends[1])) if ends else None
    return Score(
        str(fields.get("metric") or name),
        float(value),
        "higher" if fields.get("better") == "higher" else "lower",
        interval=interval if interval and all(map(math.isfinite, interval)) else None,
    )


def panels(runs: Sequence[Run]) -> list[Panel]:
    """One panel per metric, in order of first occurrence; values of different feature spaces get separate panels."""
    keys = dict.fromkeys(
        (key, score.metric) for run in runs for line in run.lines for key, score in line.scores.items()
    )
    return [_panel(key, metric, runs) for key, metric in keys]


def _panel(key: str, metric: str, runs: Sequence[Run]) -> Panel:
    from markupsafe import Markup

    lines: list[tuple[int, svg.Line]] = []
    better = "lower"
    for i, run in enumerate(runs):
        measured = [(line.step, line.scores[key]) for line in run.lines if _is(line.scores.get(key), metric)]
        if not measured:
            continue
        steps, scores = [step for step, _ in measured], [score for _, score in measured]
        better = scores[0].better
        values = [score.value for score in scores]
        best = values.index((max if better == "higher" else min)(values))
        lines.append((i, svg.Line(run.name, steps, values, [score.interval for score in scores], best)))
    entries = [_entry(i, line) for i, line in lines]
    words = "; ".join(
        f"{entry.name}: last {entry.last}, best {entry.best} at step {entry.best_step}" for entry in entries
    )
    heading = f"{title(key)} over training steps, {better} is better"
    plot = Markup(svg.curves(lines, heading, words))
    return Panel(metric, title(key), better, sentence(key), plot, entries)


def _is(score: Score | None, metric: str) -> bool:
    return score is not None and score.metric == metric


def _entry(run: int, line: svg.Line) -> Entry:
    ends = line.intervals[line.best]
    return Entry(
        run=run,
        name=line.name,
        n=len(line.values),
        last=number(line.values[-1]),
        last_step=line.steps[-1],
        best=number(line.values[line.best]),
        best_step=line.steps[line.best],
        interval="" if ends is None else "{} to {}".format(*map(number, ends)),
    )
