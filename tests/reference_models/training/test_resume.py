"""Going on with a run: what must be the same, what may change, and that nobody else trains there."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_models
from reference_models.checkpoints.checkpoint import Checkpoint, differences
from reference_models.errors import CheckpointError
from reference_models.training.data import open_data
from tests.helpers.runs import NEVER, Processes, bits, options, run


def refused(out: Path, *, data: Any = None, **given: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        reference_models.train("dcgan", data, out, resume=True, max_steps=6, device="cpu", cadence=NEVER, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_difference_is_shown_and_refused(copy: Path) -> None:
    tail = "resume with what it was trained with, or name another --out"
    head = f"{copy}: was trained with another configuration"
    assert refused(copy, recipe={"lr": 0.1}) == f"{head} (lr: 0.0002 -> 0.1); {tail}"
    assert refused(copy, seed=4) == f"{head} (seed: 0 -> 4); {tail}"
    assert refused(copy, recipe={"lr": 0.1, "ngf": 8}, seed=4) == (
        f"{head} (lr: 0.0002 -> 0.1; ngf: 4 -> 8; seed: 0 -> 4); {tail}"
    )
    line = refused(copy, data="digits[0:100]")
    assert line.startswith(f"{head} (n_images: 1797 -> 100; sha256: ")
    assert Checkpoint(copy / "last").step == 3


def test_what_no_step_depends_on_may_change(copy: Path, tmp_path: Path) -> None:
    given = {"workers": 0, "num_epochs": 7, "dataroot": str(tmp_path)}
    outcome = reference_models.train("dcgan", None, copy, recipe=given, max_steps=5, resume=True, cadence=NEVER)
    assert outcome.made == 2
    assert Checkpoint(copy / "last").config["recipe"]["num_epochs"] == 7


def test_a_finished_run_says_so_and_changes_nothing(copy: Path) -> None:
    before = bits(copy)
    outcome = run("dcgan", copy, 3, resume=True)
    assert (outcome.step, outcome.total, outcome.made) == (3, 3, 0)
    assert bits(copy) == before
    assert run("dcgan", copy, 2, resume=True).made == 0  # fewer than there are


def test_folders_that_are_not_fit(copy: Path, tmp_path: Path) -> None:
    absent, file, strangers = tmp_path / "absent", tmp_path / "file", tmp_path / "strangers"
    file.touch()
    strangers.mkdir()
    (strangers / "thesis.tex").touch()
    for out, resume, expected in (
        (copy, False, "holds a run of dcgan at step 3; --resume goes on with it, another --out leaves it alone"),
        (absent, True, "nothing to resume there; leave out --resume to start a run"),
        (file, False, "is a file; expected a folder for the run"),
        (file, True, "is a file; expected a folder for the run"),
        (strangers, False, "holds thesis.tex, no part of a run; name a new folder"),
        (strangers, True, "holds thesis.tex, no part of a run; name a new folder"),
    ):
        with pytest.raises(CheckpointError) as caught:
            run("dcgan", out, 6, resume=resume)
        assert str(caught.value) == f"{out}: {expected}"
    assert not absent.exists()
    assert [path.name for path in strangers.iterdir()] == ["thesis.tex"]


def test_one_writer_at_a_time(copy: Path, forks: Processes) -> None:
    """Another process that trains there, and one that was killed there."""
    train = [*options("dcgan"), f"--out={copy}", "--resume", "--quiet"]
    first = forks.start(*train, "--max-steps=100000", "--checkpoint-every=1")
    reached, patience = 3, time.monotonic() + 60
    while reached < 15 and time.monotonic() < patience:
        assert Checkpoint(copy / "last").step >= reached  # read while it is replaced, again and again
        reached = Checkpoint(copy / "last").step
    first.kill(signal.SIGSTOP)
    code, out, err = forks(*train, "--max-steps=6000")
    first.kill()
    first.wait()
    assert (code, out) == (1, "")
    assert err == f"Error: {copy}: another process is training there; wait for it\n"
    step = Checkpoint(copy / "last").step
    assert forks(*train, f"--max-steps={step + 1}")[0] == 0


def test_a_run_that_another_process_made_in_the_meantime_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began after this one looked and was done before this one took the lock."""

    def slowly(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        run("dcgan", tmp_path / "run", 2)
        return open_data(*args, **kwargs)

    monkeypatch.setattr("reference_models.training.run.open_data", slowly)
    with pytest.raises(CheckpointError, match="holds a run of dcgan at step 2"):
        run("dcgan", tmp_path / "run", 6)
    assert Checkpoint(tmp_path / "run/last").step == 2


def test_a_moved_data_folder_is_the_same_data(tmp_path: Path, rng: np.random.Generator) -> None:
    from tests.conftest import write_folder

    pixels = rng.integers(0, 256, (32, 8, 8), dtype=np.uint8)
    out, folder = tmp_path / "run", write_folder(tmp_path / "one", pixels)
    run("dcgan", out, 2, data=folder)
    moved = folder.rename(tmp_path / "other")
    with pytest.raises(reference_models.errors.GanMetricsError, match="one: no such file or folder"):
        run("dcgan", out, 4, resume=True)
    assert run("dcgan", out, 4, data=moved, resume=True).made == 2
    pixels[7, 3, 3] ^= 1
    changed = write_folder(tmp_path / "changed", pixels)
    assert "(sha256: " in refused(out, data=changed)


def test_differences_of_entries_in_entries() -> None:
    kept, asked = {"a": 1, "b": {"c": 2, "d": [1]}}, {"a": 1, "b": {"c": 3, "d": [1]}, "e": None}
    assert differences(kept, asked) == ["c: 2 -> 3"]
    assert differences(asked, {}) == ["a: 1 -> None", "b: {'c': 3, 'd': [1]} -> None"]
