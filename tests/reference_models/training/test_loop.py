"""The loop: what stops it, what it warns of, what it refuses to train, and what it scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import reference_models
from ganmetrics.errors import OptionError
from ganmetrics.score import Score
from reference_models import VARIANTS, Cadence, Scoring
from reference_models.checkpoints.checkpoint import Checkpoint
from reference_models.checkpoints.run_directory import RunDirectory
from reference_models.errors import DataError, RecipeError, TrainingError
from reference_models.training.data import open_data
from reference_models.training.state import make_accelerator
from tests.helpers.runs import NEVER, Odd, OddRecipe, entry, log, run, weights

# --------------------------------------------------------------------------------------------- what is not a number


class Watched(Odd):
    """Keeps every batch it sees."""

    seen: ClassVar[list[tuple[Tensor, Tensor]]] = []

    def step(self, training: Any, real: Tensor) -> dict[str, Tensor]:
        measured = super().step(training, real)
        self.seen.append((real.clone(), training.drawn.clone()))
        return measured


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "watched", entry("watched", Watched))
    Watched.seen.clear()
    out = tmp_path / "run"
    with pytest.raises(TrainingError) as caught:
        run("watched", out, 20, recipe={"fails_at": 6}, cadence=Cadence(log=1, checkpoint=4, progress=False))
    assert str(caught.value) == (
        f"step 7: Loss_G is nan; its batch is kept in {out}/stopped/batch-7.safetensors, and step 4 in {out}/last; "
        "lower --lr, or look at the batch"
    )
    kept = load_file(out / "stopped/batch-7.safetensors")
    real, latent = Watched.seen[-1]
    assert len(Watched.seen) == 7
    assert kept["real"].dtype == torch.uint8
    torch.testing.assert_close(kept["real"] / 127.5 - 1, real, rtol=0, atol=1e-6)
    assert torch.equal(kept["latent"], latent)
    assert Checkpoint(out / "last").step == 4
    assert [line["step"] for line in log(out) if "epoch" in line] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(TrainingError, match="step 7: Loss_G is nan"):
        run("watched", out, 20, resume=True)


def test_infinity_and_several_at_once_are_named() -> None:
    from reference_models.training.state import require_finite

    with pytest.raises(TrainingError, match=r"^step 3: a is inf, c is nan$"):
        require_finite({"a": float("inf"), "b": 1.0, "c": float("nan")}, 3)
    require_finite({"a": 0.0}, 3)


# ------------------------------------------------------------------------------------------------------------ collapse


class Constant(nn.Module):
    latent_shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.zeros(1, 8, 8))

    def forward(self, z: Tensor) -> Tensor:
        return self.image.tanh().expand(len(z), 1, 8, 8) + 0 * z.sum()


class Collapsed(Odd):
    """Always one image."""

    def networks(self) -> dict[str, nn.Module]:
        return {**super().networks(), "generator": Constant()}


def test_collapse_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(VARIANTS, "collapsed", entry("collapsed", Collapsed))
    monkeypatch.setattr("reference_models.training.alarms.SETTLED", 4)
    looking = Cadence(log=2, grid=2, checkpoint=100)
    run("collapsed", tmp_path / "run", 9, cadence=looking)
    run("collapsed", tmp_path / "run", 14, resume=True, cadence=looking)
    (warned,) = [line for line in log(tmp_path / "run") if "warning" in line]
    assert warned["step"] == 4
    assert warned["warning"] == (
        "collapse: the 64 images of the fixed latents differ 0.0% as much as real ones; look at 000004.png, "
        "and go back to an earlier checkpoint or lower the learning rate"
    )
    assert capsys.readouterr().err.count("Warning: step 4: collapse") == 1
    assert next(line["diversity"] for line in log(tmp_path / "run") if "diversity" in line) == 0


def test_no_alarm_for_a_generator_that_varies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "odd", entry("odd", Odd))
    monkeypatch.setattr("reference_models.training.alarms.SETTLED", 0)
    run("odd", tmp_path / "run", 8, cadence=Cadence(grid=2, progress=False))
    assert not [line for line in log(tmp_path / "run") if "warning" in line]
    assert all(line["diversity"] > 0.05 for line in log(tmp_path / "run") if "diversity" in line)
    with Image.open(tmp_path / "run/samples/000008.png") as picture:
        assert picture.size == (8 * 48 + 9 * 2,) * 2
        assert picture.text == {"step": "8", "variant": "odd"}


# ---------------------------------------------------------------------------------------------------- what is asked for


def test_a_run_without_a_number_of_steps_counts_epochs(tmp_path: Path) -> None:
    data = np.zeros((40, 8, 8), np.uint8)
    recipe = {"image_size": 8, "batch_size": 16, "ngf": 4, "ndf": 4, "num_epochs": 3}
    outcome = reference_models.train("dcgan", data, tmp_path / "run", recipe=recipe, device="cpu", cadence=NEVER)
    assert (outcome.step, outcome.total) == (6, 6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"data": None}, "--data: expected a dataset, folder, zip or npz to train on, got nothing"),
        ({"max_steps": -1}, "--max-steps: expected a whole number of at least 0, got -1"),
        ({"max_steps": 2.5}, "--max-steps: expected a whole number of at least 0, got 2.5"),
        ({"seed": -1}, "--seed: expected a whole number from 0 to below 2^31, got -1"),
        ({"seed": 2**31}, "--seed: expected a whole number from 0 to below 2^31, got 2147483648"),
        ({"variant": "supergan"}, f"unknown variant 'supergan'; expected one of {', '.join(VARIANTS)}"),
        ({"recipe": {"lr": -1}}, "lr: expected a number above 0, got -1"),
        ({"recipe": {"lr": float("nan")}}, "lr: expected a number above 0, got nan"),
        ({"recipe": {"beta1": 1.0}}, "beta1: expected a number from 0 to below 1, got 1.0"),
        ({"recipe": {"batch_size": 1}}, "batch_size: expected a whole number of at least 2, got 1"),
        ({"recipe": {"nc": 2}}, "nc: expected 1 or 3 channels, got 2"),
        ({"recipe": {"image_size": 12}}, "image_size: expected a power of two from 8 to 128, got 12; use 8 or 16"),
        ({"recipe": {"upsample": "magic"}},
         "upsample: expected one of transposed, nearest, pixel-shuffle, got 'magic'"),
        ({"recipe": {"mixed_precision": "fp8"}}, "mixed_precision: expected one of no, bf16, got 'fp8'"),
        ({"recipe": {"batch_size": 3000}},
         "digits: has 1797 images, fewer than one batch of 3000; lower --batch-size"),
        ({"cadence": {"trackers": ("nonsense",)}}, "--tracker: Unsupported logging capability: nonsense. "),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_told_before_anything_is_written(
    given: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    asked = {"variant": "dcgan", "data": "digits", "max_steps": 1, "device": "cpu", **given}
    asked["recipe"] = {"image_size": 8, **asked.get("recipe", {})}
    asked["cadence"] = Cadence(progress=False, **asked.get("cadence", {}))
    with pytest.raises((RecipeError, OptionError, DataError)) as caught:
        reference_models.train(out=tmp_path / "run", **asked)
    assert str(caught.value).startswith(expected)
    assert str(caught.value) == expected or "nonsense" in expected
    assert not (tmp_path / "run").exists()


def test_unknown_recipe_fields_and_cadences() -> None:
    with pytest.raises(RecipeError, match=r"^unknown recipe field 'depth'; expected some of dataroot, workers, "):
        OddRecipe.of({"depth": 1})
    with pytest.raises(RecipeError, match=r"^--log-every: expected a whole number of at least 1, got 0$"):
        Cadence(log=0)
    with pytest.raises(RecipeError, match=r"^--score-metric: expected one of fid, .*, reconstruction, got 'parzen'$"):
        Scoring(metric="parzen")
    with pytest.raises(RecipeError, match=r"^--score-samples: expected a whole number of at least 2, got 1$"):
        Scoring(n_samples=1)


def test_accelerate_keeps_no_precision_of_an_earlier_run() -> None:
    assert make_accelerator("cpu", "bf16").mixed_precision == "bf16"
    assert make_accelerator("cpu").mixed_precision == "no"


# -------------------------------------------------------------------------------------------------------------- scores


SCORED = Cadence(
    log=2, grid=100, checkpoint=5, scoring=Scoring(every=2, features="pixels", n_samples=100), progress=False
)


def test_the_best_checkpoint_is_the_one_of_the_lowest_score(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    outcome = run("dcgan", whole, 16, cadence=SCORED)
    scores = {line["step"]: line["score"] for line in log(whole) if "score" in line}
    assert list(scores) == [2, 4, 6, 8, 10, 12, 14, 16]
    best = min(scores, key=lambda step: scores[step]["value"])
    assert outcome.best == scores[best]["value"]
    assert Checkpoint(whole / "best").step == best
    score = Score(**{key: value for key, value in scores[best].items() if key in Score.__dataclass_fields__})
    assert (score.metric, score.value) == ("fd-pixels", outcome.best)
    model = reference_models.load(whole, which="best", device="cpu")
    assert model.step == best
    again = reference_models.training.scoring.make_scorer(
        SCORED.scoring, open_data("digits", OddRecipe()).images, dataroot=None, device=torch.device("cpu")
    )(model)
    assert again["fid"].value == pytest.approx(outcome.best, rel=1e-3)
    run("dcgan", parts, 8, cadence=SCORED)
    resumed = run("dcgan", parts, 16, resume=True, cadence=SCORED)
    assert resumed.best == outcome.best
    for which in ("last", "best"):
        assert weights(parts, which) == weights(whole, which)


def test_a_higher_inception_score_is_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([1.0, 3.0, 2.0])

    class Fake:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __call__(self, sampler: Any) -> Any:
            return {"is": Score("is", next(values), "higher")}

    monkeypatch.setattr("reference_models.training.loop.make_scorer", Fake)
    outcome = run("dcgan", tmp_path / "run", 3, cadence=Cadence(scoring=Scoring(every=1, metric="is"), progress=False))
    assert outcome.best == 3.0
    assert Checkpoint(tmp_path / "run/best").step == 2


def test_the_folder_says_where_a_picture_goes(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    assert folder.picture(12).name == "000012.png"
    assert folder.last_picture() is None
