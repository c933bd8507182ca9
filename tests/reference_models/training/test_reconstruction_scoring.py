"""The reconstruction loss while a variant trains: held-out images, the lowest one's checkpoint, and what is refused."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch

import ganmetrics as gm
import reference_models
from reference_models import Cadence, Scoring
from reference_models.checkpoints.checkpoint import Checkpoint
from reference_models.errors import CheckpointError, RecipeError
from reference_models.training.scoring import _seen_in_training
from tests.conftest import write_folder
from tests.helpers.commands import Cli
from tests.helpers.runs import NEVER, OFTEN, log, run, weights
from tests.helpers.runs import options as command
from tests.reference_models.variants.test_variants import digits

HELD_OUT = Scoring(every=4, metric="reconstruction", real="digits[1700:1712]", method="xiang-li")


@pytest.mark.parametrize("name", ["wngan", "began", "dcgan"])
def test_the_lowest_is_kept(name: str, tmp_path: Path) -> None:
    """A score of each measured step, and the best checkpoint's own, worked out from outside, is the lowest of them."""
    looking = Cadence(log=4, grid=100, checkpoint=100, scoring=HELD_OUT, progress=False)
    outcome = run(name, tmp_path / "run", 12, data="digits[0:1600]", recipe={"lr": 0.02}, cadence=looking)
    scores = {line["step"]: line["score"] for line in log(tmp_path / "run") if "score" in line}
    assert list(scores) == [4, 8, 12]
    assert {score["metric"] for score in scores.values()} == {"reconstruction"}
    assert {score["protocol"]["n_test"] for score in scores.values()} == {12}
    lowest = min(scores, key=lambda step: scores[step]["value"])
    assert Checkpoint(tmp_path / "run/best").step == lowest
    assert (outcome.best_of, outcome.best) == ("reconstruction", scores[lowest]["value"])
    model = reference_models.load(tmp_path / "run", which="best", device="cpu")
    again = gm.reconstruction_loss(model, HELD_OUT.real, method="xiang-li", progress=False)
    assert again.value == pytest.approx(outcome.best, rel=1e-3)
    assert again.protocol["bound"] == scores[4]["protocol"]["bound"] == (1.0 if name == "began" else None)
    assert not any("bound" in warning for warning in again.warnings)


def test_measuring_changes_nothing_that_is_trained(tmp_path: Path) -> None:
    run("wngan", tmp_path / "whole", 8, data="digits[0:1600]")
    run("wngan", tmp_path / "run", 8, data="digits[0:1600]", cadence=Cadence(scoring=HELD_OUT, progress=False))
    mine, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    del mine["training.json"], theirs["training.json"]  # it holds the best score
    assert mine == theirs


def test_another_score_begins_anew(tmp_path: Path) -> None:
    """What M is best at says nothing about a reconstruction loss."""
    run("began", tmp_path / "run", 4, data="digits[0:1600]", cadence=OFTEN)
    assert Checkpoint(tmp_path / "run/last").state()["best"]["name"] == "M_smoothed"
    scored = Cadence(scoring=HELD_OUT, progress=False)
    outcome = run("began", tmp_path / "run", 8, resume=True, cadence=scored)
    (score,) = [line["score"]["value"] for line in log(tmp_path / "run") if "score" in line]
    assert (outcome.best_of, outcome.best) == ("reconstruction", score)


def test_held_out_images_are_prepared_as_those_of_training(tmp_path: Path) -> None:
    """16-px colour images for a grey 8-px generator."""
    folder = write_folder(tmp_path / "held", digits(6).repeat(2, 1).repeat(2, 2)[..., None].repeat(3, 3))
    scoring = Scoring(every=2, metric="reconstruction", real=folder, method="xiang-li")
    run("wngan", tmp_path / "run", 2, cadence=Cadence(scoring=scoring, progress=False))
    (score,) = [line["score"] for line in log(tmp_path / "run") if "score" in line]
    assert (score["protocol"]["n_test"], score["protocol"]["method"]) == (6, "xiang-li")


def test_what_is_refused() -> None:
    with pytest.raises(RecipeError) as said:
        Scoring(metric="reconstruction")
    assert str(said.value) == (
        "--score-metric reconstruction: expected held-out images, got none; name some that are not trained on with "
        "--score-real, such as mnist:test[0:200]"
    )
    with pytest.raises(RecipeError, match=r"^--score-method: expected one of auto, xiang-li, adam, lbfgs, got 'sgd'$"):
        Scoring(method="sgd")


def test_began_keeps_its_bound_wherever_it_is_inverted(tmp_path: Path) -> None:
    run("began", tmp_path / "run", 4)
    found = gm.invert(tmp_path / "run", digits(6)[:, None], steps=60, pool=64)
    assert found.latents.abs().max() <= 1
    assert found.search.bound == 1.0
    assert gm.invert(reference_models.load(tmp_path / "run"), digits(6)[:, None], steps=2, pool=64).search.bound == 1.0


def test_images_of_training_are_not_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def scored(real: str) -> Cadence:
        scoring = Scoring(every=2, metric="reconstruction", real=real, method="xiang-li")
        return Cadence(scoring=scoring, progress=False)

    with pytest.raises(RecipeError) as raised:
        run("wngan", tmp_path / "all", 2, data="digits[0:500]", cadence=scored("digits[0:100]"))
    said = "--score-real: {} images are trained on, but a reconstruction loss needs others"
    assert str(raised.value) == (f"{said.format('100 of 100')}; name some that are held out, such as mnist:test[0:200]")
    run("wngan", tmp_path / "some", 2, data="digits[0:500]", cadence=scored("digits[490:510]"))
    (score,) = [line["score"] for line in log(tmp_path / "some") if "score" in line]
    assert said.format("10 of 20") in score["warnings"]
    assert f"Warning: {said.format('10 of 20')}\n" in capsys.readouterr().err
    run("wngan", tmp_path / "none", 2, data="digits[0:500]", cadence=scored("digits[500:510]"))
    (score,) = [line["score"] for line in log(tmp_path / "none") if "score" in line]
    assert not any("trained on" in warning for warning in score["warnings"])


@pytest.mark.parametrize(
    ("held_out", "overlaps"),
    [("faces[0:10]", True), ("faces", True), ("faces[90:200]", True), ("faces[100:200]", False), ("others", False)],
)
def test_of_training_images_outside_of_memory_the_name_tells(held_out: str, overlaps: bool) -> None:
    far = types.SimpleNamespace(in_memory=False, name="faces[0:100]")
    said = _seen_in_training(torch.zeros(0), held_out, far)
    assert bool(said) == overlaps


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("began", "has no best checkpoint: it is chosen by M_smoothed of those that are saved on the way, and none "
         "was; train with a smaller --checkpoint-every, or with --score-every"),
        ("wngan", "was not scored, so it has no best checkpoint; train with --score-every"),
    ],
)  # fmt: skip
def test_why_there_is_no_best(name: str, said: str, tmp_path: Path) -> None:
    run(name, tmp_path / "run", 2, cadence=NEVER)
    with pytest.raises(CheckpointError) as raised:
        reference_models.load(tmp_path / "run", which="best")
    assert str(raised.value) == f"{tmp_path / 'run'}: {said}"


def test_command_line(models_cli: Cli) -> None:
    train = [*command("wngan"), "--data=digits[0:1600]", "--quiet", "--out=run", "--max-steps=2"]
    asked = ["--score-every=2", "--score-metric=reconstruction", "--score-samples=4"]
    assert models_cli(*train, *asked).error.startswith(
        "--score-metric reconstruction: expected held-out images, got none"
    )
    ended = models_cli(*train, *asked, "--score-real=digits[1700:1710]")
    assert ended.code == 0
    assert ended.out.startswith("run: step 2 of 2: done; best score 0.")
