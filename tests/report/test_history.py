"""Curves of histories: what is read of a file however a run ended, and where values come to stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ganmetrics.errors import OptionError
from ganmetrics.history import Scored
from ganmetrics.report import history, svg
from ganmetrics.score import Score
from tests.helpers.commands import Cli
from tests.report.test_report import HOSTILE, Page

pytest.importorskip("jinja2", reason="the page needs jinja2")


def line(step: int, best: bool = False, **values: Any) -> str:
    better = {"precision": "higher"}
    scores = {name: Score(name, value, better.get(name, "lower")) for name, value in values.items()}
    return Scored(step, scores, best, 1.0).to_json()


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + end)
    return path


def test_last_and_best_follow_the_direction_of_the_metric(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "a.jsonl", line(10, fid=9.0, precision=0.2), line(20, fid=3.5, precision=0.7), line(30, fid=4.5))
    write(tmp_path / "b.jsonl", line(10, fid=8.0, precision=0.9), line(20, fid=7.0, precision=0.3))
    ran = cli("report", "a.jsonl", "b.jsonl", "-o", "page.html")
    assert (ran.code, ran.out, ran.err) == (0, "page.html: 2 runs\n", "")
    page = Page((tmp_path / "page.html").read_text())
    labels = [plot["aria-label"] for plot in page.all("svg") if plot.get("class") == "curves"]
    assert labels == [
        "Fréchet Inception Distance over training steps, lower is better. "
        "a.jsonl: last 4.5000, best 3.5000 at step 20; b.jsonl: last 7.0000, best 7.0000 at step 20",
        "Precision over training steps, higher is better. "
        "a.jsonl: last 0.7000, best 0.7000 at step 20; b.jsonl: last 0.3000, best 0.9000 at step 10",
    ]
    assert "a.jsonl 4.5000step 30 3.5000step 20" in page.text
    assert all(head.get("scope") for head in page.all("th"))
    assert not page.all("script")


def test_a_line_cut_in_half_is_left_out_and_said(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "a.jsonl", line(1, fid=2.0), line(2, fid=1.0), line(3, fid=0.5)[:40], end="")
    ran = cli("report", "a.jsonl", "-o", "page.html")
    assert (ran.code, ran.out) == (0, "page.html: 1 run\n")
    assert ran.err == "Warning: a.jsonl: its last line was cut off and is left out\n"
    assert "its last line was cut off" in Page((tmp_path / "page.html").read_text()).text


def test_other_lines_that_are_none_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(1, fid=2.0), "{", "", '{"loss": 3}', line(4, fid=1.0))
    run = history.read(path, "a")
    assert [one.step for one in run.lines] == [1, 4]
    assert run.remarks == [f"{path}: 2 lines are no scores and are left out, the first is line 2"]


def test_unknown_keys_are_passed_over_and_values_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    held = {
        "step": 5,
        "epoch": 1,
        "scores": {"fid": {"value": 2.5, "new": []}, "kid": {"value": float("nan")}, "is": {}},
    }
    path = write(tmp_path / "a.jsonl", json.dumps(held))
    run = history.read(path, "a")
    assert {name: (score.value, score.better) for name, score in run.lines[0].scores.items()} == {"fid": (2.5, "lower")}
    assert run.remarks == [f"{path}: 2 values are no finite numbers and are left out, the first is kid of step 5"]


def test_a_value_that_is_not_finite_is_said(tmp_path: Path, cli: Cli) -> None:
    """By the command and on the page; not where the run came again from before that step."""

    def diverged(step: int) -> str:
        return json.dumps(
            {"step": step, "scores": {"fid": {"metric": "fid", "value": float("inf"), "better": "lower"}}}
        )

    said = "a.jsonl: 1 value is no finite number and is left out, the first is fid of step 3"
    write(tmp_path / "a.jsonl", line(1, fid=2.0), diverged(2), line(2, fid=1.0), diverged(3))
    ran = cli("report", "a.jsonl", "-o", "page.html")
    assert (ran.code, ran.err) == (0, f"Warning: {said}\n")
    assert said in Page((tmp_path / "page.html").read_text()).text
    write(tmp_path / "b.jsonl", diverged(3))
    assert cli("report", "b.jsonl", "-o", "page.html").error == (
        "b.jsonl: no value in it is a finite number, the first is fid of step 3"
    )


def test_a_resumed_run_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(1, fid=4.0), line(2, fid=0.1), line(3, fid=0.2), line(2, fid=3.0))
    assert [(one.step, one.scores["fid"].value) for one in history.read(path, "a").lines] == [(1, 4.0), (2, 3.0)]


def test_values_of_unlike_features_do_not_share_a_panel(tmp_path: Path) -> None:
    runs = []
    for name in ("fid", "fd-pixels"):
        held = {"step": 1, "scores": {"fid": {"metric": name, "value": 1.0, "better": "lower"}}}
        runs.append(history.read(write(tmp_path / f"{name}.jsonl", json.dumps(held)), name))
    assert [(panel.name, len(panel.entries)) for panel in history.panels(runs)] == [("fid", 1), ("fd-pixels", 1)]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a/history.jsonl", "runs/b/history.jsonl"], ["a", "b"]),
        (["x/a/history.jsonl", "y/a/history.jsonl"], ["x/a", "y/a"]),
        (["a.jsonl", "b.jsonl"], ["a.jsonl", "b.jsonl"]),
        (["a.jsonl", "a.jsonl"], ["a.jsonl (1)", "a.jsonl (2)"]),
    ],
)
def test_names_are_the_shortest_that_tell_runs_apart(paths: list[str], names: list[str]) -> None:
    assert history.names(paths) == names


def test_mistakes_are_one_line(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "a.jsonl", line(1, fid=2.0))
    write(tmp_path / "log.jsonl", '{"step": 1, "loss": 3}')
    write(tmp_path / "mine.html", "my own")
    assert cli("report", "gone.jsonl", "-o", "p.html").error == (
        "gone.jsonl: cannot be read (No such file or directory); expected a history as gm.Monitor writes it"
    )
    assert cli("report", "log.jsonl", "-o", "p.html").error == (
        'log.jsonl: no line of it is one of a history: {"step": ..., "scores": {...}, ...}'
    )
    assert cli("report", "a.jsonl", "-o", "p.txt").error == "-o: expected a name that ends in .html, got 'p.txt'"
    assert cli("report", "a.jsonl", "-o", "mine.html").error == (
        "-o mine.html: is there already and is no report of ganmetrics; choose another name"
    )
    assert (tmp_path / "mine.html").read_text() == "my own\n"
    with pytest.raises(OptionError, match="expected at least one history"):
        history.names([])


def test_hostile_names_are_text(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "")
    held = {"step": 1, "scores": {name: {"metric": name, "value": 1.0, "better": "lower"}}}
    history.report([write(tmp_path / f"{name}.jsonl", json.dumps(held))], tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert not page.all("script")
    assert not page.all("img")
    assert page.text.count(name) >= 4


def test_curves_stand_where_their_values_are() -> None:
    line = svg.Line("a", [0, 50, 100], [1.0, 3.0, 2.0], [(0.5, 1.5), (2.0, 4.0), None], best=0)
    plot = svg.curves([(0, line)], "title", "words")
    path = re.search(r'class="run r0" d="M([^"]*)"', plot)
    assert path is not None
    points = [tuple(map(float, point.split())) for point in path[1].split("L")]
    assert [x for x, _ in points] == [svg.LEFT, (svg.LEFT + svg.WIDTH - svg.RIGHT) / 2, svg.WIDTH - svg.RIGHT]
    heights = [y for _, y in points]
    assert (heights[0] - heights[1]) / (heights[0] - heights[2]) == pytest.approx(2, abs=0.01)
    assert f'class="best r0" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}"' in plot
    band = re.search(r'class="band r0" d="M([^"]*)Z"', plot)
    assert band is not None
    assert len(band[1].split("L")) == 4  # two steps have an interval


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 12, [0, 5, 10]), (1e-5, 4e-5, [1e-5, 2e-5, 3e-5, 4e-5]), (2, 2, [])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert svg.ticks(low, high, 5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "text"), [(0, "0"), (950, "950"), (1500, "1.5k"), (20_000, "20k"), (2_500_000, "2.5M")]
)
def test_steps_are_short(step: int, text: str) -> None:
    assert svg.short(step) == text
