"""Several metrics while a variant trains: one drawing of samples, a history, the first of them chooses best/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ganmetrics as gm
import reference_models
from ganmetrics.metrics import METRICS
from reference_models import Cadence, Scoring
from reference_models.checkpoints.checkpoint import Checkpoint
from reference_models.errors import RecipeError
from reference_models.training.scoring import OF_SAMPLES, is_score
from tests.helpers.commands import Cli
from tests.helpers.runs import bits, log, run, weights
from tests.helpers.runs import options as command

BOTH = Scoring(every=3, metric=("kid", "fid"), features="pixels", n_samples=40)


def looking(scoring: Scoring = BOTH) -> Cadence:
    return Cadence(log=3, grid=100, checkpoint=3, scoring=scoring, progress=False)


def test_the_first_chooses_and_all_are_kept(tmp_path: Path) -> None:
    outcome = run("gan", tmp_path / "run", 12, cadence=looking())
    history = gm.read_history(tmp_path / "run/history.jsonl")
    assert [line.step for line in history] == [3, 6, 9, 12]
    assert all(list(line.scores) == ["kid", "fid"] for line in history)
    lowest = min(history, key=lambda line: line.scores["kid"].value)
    assert (outcome.best_of, outcome.best) == ("kid", lowest.scores["kid"].value)
    assert Checkpoint(tmp_path / "run/best").step == lowest.step
    assert [line.step for line in history if line.best][-1] == lowest.step
    logged = [
        (line["step"], line["score"]["metric"], line["score"]["value"])
        for line in log(tmp_path / "run")
        if "score" in line
    ]
    assert logged == [(line.step, score.metric, score.value) for line in history for score in line.scores.values()]


def test_the_scores_are_those_of_its_samples(tmp_path: Path) -> None:
    run("gan", tmp_path / "run", 3, cadence=looking())
    samples = reference_models.load(tmp_path / "run", device="cpu").sample(40, seed=0)
    (line,) = gm.read_history(tmp_path / "run/history.jsonl")
    real = {"real": "digits[0:100]", "features": "pixels", "device": "cpu", "progress": False}
    mine = run("gan", tmp_path / "again", 3, cadence=looking(Scoring(**{**vars(BOTH), "real": real["real"]})))
    expected = gm.evaluate(real.pop("real"), samples, ["kid", "fid"], seed=0, **real)
    (other,) = gm.read_history(tmp_path / "again/history.jsonl")
    assert mine.best == pytest.approx(expected["kid"].value, rel=1e-6)
    for name, score in expected.items():
        assert other.scores[name].value == pytest.approx(score.value, rel=1e-6)
        assert line.scores[name].value != score.value


def test_a_resumed_run_leaves_the_same_bits_and_history(tmp_path: Path) -> None:
    run("gan", tmp_path / "whole", 12, cadence=looking())
    run("gan", tmp_path / "parts", 6, cadence=looking())
    run("gan", tmp_path / "parts", 12, resume=True, cadence=looking())
    whole, parts = bits(tmp_path / "whole"), bits(tmp_path / "parts")
    assert {name for name in whole if whole[name] != parts.get(name)} <= {
        "log"
    }  # the grid at the end of the first part
    for which in ("last", "best"):
        assert weights(tmp_path / "whole", which) == weights(tmp_path / "parts", which)
    mine, theirs = (
        [
            (line.step, line.best, {name: score.value for name, score in line.scores.items()})
            for line in gm.read_history(path)
        ]
        for path in (tmp_path / "whole/history.jsonl", tmp_path / "parts/history.jsonl")
    )
    assert mine == theirs


def test_measuring_changes_nothing_that_is_trained(tmp_path: Path) -> None:
    run("dcgan", tmp_path / "whole", 6)
    run("dcgan", tmp_path / "run", 6, cadence=looking())
    mine, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    del mine["training.json"], theirs["training.json"]  # it holds the best score
    assert mine == theirs
    assert not (tmp_path / "whole/history.jsonl").exists()


def test_samples_and_held_out_images_together(tmp_path: Path) -> None:
    scoring = Scoring(
        every=3, metric=["fid", "reconstruction"], features="pixels", n_samples=12, real="digits[1700:1712]"
    )
    run("gan", tmp_path / "run", 3, data="digits[0:1600]", cadence=looking(scoring))
    (line,) = gm.read_history(tmp_path / "run/history.jsonl")
    assert list(line.scores) == ["fid", "reconstruction"]
    assert line.scores["reconstruction"].protocol["n_test"] == 12


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_every_metric_over_samples_can_be_asked_for(name: str) -> None:
    scoring = Scoring(metric=f"{name}@pixels")
    value, better = next(iter(METRICS[name].values.items()))
    assert (scoring.best_by, scoring.lower_is_better) == (f"{value}@pixels", better == "lower")
    assert is_score(scoring.best_by)


def test_what_is_no_score() -> None:
    assert is_score("reconstruction")
    assert not is_score("M_smoothed")
    assert not is_score(None)


@pytest.mark.parametrize("asked", ["parzen", "fidd", (), ("fid", "x")])
def test_what_cannot_be_asked_for(asked: Any) -> None:
    with pytest.raises(RecipeError, match=r"^--score-metric: expected one of fid, .*, reconstruction, got '"):
        Scoring(metric=asked)


@pytest.mark.parametrize("name", [name for name, entry in METRICS.items() if entry.labelled])
def test_metrics_over_classes_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    cadence = Cadence(scoring=Scoring(metric=name, every=2, n_samples=20), progress=False)
    with pytest.raises(RecipeError, match=f"^--score-metric {name}: needs class labels, and these samples have none$"):
        run("gan", tmp_path / "run", 3, cadence=cadence)
    assert not (tmp_path / "run").exists()


def test_command_line(models_cli: Cli) -> None:
    train = [*command("gan"), "--data=digits", "--out=run", "--max-steps=2", "--score-every=2", "--score-samples=20"]
    ended = models_cli(*train, "--score-features=pixels", "--score-metric=kid", "--score-metric=fid")
    assert ended.code == 0
    kid, fid = (line for line in ended.err.splitlines() if line.startswith("step 2: "))
    assert kid.startswith("step 2: kd-pixels ")
    assert fid.startswith("step 2: fd-pixels ")
    assert ended.out.startswith("run: step 2 of 2: done; best score ")
