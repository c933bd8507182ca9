"""Runs that are killed or asked to stop at any moment: what is left loads, and resumes to the same bits."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

import reference_models
from tests.helpers.runs import NEVER, Processes, bits, log, options, run, weights


@pytest.mark.parametrize("variant", ["dcgan"])
def test_killed_at_random_moments(variant: str, forks: Processes, tmp_path: Path) -> None:
    """SIGKILL while every step is saved; what is left loads each time, and the end is the same to the bit."""
    steps, draw, found = 240, random.Random(5), []
    train = [*options(variant), "--data=digits", f"--max-steps={steps}", "--log-every=3", "--grid-every=9", "--quiet"]
    assert forks(*train, f"--out={tmp_path / 'whole'}")[0] == 0
    out = tmp_path / "run"
    for kill in range(8):
        often = [*train, f"--out={out}", "--checkpoint-every=1", *(["--resume"] if kill else [])]
        process = forks.start(*often)
        before, patience = step_of(out), time.monotonic() + 60
        while step_of(out) in (None, before) and time.monotonic() < patience:
            time.sleep(0.005)  # until it goes on; a kill before that proves little
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        code, _, err = process.wait()
        assert (code, err) == (-signal.SIGKILL, "")
        model = reference_models.load(out, device="cpu")
        assert len(model.sample(2)) == 2
        found.append((model.step, sorted(path.name for path in out.glob("last*"))))
    assert forks(*train, f"--out={out}", "--resume")[0] == 0
    assert bits(out) == bits(tmp_path / "whole")
    assert [path.name for path in out.glob("last*")] == ["last"]
    reached = [step for step, _ in found]
    assert reached == sorted(reached)
    assert any(places != ["last"] for _, places in found), found  # some fell into the saving


def step_of(run: Path) -> int | None:
    try:
        return int(json.loads((run / "last/manifest.json").read_text())["step"])
    except (OSError, ValueError):
        return None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", [0, 2])
def test_asked_to_stop(number: int, code: int, workers: int, forks: Processes, tmp_path: Path) -> None:
    """As a terminal and `timeout` do, to the whole group, the decoding processes included."""
    script = (
        "from reference_models.training import data; data.IN_MEMORY = 0; from reference_models.cli import main; main()"
    )
    from sklearn.datasets import load_digits

    from tests.conftest import write_folder

    folder = write_folder(tmp_path / "images", (load_digits().images[:64] * 15).astype("uint8"))
    train = [*options("dcgan"), f"--data={folder}", f"--workers={workers}", "--max-steps=100000"]
    process = forks.start(*train, f"--out={tmp_path / 'run'}", "--checkpoint-every=3", "--quiet", code=script)
    patience = time.monotonic() + 60
    while not step_of(tmp_path / "run") and time.monotonic() < patience:
        time.sleep(0.01)
    process.kill(number)
    ended, out, err = process.wait()
    step = step_of(tmp_path / "run")
    assert step
    where = f"{tmp_path / 'run'}: step {step} of 100000"
    assert (ended, out, err) == (code, "", f"Interrupted at {where}; the same command with --resume goes on\n")
    more = [*train[:-1], f"--max-steps={step + 3}", "--quiet"]
    assert forks(*more, f"--out={tmp_path / 'run'}", "--resume", code=script)[0] == 0
    assert forks(*more, f"--out={tmp_path / 'whole'}")[0] == 0
    mine, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert mine == theirs


KEY = "0123456789abcdef"  # as `write_whole` draws one


@pytest.mark.parametrize(
    "left", [f".config.json.{KEY}.part", f".log.jsonl.{KEY}.part", "config.json.part", "last.new", "samples", ".lock"]
)
def test_what_a_kill_left_before_the_first_checkpoint_hinders_nobody(left: str, tmp_path: Path) -> None:
    """A half-written config.json once passed for a stranger's file."""
    (tmp_path / "run").mkdir()
    if left.endswith(".part"):
        (tmp_path / "run" / left).write_text("{half")
    else:
        (tmp_path / "run" / left).mkdir() if left != ".lock" else (tmp_path / "run" / left).touch()
    assert run("dcgan", tmp_path / "run", 1, cadence=NEVER).made == 1


def test_a_log_line_that_a_kill_cut_short_is_written_again(tmp_path: Path) -> None:
    run("dcgan", tmp_path / "whole", 4)
    run("dcgan", tmp_path / "run", 2)
    with open(tmp_path / "run/log.jsonl", "a") as file:
        file.write('{"step": 3, "epoch": 0.1}\n{"step": 4, "ep')
    (tmp_path / "run/samples/000009.png").write_bytes(b"from after the checkpoint")
    (tmp_path / f"run/samples/.000002.png.{KEY}.part").write_bytes(b"half")
    (tmp_path / "run/samples/000002.png.part").write_bytes(b"half, of an earlier version")
    run("dcgan", tmp_path / "run", 4, resume=True)
    assert [line["step"] for line in log(tmp_path / "run") if "epoch" in line] == [1, 2, 3, 4]
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert sorted(p.name for p in (tmp_path / "run/samples").iterdir()) == ["000002.png", "000004.png"]
