"""Several processes that train one run: the same numbers as one alone, and resumed to the bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed import TCPStore

from tests.helpers.commands import QUICK, torchrun
from tests.helpers.runs import Processes, bits, log, options, weights


def two(forks: Processes, *arguments: str | Path) -> list[tuple[int, str, str]]:
    """What a launcher starts, without its seconds; it serves their store too, so that nobody takes the port before."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    shared |= {"TORCHELASTIC_RESTART_COUNT": "0", "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    started = [
        forks.start(*arguments, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"})
        for rank in range(2)
    ]
    return [process.wait() for process in started]


def network_values(out: Path) -> dict[str, Tensor]:
    found = [load_file(out / f"last/{name}.safetensors") for name in ("generator", "discriminator", "generator_ema")]
    return {f"{i}.{key}": value for i, network in enumerate(found) for key, value in network.items()}


def test_two_processes_are_one_and_resume_to_the_bit(forks: Processes, tmp_path: Path) -> None:
    """Without batch norm, whose statistics are each process's own; one process of them has half of each batch."""
    train = [*options("gan"), "--no-batch-norm", "--data=digits", "--quiet", "--lr=1e-5"]
    alone = [*train, "--log-every=1", "--max-steps=12"]
    assert forks(*alone, f"--out={tmp_path / 'alone'}")[0] == 0
    for out, steps, extra in (("whole", 12, []), ("parts", 6, []), ("parts", 12, ["--resume"])):
        ended = two(forks, *train, "--log-every=1", f"--out={tmp_path / out}", f"--max-steps={steps}", *extra)
        assert [code for code, *_ in ended] == [0, 0], ended
    assert bits(tmp_path / "parts").keys() >= bits(tmp_path / "whole").keys() - {"000006.png"}
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    ours, theirs = network_values(tmp_path / "whole"), network_values(tmp_path / "alone")
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-5)
    first = [next(line for line in log(tmp_path / name) if "epoch" in line) for name in ("alone", "whole")]
    for key, value in first[0].items():
        if not key.startswith("grad"):  # of each process's own part before, of both after the reduction
            assert first[1][key] == pytest.approx(value, abs=2e-5), key
    assert first[1]["grad_G"] == pytest.approx(first[0]["grad_G"], rel=1e-3)
    code, _, err = forks(*train, f"--out={tmp_path / 'whole'}", "--resume", "--max-steps=20")
    assert (code, err.count("\n")) == (1, 1)
    assert "(processes: 2 -> 1)" in err


def test_a_batch_that_two_processes_cannot_share(forks: Processes, tmp_path: Path) -> None:
    train = [*options("gan"), "--data=digits", "--quiet", f"--out={tmp_path / 'run'}", "--batch-size=15"]
    for code, _, err in two(forks, *train):
        assert (code, err) == (1, "Error: batch_size: expected a multiple of the 2 processes, got 15\n")


@pytest.mark.slow
def test_torchrun(tmp_path: Path) -> None:
    """The launcher itself, once; `accelerate launch --cpu` starts one process however many are asked for."""
    train = [*options("gan"), "--no-batch-norm", "--data=digits", "--quiet", "--lr=1e-5", "--max-steps=6"]
    alone = [sys.executable, "-m", "reference_models", *train, f"--out={tmp_path / 'alone'}"]
    for ran in (
        subprocess.run(alone, capture_output=True, text=True, env=QUICK),
        torchrun("-m", "reference_models", *train, f"--out={tmp_path / 'both'}"),
    ):
        assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "both/config.json").read_text())["processes"] == 2
    ours, theirs = network_values(tmp_path / "both"), network_values(tmp_path / "alone")
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-5)
