"""docs/training_loops.md is executed: every block asserts that training with and without a monitor is the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import ganmetrics as gm
from tests.conftest import REPOSITORY
from tests.helpers.commands import torchrun

PAGE = (REPOSITORY / "docs" / "training_loops.md").read_text()
BLOCKS = re.findall(r"^```python *(\w*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
PLAIN, LIGHTNING, ACCELERATE, CLASS = (text for _, text in BLOCKS)


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the first block defines, in the folder that it wrote to."""
    folder = tmp_path_factory.mktemp("loops")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names: dict[str, Any] = {"folder": folder}
        exec(compile(PLAIN, "training_loops.md", "exec"), names)
    return names


def executed(block: str, names: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    found = dict(names)
    exec(compile(block, "training_loops.md", "exec"), found)
    return found


def test_every_loop_asserts_that_nothing_changed() -> None:
    assert all("assert torch.equal(" in block for block in (PLAIN, LIGHTNING, ACCELERATE))


def test_pytorch(namespace: dict[str, Any]) -> None:
    history = gm.read_history(namespace["folder"] / "history.jsonl")
    assert [line.step for line in history] == [0, 50, 100]
    values = {line.step: line.scores["fid"].value for line in history}
    assert namespace["monitor"].best == min(values.items(), key=lambda item: item[1])
    assert values[100] < values[0]
    assert (namespace["folder"] / "best.pt").exists()


def test_lightning(namespace: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning", reason="needs lightning: pip install lightning")
    found = executed(LIGHTNING, namespace, tmp_path, monkeypatch)
    step, value = found["monitor"].best
    assert step > 0
    assert step % 20 == 0
    assert value > 0
    assert (tmp_path / "best.pt").exists()


def test_accelerate(namespace: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed(ACCELERATE, namespace, tmp_path, monkeypatch)
    assert (tmp_path / "best.pt").exists()


def test_accelerate_in_two_processes(tmp_path: Path) -> None:
    """One measures, the other waits for it in its next step; neither hangs, and both keep their bits.

    Both leave without taking the interpreter down: after DistributedDataParallel torch's gloo threads outlive
    `end_training`, and one in a hundred such ends on a busy machine was an abort, of no line of the script.
    """
    leave = "\nimport os\nos._exit(0)\n"
    (tmp_path / "loop.py").write_text(PLAIN[: PLAIN.index("monitor = gm.Monitor(")] + ACCELERATE + leave)
    done = torchrun("loop.py", cwd=tmp_path, PYTHONFAULTHANDLER="1")  # an abort of torch's threads says where it was
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "best.pt").exists()


def test_a_class_for_one_metric(namespace: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = executed(CLASS, namespace, tmp_path, monkeypatch)
    assert found["metric"].sides == ("real", "fake")
