"""Checkpoints: one directory holds all of a run, complete or not there at all.

    NAME.safetensors            each network, and generator_ema.safetensors
    training.{json,safetensors} optimisers, schedules, random numbers, the variant's own state, the step
    config.json                 variant, recipe, data, seed, processes: what a resumed run must agree with
    manifest.json               format, versions, SHA-256 of every file; written last

Nothing is unpickled. A checkpoint is written beside the one it replaces and takes its name by two renames, so that
at every moment one complete checkpoint is there; `locate` finds it wherever a kill left it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from ganmetrics.disk.checksums import sha256_of
from ganmetrics.disk.writing import write_whole
from ganmetrics.printable import printable, reason_of
from reference_models.checkpoints.tree import flatten, unflatten
from reference_models.errors import CheckpointError

FORMAT = "reference-models-checkpoint-1"
NEW, OLD = ".new", ".old"  # beside NAME while it is replaced
EMA = "generator_ema"
CONFIGURATION = {"variant", "recipe", "data", "seed", "processes"}  # what every config.json says


def save(target: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write `Training.state()` and the configuration; replaces what is at `target`. OSError leaves that as it was."""
    finish_swap(target)
    new, old = target.with_name(target.name + NEW), target.with_name(target.name + OLD)
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        _write(new, state, config)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if target.exists():
        target.rename(old)
    new.rename(target)
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _write(folder: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    rest = {name: value for name, value in state.items() if name not in ("networks", "average")}
    encoded, tensors = flatten(rest)
    for name, network in {**state["networks"], EMA: state["average"]}.items():
        _save_tensors(folder / f"{name}.safetensors", network)
    _save_tensors(folder / "training.safetensors", tensors)
    _save_json(folder / "training.json", encoded)
    _save_json(folder / "config.json", config)
    manifest = {
        "format": FORMAT,
        "step": state["step"],
        "networks": list(state["networks"]),
        "versions": versions(),
        "sha256": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
    }
    _save_json(folder / "manifest.json", manifest)  # whole, or not there: it says that the rest is
    _sync(folder)


def versions() -> dict[str, str]:
    """Of everything that a run depends on."""
    packages = ("ganmetrics", "torch", "torchvision", "accelerate", "numpy", "safetensors")
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "not installed"


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_tensors(path, tensors)
    _sync(path)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """As safetensors. Raises OSError where it cannot be written; `save_file` would hide it in an error of its own."""
    kept = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    path.write_bytes(safetensors.save(kept))


def _save_json(path: Path, value: Any) -> None:
    with write_whole(path) as file:
        file.write((json.dumps(value, indent=None if path.name == "training.json" else 1) + "\n").encode())


def _sync(path: Path) -> None:
    """To the disk itself: a machine that loses power keeps what a rename promised."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def finish_swap(target: Path) -> None:
    """Bring the newest complete checkpoint of a run that was killed to its place, and take its leftovers away."""
    new, old = target.with_name(target.name + NEW), target.with_name(target.name + OLD)
    found = locate(target)
    if found is not None and found != target:
        shutil.rmtree(target, ignore_errors=True)
        found.rename(target)
    shutil.rmtree(new, ignore_errors=True)
    if found is not None:
        shutil.rmtree(old, ignore_errors=True)


def locate(target: Path) -> Path | None:
    """Where the complete checkpoint of that name is: in its place, or where a kill between two renames left it."""
    target = target if target.name else target.absolute()
    places = (target, target.with_name(target.name + NEW), target.with_name(target.name + OLD))
    return next((place for place in places if (place / "manifest.json").is_file()), None)


def _manifest(target: Path) -> bytes | None:
    """What tells one checkpoint of that name from the next."""
    try:
        return ((locate(target) or target) / "manifest.json").read_bytes()
    except OSError:
        return None


class Checkpoint:
    """A complete checkpoint on disk, every file of which matches its checksum.

    Raises CheckpointError where there is none, or where it is damaged.
    """

    def __init__(self, target: str | os.PathLike[str]):
        seen: Any = ()
        while True:
            try:
                return self._read(Path(target))
            except CheckpointError:
                before, seen = seen, _manifest(Path(target))
                if seen == before:
                    raise
                # else training may have replaced it in the middle of the reading

    def _read(self, target: Path) -> None:
        found = locate(target)
        if found is None and not target.is_dir():
            raise CheckpointError(f"{printable(os.fspath(target))}: no complete checkpoint there")
        self.path = found or target  # a folder of that name without a manifest was complete once
        self._seen = _manifest(self.path)
        self.manifest = self._json("manifest.json")
        self._verify()
        self.config: dict[str, Any] = self._json("config.json")

    def is_replaced(self) -> bool:
        """Whether training has put another checkpoint in its place since."""
        return _manifest(self.path) != self._seen

    def of_a_run(self) -> Checkpoint:
        """Itself, with a configuration that says all a run's has to. Raises CheckpointError."""
        lacking = CONFIGURATION - set(self.config if isinstance(self.config, dict) else ())
        if lacking:
            raise self._damaged(f"config.json lacks {', '.join(sorted(lacking))}")
        return self

    def _verify(self) -> None:
        manifest = self.manifest
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            got = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
            raise self._damaged(f"its format is {got!r}, and {FORMAT!r} is read here")
        try:
            self._expected: dict[str, str] = dict(manifest["sha256"])
            self.step, self.networks = int(manifest["step"]), [str(name) for name in manifest["networks"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged("manifest.json lacks what belongs there") from error
        tensors = {f"{name}.safetensors" for name in (*self.networks, EMA, "training")}
        if set(self._expected) != {*tensors, "training.json", "config.json"}:
            raise self._damaged("manifest.json names other files than its networks need")
        for name in self._expected:
            try:
                self._require_kept(name, sha256_of(self.path / name))
            except OSError as error:
                raise self._damaged(f"{printable(name)}: {reason_of(error)}") from error
        if ["step", self.step] not in self._json("training.json")["dict"]:
            raise self._damaged(f"manifest.json says step {self.step}, training.json another")

    def _require_kept(self, name: str, got: str) -> None:
        digest = str(self._expected[name])
        if got != digest:
            raise self._damaged(
                f"{printable(name)} is not what was saved (SHA-256 {got[:8]}..., not {printable(digest[:8])}...)"
            )

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise self._damaged(f"{name} cannot be read") from error

    def _damaged(self, why: str) -> CheckpointError:
        other = self.path.with_name("best" if self.path.name.startswith("last") else "last")
        hint = f"; the run's {other.name}/ may be whole" if locate(other) else ""
        return CheckpointError(f"{printable(os.fspath(self.path))}: damaged checkpoint: {why}{hint}")

    def network(self, name: str) -> dict[str, Tensor]:
        """The state dict of a network, or of the generator's average, `EMA`."""
        return self._tensors(f"{name}.safetensors")

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            held = (self.path / name).read_bytes()
            self._require_kept(name, hashlib.sha256(held).hexdigest())  # training may have replaced it since
            return safetensors.load(held)
        except (OSError, SafetensorError) as error:
            raise self._damaged(f"{name} cannot be read") from error

    def state(self) -> dict[str, Any]:
        """What `save` was given. Raises CheckpointError."""
        try:
            rest = unflatten(self._json("training.json"), self._tensors("training.safetensors"))
        except (KeyError, ValueError) as error:
            raise self._damaged("training.json cannot be read") from error
        return {**rest, "networks": {name: self.network(name) for name in self.networks}, "average": self.network(EMA)}


def differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """`name: kept -> asked` for every entry that is not the same, entries of entries included."""
    found = []
    for name in {**kept, **asked}:
        mine, theirs = kept.get(name), asked.get(name)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            found += differences(mine, theirs)
        elif mine != theirs:
            found.append(f"{name}: {mine} -> {theirs}")
    return found
