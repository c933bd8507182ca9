"""What a newcomer broke in the reference models; each stays here with what was expected."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reference_models
from ganmetrics.commands.console import NO_MEMORY
from ganmetrics.errors import GanMetricsError, OptionError
from reference_models import Cadence, Scoring
from reference_models.checkpoints.checkpoint import Checkpoint, save
from reference_models.checkpoints.run_directory import RunDirectory
from reference_models.cli import main
from reference_models.commands.show import describe
from reference_models.errors import CheckpointError, DataError, RecipeError
from reference_models.sampling.output import write_samples
from reference_models.sampling.pictures import require_png
from reference_models.training.state import random_state
from tests.conftest import write_folder
from tests.helpers.runs import NEVER, run, weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    run("dcgan", out, 4)
    return out


@pytest.mark.parametrize("name", ["samples", "config.npz", "log.npz", "last/fake", "new", "."])
def test_samples_never_land_in_a_run(name: str, copy: Path) -> None:
    """`--out run/samples --overwrite` replaced the training grids, `--out run/config.npz` the configuration."""
    before = sorted(copy.rglob("*"))
    with pytest.raises(OptionError, match="lies in the run run; choose a name outside of it"):
        write_samples(reference_models.load(copy), copy / name, 3, overwrite=True, progress=False)
    with pytest.raises(OptionError, match="lies in the run run"):
        require_png(copy / "x.png", overwrite=True)
    assert sorted(copy.rglob("*")) == before


def test_samples_whatever_the_default_dtype_and_device(trained: Path) -> None:
    expected = reference_models.load(trained).sample(40)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(reference_models.load(trained).sample(40), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"), torch.inference_mode():
        assert torch.equal(reference_models.load(trained, device="cpu").sample(40), expected)


@pytest.mark.parametrize("mode", ["no_grad", "inference", "float64", "meta", "autocast"])
def test_training_whatever_the_caller_has_set(mode: str, trained: Path, tmp_path: Path) -> None:
    """Autocast alone did not fail: it trained in bfloat16 under a recipe that said `no`."""
    contexts: dict[str, Any] = {
        "no_grad": torch.no_grad(),
        "inference": torch.inference_mode(),
        "meta": torch.device("meta"),
        "autocast": torch.autocast("cpu", torch.bfloat16),
    }
    if mode == "float64":
        torch.set_default_dtype(torch.float64)
        try:
            run("dcgan", tmp_path / "run", 4)
            assert torch.get_default_dtype() == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)
    else:
        with contexts[mode]:
            run("dcgan", tmp_path / "run", 4)
    assert weights(tmp_path / "run") == weights(trained)


def test_training_takes_none_of_the_callers_random_numbers(tmp_path: Path) -> None:
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    before = random_state(torch.device("cpu"))
    run("dcgan", tmp_path / "run", 2)
    after = random_state(torch.device("cpu"))
    assert after["python"] == before["python"]
    assert torch.equal(after["torch"], before["torch"])
    assert torch.equal(after["numpy"][1], before["numpy"][1])


@pytest.mark.parametrize("wrong", [{"features": "nope"}, {"real": "nope", "features": "pixels"}])
def test_what_a_score_needs_is_looked_at_before_anything_is_written(wrong: dict[str, Any], tmp_path: Path) -> None:
    """It used to cost the steps up to the first score."""
    with pytest.raises(GanMetricsError, match="nope"):
        run("dcgan", tmp_path / "run", 2, cadence=Cadence(progress=False, scoring=Scoring(every=1000, **wrong)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", [2**31, 2**44, 2**63, 2**70, -1, True, 1.5])
def test_seeds_have_bounds(seed: Any, trained: Path, tmp_path: Path) -> None:
    expected = rf"^--seed: expected a whole number from 0 to below 2\^31, got {seed!r}$"
    with pytest.raises(OptionError, match=expected):
        reference_models.load(trained).sample(1, seed=seed)
    with pytest.raises(OptionError, match=expected):
        run("dcgan", tmp_path / "run", 1, seed=seed)


def test_whole_numbers_of_numpy_are_whole_numbers(trained: Path, tmp_path: Path) -> None:
    assert run("dcgan", tmp_path / "run", np.int64(4), seed=np.int64(0)).step == 4
    assert weights(tmp_path / "run") == weights(trained)


def test_a_tracker_that_is_not_installed(tmp_path: Path) -> None:
    """Accelerate leaves it out and says nothing that is seen."""
    with pytest.raises(RecipeError, match=r"^--tracker comet_ml: is not installed; pip install comet_ml, or --tracker"):
        run("dcgan", tmp_path / "run", 1, cadence=Cadence(progress=False, trackers=("comet_ml",)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b'[]\n3\n{"a":1}\nxx\n{"step": "x"}\n', b"\xff\xfe\n"])
def test_lines_of_the_log_that_are_none(content: bytes, copy: Path) -> None:
    with open(copy / "log.jsonl", "ab") as file:
        file.write(content)
    describe(copy, curves=False)
    assert run("dcgan", copy, 5, resume=True).made == 1
    assert all("step" in line for line in RunDirectory(copy).read_log())


@pytest.mark.parametrize("lacking", ["recipe", "data", "seed", "processes", "variant"])
def test_a_configuration_that_lacks_something(lacking: str, tmp_path: Path) -> None:
    run("dcgan", tmp_path / "whole", 1)
    found = reference_models.load(tmp_path / "whole").checkpoint
    config = {name: value for name, value in found.config.items() if name != lacking}
    save(tmp_path / "run/last", found.state(), config)
    expected = f"damaged checkpoint: config.json lacks {lacking}$"
    with pytest.raises(CheckpointError, match=expected):
        reference_models.load(tmp_path / "run")
    with pytest.raises(CheckpointError, match=expected):
        describe(tmp_path / "run")
    with pytest.raises(CheckpointError, match=expected):
        run("dcgan", tmp_path / "run", 2, resume=True)


def test_data_that_moved_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    write_folder(tmp_path / "good", rng.integers(0, 256, (40, 8, 8), dtype=np.uint8))
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path)
    run("dcgan", tmp_path / "run", 1, data="good")
    monkeypatch.chdir(tmp_path / "else")
    with pytest.raises(DataError, match=r"the run was started with that name, say with --data where its images are$"):
        run("dcgan", tmp_path / "run", 2, resume=True)
    assert run("dcgan", tmp_path / "run", 2, resume=True, data="../good").made == 1


def test_loading_from_inside_a_run(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    assert reference_models.load(".").step == 4
    for path in ("", None, 3):
        with pytest.raises(CheckpointError, match=r"^expected the folder of a run, got "):
            reference_models.load(path)


def test_a_folder_or_a_variant_that_is_no_name(tmp_path: Path) -> None:
    for out in ("", None, 3):
        with pytest.raises(CheckpointError, match=r"^expected the folder of a run, got "):
            reference_models.train("dcgan", "digits", out, cadence=NEVER)
    with pytest.raises(RecipeError, match=r"^unknown variant \[\]; expected one of "):
        reference_models.train([], "digits", tmp_path / "run", cadence=NEVER)


def test_latents_of_nothing(trained: Path) -> None:
    model = reference_models.load(trained)
    with pytest.raises(OptionError, match=r"^latents: expected numbers of samples, got none$"):
        model.latents([])
    with pytest.raises(OptionError, match=r"^images: expected latents, got none$"):
        model.images(torch.zeros(0, 8))


def test_json_of_a_lost_ring_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample of high quality: the divergence is not a number, and NaN is no JSON."""
    from reference_models.toy.mixtures import Mixture, fit

    found = fit("minimax", Mixture.ring(std=1e-6), steps=1, n_samples=10)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["kl_to_uniform"] is None


def test_a_network_that_does_not_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Torch says it with a RuntimeError of its own."""
    given = ["train", "dcgan", "--data=digits", f"--out={tmp_path / 'run'}", "--image-size=8", "--ngf=99999999"]
    monkeypatch.setattr(sys, "argv", ["reference-models", *given, "--tracker=none", "--device=cpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr() == ("", f"Error: {NO_MEMORY}\n")


def test_a_second_ctrl_c_says_what_is_there(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said "nothing was written" of a run that had 500 steps on disk."""

    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reference_models.training.run.train", interrupted)
    for out, expected in (
        (trained, f"Interrupted: step 4 is in {trained}/last; --resume goes on from there\n"),
        (tmp_path / "new", f"Interrupted: no step of {tmp_path / 'new'} was kept; the same command starts again\n"),
    ):
        monkeypatch.setattr(sys, "argv", ["reference-models", "train", "dcgan", "--data=digits", f"--out={out}"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 130
        assert capsys.readouterr() == ("", expected)


def test_loading_while_training_saves(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`last/` was replaced between its manifest and its weights, and called damaged."""
    run("dcgan", tmp_path / "later", 6)
    read = Checkpoint.network
    replaced = []

    def slowly(self: Checkpoint, name: str) -> dict[str, torch.Tensor]:
        if not replaced:
            replaced.append(name)
            shutil.rmtree(copy / "last")
            shutil.copytree(tmp_path / "later/last", copy / "last")
        return read(self, name)

    monkeypatch.setattr(Checkpoint, "network", slowly)
    assert reference_models.load(copy).step == 6


@pytest.mark.parametrize("form", ["fake", "fake.npz", "fake.zip"])
@pytest.mark.parametrize("killed_at", [1, 2])
def test_a_kill_never_leaves_samples_beside_another_record(
    form: str, killed_at: int, trained: Path, tmp_path: Path
) -> None:
    """A new sample of seed 5 lay beside the old record, which said seed 1."""
    model, out = reference_models.load(trained), tmp_path / form
    write_samples(model, out, 3, seed=1, progress=False)
    made = list(model.batches(7, seed=5))  # a forked process cannot use the threads that torch has started
    if (child := os.fork()) == 0:
        calls = []
        replace = os.replace

        def kill(*names: Any) -> None:
            calls.append(names)
            if len(calls) == killed_at:
                os._exit(9)
            replace(*names)

        os.replace = kill
        model.batches = lambda *numbers, **options: iter(made)
        try:
            write_samples(model, out, 7, seed=5, overwrite=True, progress=False)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "fake.json").exists()
    if form != "fake":
        assert out.exists()
    write_samples(model, out, 2, overwrite=True, progress=False)
    assert json.loads((tmp_path / "fake.json").read_text())["n_samples"] == 2
