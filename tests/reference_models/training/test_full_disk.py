"""A disk that fills up while a run saves or logs: what is kept, and what is said."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from reference_models import Cadence
from reference_models.checkpoints.checkpoint import Checkpoint
from reference_models.errors import TrainingError
from tests.helpers.runs import NEVER, run, weights


def test_a_full_disk_while_saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Safetensors' own `save_file` told it with an error that nobody caught."""
    run("dcgan", tmp_path / "whole", 6, cadence=NEVER)
    out, real = tmp_path / "run", Path.write_bytes

    def full(path: Path, held: bytes) -> int:
        if path.name == "training.safetensors" and run_of(path) == 3:
            real(path, held[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, held)

    def run_of(path: Path) -> int:
        saves.append(path)
        return len(saves)

    saves: list[Path] = []
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TrainingError) as caught:
        run("dcgan", out, 6, cadence=Cadence(checkpoint=2, progress=False))
    assert str(caught.value) == (
        f"step 4: cannot write to {out}: No space left on device; step 2 is still in {out}/last; "
        "mend that and go on with --resume"
    )
    assert [path.name for path in out.glob("last*")] == ["last"]
    assert Checkpoint(out / "last").step == 2
    monkeypatch.undo()
    run("dcgan", out, 6, resume=True, cadence=NEVER)
    assert weights(out) == weights(tmp_path / "whole")


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """The system itself refuses: the state at step 0 fits, that of step 1 with Adam's moments does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(TrainingError) as caught:
            run("dcgan", tmp_path / "run", 6, recipe={"ngf": 64}, cadence=Cadence(checkpoint=1, progress=False))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == (
        f"step 1: cannot write to {tmp_path}/run: File too large; step 0 is still in {tmp_path}/run/last; "
        "mend that and go on with --resume"
    )
    assert [path.name for path in (tmp_path / "run").glob("last*")] == ["last"]
    assert Checkpoint(tmp_path / "run/last").step == 0


@pytest.mark.parametrize("what", ["log", "picture"])
def test_a_full_disk_while_logging(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = "checkpoints.run_directory.RunDirectory.log" if what == "log" else "training.loop.save_picture"
    monkeypatch.setattr(f"reference_models.{target}", full)
    with pytest.raises(TrainingError, match=r"cannot write to .*: No space left on device; step 0 is still in"):
        run("dcgan", tmp_path / "run", 6, cadence=Cadence(log=2, grid=2, progress=False))
    assert Checkpoint(tmp_path / "run/last").step == 0
