"""What a checkpoint holds, and that a saving which is killed at any moment leaves a whole one."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganmetrics.disk import writing
from reference_models.checkpoints import checkpoint
from reference_models.checkpoints.checkpoint import Checkpoint, locate, save
from reference_models.checkpoints.tree import flatten, unflatten
from tests.conftest import REPOSITORY

OUR_FILES = list((REPOSITORY / "reference_models").rglob("*.py"))


def test_nothing_is_unpickled() -> None:
    for path in OUR_FILES:
        text = path.read_text()
        assert not any(word in text for word in ("import pickle", "torch.load(", "torch.save(", "eval(compile")), path


def test_a_tree_comes_back_as_it_was() -> None:
    tree = {
        "a": (1, [2.5, float("inf"), None, True, "tensor"], ()),
        3: {"tensor": "t0", None: {}},
        "big": 2**70,
        "tiny": 5e-324,
        "t": [torch.arange(3, dtype=torch.uint8), torch.tensor(0.1, dtype=torch.float64)],
    }
    encoded, tensors = flatten(tree)
    back = unflatten(json.loads(json.dumps(encoded)), tensors)
    assert [torch.equal(*pair) for pair in zip(back.pop("t"), tree.pop("t"), strict=True)] == [True, True]
    assert back == tree
    assert [type(key) for key in back] == [type(key) for key in tree]
    with pytest.raises(TypeError, match="got <class 'set'>"):
        flatten({"a": {1}})


# --------------------------------------------------------------------------------- killed at every moment of a saving


class Killed(BaseException):
    """What no `except` of the code under test should live to see; afterwards nothing is written any more."""


class Disk:
    """Dies in the middle of the k-th change to the disk, counting from 0, and at every later one."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.left: float = float("inf")
        self.done = 0
        for owner, name, half in (
            (Path, "mkdir", None),
            (Path, "rename", None),
            (Path, "write_bytes", lambda path, data: path.open("wb").write(data[: len(data) // 2])),
            (Path, "unlink", None),
            (writing.os, "fsync", lambda handle: os.ftruncate(handle, os.fstat(handle).st_size // 2)),
            (writing.os, "replace", None),
            (checkpoint.shutil, "rmtree", lambda path, ignore_errors=False: half_removed(Path(path))),
            (checkpoint, "_sync", None),
        ):
            patch.setattr(owner, name, self._dying(getattr(owner, name) if name != "_sync" else None, half))

    def _dying(self, real: Callable[..., Any] | None, half: Callable[..., Any] | None) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.done += 1
            if self.left <= 0:
                if self.left == 0 and half is not None:
                    half(*args, **kwargs)
                self.left -= 1
                raise Killed
            self.left -= 1
            return real(*args, **kwargs) if real is not None else None

        return call


def half_removed(folder: Path) -> None:
    for path in sorted(folder.iterdir())[:1] if folder.is_dir() else []:
        os.unlink(path)


def small(step: int) -> dict[str, Any]:
    network = {"weight": torch.full((2, 2), float(step))}
    return {"networks": {"generator": network}, "average": network, "step": step, "pool": [torch.tensor(step)]}


def require_whole(target: Path, steps: set[int]) -> None:
    found = Checkpoint(target)
    assert found.step in steps
    assert found.state()["step"] == found.step
    assert float(found.network("generator")["weight"][0, 0]) == found.step
    assert found.config == {"of": found.step}


def changes(disk: Disk, target: Path, step: int) -> int:
    disk.left, disk.done = float("inf"), 0
    save(target, small(step), {"of": step})
    return disk.done


def dies(disk: Disk, target: Path, step: int, after: int) -> None:
    disk.left = after
    with pytest.raises(Killed):
        save(target, small(step), {"of": step})
    disk.left = float("inf")


def test_a_kill_at_any_point_of_a_saving_leaves_one_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a second kill at any point of the saving after that."""
    disk = Disk(monkeypatch)
    target = tmp_path / "last"
    save(target, small(1), {"of": 1})
    before = tmp_path / "before"
    shutil.copytree(target, before)
    every = changes(disk, target, 2)
    seen = set()
    for first, second in itertools.product(range(every), [None, *range(every)]):
        for path in tmp_path.glob("last*"):
            disk_free(path)
        shutil.copytree(before, target)
        dies(disk, target, 2, first)
        require_whole(target, {1, 2})
        if second is not None:
            disk.left = second
            try:
                save(target, small(3), {"of": 3})
            except Killed:
                disk.left = float("inf")
                require_whole(target, {1, 2, 3})
            disk.left = float("inf")
        seen.add(Checkpoint(target).step)
        checkpoint.finish_swap(target)
        require_whole(target, {Checkpoint(target).step})
        save(target, small(4), {"of": 4})
        require_whole(target, {4})
        assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "last"]
    assert seen == {1, 2, 3}
    assert every > 15


def disk_free(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_a_kill_before_anything_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    every = changes(disk, tmp_path / "run/last", 1)
    for after in range(every):
        target = tmp_path / f"{after}/last"
        dies(disk, target, 1, after)
        if locate(target) is not None:
            require_whole(target, {1})
        save(target, small(2), {"of": 2})
        require_whole(target, {2})
        assert [path.name for path in target.parent.iterdir()] == ["last"]
