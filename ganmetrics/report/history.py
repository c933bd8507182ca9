"""Histories of several runs as one page of curves, a panel a metric, with a table of last and best values."""

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
    """A history that was read: its name, the lines that stand, and what was left out, in words."""

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
    """Write the page of the histories. Returns what was left out of them, in words.

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
    """The shortest ends of the paths that tell them apart; a file that is named twice is numbered.

    Raises OptionError where there is none.
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
    """The history of a run; lines that are none, and values that are no finite numbers, are left out and said.

    Raises OptionError for a file that cannot be read or holds no score.
    """
    file = printable(os.fspath(path))
    try:
        text = Path(path).read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        reason = reason_of(error)
        raise OptionError(f"{file}: cannot be read ({reason}); expected a history as gm.Monitor writes it") from error
    lines: list[Scored] = []
    bad: list[int] = []
    lost: dict[int, list[str]] = {}  # by the identity of their line, which another may yet take the place of
    numbered = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    for i, line in numbered:
        try:
            scored, names = _line(line)
            lines.append(scored)
            lost[id(scored)] = [f"{name} of step {scored.step}" for name in names]
        except (ValueError, TypeError, KeyError, AttributeError):
            bad.append(i)
    if not any(line.scores for line in lines) and any(lost.values()):
        first = next(filter(None, lost.values()))[0]
        raise OptionError(f"{file}: no value in it is a finite number, the first is {first}")
    if not any(line.scores for line in lines):
        raise OptionError(f'{file}: no line of it is one of a history: {{"step": ..., "scores": {{...}}, ...}}')
    remarks = []
    if bad and bad[-1] == numbered[-1][0]:
        remarks.append(f"{file}: its last line was cut off and is left out")
        bad.pop()
    if bad:
        remarks.append(f"{file}: {len(bad)} lines are no scores and are left out, the first is line {bad[0]}")
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
    """One line, and which of its values are no finite numbers; keys that are not known are passed over."""
    held = json.loads(text)
    found = {str(name): _score(str(name), one) for name, one in held["scores"].items()}
    scores = {name: score for name, score in found.items() if score is not None}
    line = Scored(int(held["step"]), scores, bool(held.get("best")), float(held.get("seconds") or 0.0))
    return line, [name for name, score in found.items() if score is None]


def _score(name: str, held: Mapping[str, Any]) -> Score | None:
    value, ends = held.get("value"), held.get("interval")
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    interval = (float(ends[0]), float(ends[1])) if ends else None
    return Score(
        str(held.get("metric") or name),
        float(value),
        "higher" if held.get("better") == "higher" else "lower",
        interval=interval if interval and all(map(math.isfinite, interval)) else None,
    )


def panels(runs: Sequence[Run]) -> list[Panel]:
    """One a metric, in the order in which they come; values of unlike feature spaces do not share one."""
    keys = dict.fromkeys(
        (key, score.metric) for run in runs for line in run.lines for key, score in line.scores.items()
    )
    return [_panel(key, metric, runs) for key, metric in keys]


def _panel(key: str, metric: str, runs: Sequence[Run]) -> Panel:
    from markupsafe import Markup

    lines: list[tuple[int, svg.Line]] = []
    better = "lower"
    for i, run in enumerate(runs):
        found = [(line.step, line.scores[key]) for line in run.lines if _is(line.scores.get(key), metric)]
        if not found:
            continue
        steps, scores = [step for step, _ in found], [score for _, score in found]
        better = scores[0].better
        values = [score.value for score in scores]
        best = values.index((max if better == "higher" else min)(values))
        lines.append((i, svg.Line(run.name, steps, values, [score.interval for score in scores], best)))
    entries = [_entry(i, line) for i, line in lines]
    words = "; ".join(f"{one.name}: last {one.last}, best {one.best} at step {one.best_step}" for one in entries)
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
