"""Killed at any moment, damaged in any file, on a full disk: what is kept, and what is said."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import reference_models
from reference_models import Cadence, checkpoint
from reference_models.checkpoint import FORMAT, Checkpoint, locate, save
from reference_models.errors import CheckpointError, RecipeError, TrainingError
from reference_models.tree import flatten, unflatten
from tests.conftest import REPOSITORY
from tests.runs import NEVER, Processes, bits, log, options, run, weights

OUR_FILES = list((REPOSITORY / "reference_models").rglob("*.py"))
PARTS = ("generator.safetensors", "discriminator.safetensors", "generator_ema.safetensors", "training.safetensors",
         "training.json", "config.json", "manifest.json")  # fmt: skip


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
    with pytest.raises(TypeError, match="came <class 'set'>"):
        flatten({"a": {1}})


# ------------------------------------------------------------------------------------------------- kill -9 by the clock


@pytest.mark.parametrize("variant", ["dcgan"])
def test_killed_at_random_moments(variant: str, forks: Processes, tmp_path: Path) -> None:
    """SIGKILL while every step is saved; what is left loads each time, and the end is the same to the bit."""
    steps, draw, found = 90, random.Random(5), []
    train = [*options(variant), "--data=digits", f"--max-steps={steps}", "--log-every=3", "--grid-every=9", "--quiet"]
    assert forks(*train, f"--out={tmp_path / 'whole'}")[0] == 0
    out = tmp_path / "run"
    for kill in range(8):
        often = [*train, f"--out={out}", "--checkpoint-every=1", *(["--resume"] if kill else [])]
        process = forks.start(*often)
        before, patience = step_of(out), time.monotonic() + 60
        while step_of(out) in (None, before) and time.monotonic() < patience:
            time.sleep(0.005)  # until it goes on; a kill before that proves little
        time.sleep(draw.uniform(0, 0.2))
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
    script = "from reference_models import data; data.IN_MEMORY = 0; from reference_models.cli import main; main()"
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
            (Path, "write_text", lambda path, data: path.open("w").write(data[: len(data) // 2])),
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
        path.unlink()


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


@pytest.mark.parametrize("left", ["config.json.part", "log.jsonl.part", "last.new", "samples", ".lock"])
def test_what_a_kill_left_before_the_first_checkpoint_hinders_nobody(left: str, tmp_path: Path) -> None:
    """A half-written config.json.part once passed for a stranger's file."""
    (tmp_path / "run").mkdir()
    if "." in left[1:] and left != "last.new":
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
    (tmp_path / "run/samples/000002.png.part").write_bytes(b"half")
    run("dcgan", tmp_path / "run", 4, resume=True)
    assert [line["step"] for line in log(tmp_path / "run") if "epoch" in line] == [1, 2, 3, 4]
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert sorted(p.name for p in (tmp_path / "run/samples").iterdir()) == ["000002.png", "000004.png"]


# ------------------------------------------------------------------------------------------------------------- damage


def told(out: Path) -> list[str]:
    """What loading and resuming say; one line each."""
    with pytest.raises(CheckpointError) as loading:
        reference_models.load(out, device="cpu").sample(1, ema=False)
    with pytest.raises(CheckpointError) as resuming:
        run("dcgan", out, 6, resume=True)
    with pytest.raises(CheckpointError) as starting:
        run("dcgan", out, 6)
    found = [str(error.value) for error in (loading, resuming, starting)]
    assert not any("\n" in line for line in found)
    return found


def flip(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[0 if path.name == "manifest.json" else len(held) // 2] ^= 1  # in there it would be about another file
    path.write_bytes(held)


def test_a_checkpoint_is_these_files(trained: Path) -> None:
    assert {path.name for path in (trained / "last").iterdir()} == set(PARTS)


DAMAGE = {
    "flip": flip,
    "truncate": lambda path: os.truncate(path, path.stat().st_size * 2 // 3),
    "empty": lambda path: os.truncate(path, 0),
    "delete": lambda path: path.unlink(),
    "no file": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_that_names_the_file(part: str, damage: str, copy: Path) -> None:
    DAMAGE[damage](copy / "last" / part)
    for line in told(copy):
        assert line.startswith(f"{copy}/last: damaged checkpoint: {part}"), line
        assert "best/" not in line  # there is none


def test_the_exact_words(copy: Path) -> None:
    shutil.copytree(copy / "last", copy / "best")
    (copy / "last/discriminator.safetensors").unlink()
    assert set(told(copy)) == {
        f"{copy}/last: damaged checkpoint: discriminator.safetensors: No such file or directory; "
        "the run's best/ may be whole"
    }
    (copy / "last/manifest.json").write_text(json.dumps({"format": "another-7"}))
    assert set(told(copy)) == {
        f"{copy}/last: damaged checkpoint: its format is 'another-7', and {FORMAT!r} is read here; "
        "the run's best/ may be whole"
    }


@pytest.mark.parametrize("text", ["[1]", "3", "null", "{}", '{"format": 1}', "\x00", "{", '{"format": null}'])
def test_a_manifest_that_is_none(text: str, copy: Path) -> None:
    (copy / "last/manifest.json").write_text(text)
    told(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(step=m["step"] + 1),
        lambda m: m.update(step="many"),
        lambda m: m["networks"].pop(),
        lambda m: m.update(networks=["generator", "generator"]),
        lambda m: m["sha256"].pop("generator.safetensors"),
        lambda m: m.update(sha256={}),
        lambda m: m.update(sha256=[1]),
        lambda m: m["sha256"].update({"../config.json": "0"}),
        lambda m: m["sha256"].update({"config.json": 7}),
    ],
)
def test_a_manifest_that_does_not_fit_is_not_believed(change: Callable[[dict[str, Any]], None], copy: Path) -> None:
    manifest = json.loads((copy / "last/manifest.json").read_text())
    change(manifest)
    (copy / "last/manifest.json").write_text(json.dumps(manifest))
    told(copy)


def test_any_byte_of_the_manifest(copy: Path) -> None:
    """Flipped, it is told or was about the versions, which nothing depends on."""
    path = copy / "last/manifest.json"
    held, whole = path.read_bytes(), Checkpoint(copy / "last")
    for at in range(len(held)):
        path.write_bytes(held[:at] + bytes([held[at] ^ 1]) + held[at + 1 :])
        try:
            found = Checkpoint(copy / "last")
        except CheckpointError:
            continue
        assert (found.step, found.networks, found.config) == (whole.step, whole.networks, whole.config)
        same = {**found.manifest, "versions": whole.manifest["versions"]}
        assert {key: same[key] for key in whole.manifest} == whole.manifest


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_not_mixed(copy: Path) -> None:
    expected = {ema: reference_models.load(copy, device="cpu").sample(3, ema=ema) for ema in (True, False)}
    model = reference_models.load(copy, device="cpu")
    run("dcgan", copy, 4, resume=True)
    for ema in (True, False):  # both were read at once
        assert torch.equal(model.sample(3, ema=ema), expected[ema])


def test_a_checkpoint_of_another_variant(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        run("lsgan", copy, 6, resume=True)
    assert str(caught.value) == f"{copy}: holds a run of dcgan, not of lsgan; name another --out"
    run("lsgan", tmp_path / "other", 1, cadence=NEVER)
    shutil.rmtree(copy / "last")
    shutil.copytree(tmp_path / "other/last", copy / "last")
    assert reference_models.load(copy).config["variant"] == "lsgan"
    with pytest.raises(CheckpointError, match="holds a run of lsgan, not of dcgan"):
        run("dcgan", copy, 6, resume=True)


def rewritten(out: Path, **config: Any) -> None:
    """Another configuration under right checksums, as another version would write."""
    state, kept = Checkpoint(out / "last").state(), Checkpoint(out / "last").config
    save(out / "last", state, {**kept, **config})


def test_a_variant_and_a_recipe_that_this_version_does_not_know(copy: Path) -> None:
    rewritten(copy, variant="supergan")
    with pytest.raises(RecipeError, match="unknown variant 'supergan'; expected one of gan, dcgan, lsgan"):
        reference_models.load(copy)
    with pytest.raises(CheckpointError, match="holds a run of supergan, not of dcgan"):
        run("dcgan", copy, 6, resume=True)
    rewritten(copy, variant="dcgan", recipe={"depth": 3})
    with pytest.raises(CheckpointError, match="made by another version of DCGAN: unknown recipe field 'depth'"):
        reference_models.load(copy)


def test_networks_of_another_version(copy: Path) -> None:
    found = Checkpoint(copy / "last")
    state, config = found.state(), found.config
    state["networks"]["generator"] = state["average"] = {"main.0.weight": torch.zeros(3)}
    save(copy / "last", state, config)
    with pytest.raises(CheckpointError, match="generator_ema does not fit this version's network"):
        reference_models.load(copy, device="cpu")
    with pytest.raises(CheckpointError, match=r"last: does not fit this version of dcgan") as caught:
        run("dcgan", copy, 6, resume=True)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- full disk


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

    target = "run_directory.RunDirectory.log" if what == "log" else "trainer.save_picture"
    monkeypatch.setattr(f"reference_models.{target}", full)
    with pytest.raises(TrainingError, match=r"cannot write to .*: No space left on device; step 0 is still in"):
        run("dcgan", tmp_path / "run", 6, cadence=Cadence(log=2, grid=2, progress=False))
    assert Checkpoint(tmp_path / "run/last").step == 0
