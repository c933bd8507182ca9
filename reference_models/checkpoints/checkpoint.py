"""Checkpoints: one directory holds the whole state of a run, either complete or not there at all.

    NAME.safetensors            each network, and generator_ema.safetensors
    training.{json,safetensors} optimisers, schedules, random numbers, the variant's own state, the step
    config.json                 variant, recipe, data, seed, processes: what a resumed run must agree with
    manifest.json               format, versions, SHA-256 of every file; written last

Nothing is unpickled. A checkpoint is written beside the one it replaces, then two renames put it in place, so that one
complete checkpoint exists at every moment; `locate` finds it if the process is killed in between.
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
NEW, OLD = ".new", ".old"  # suffixes of the directories beside NAME while it is replaced
EMA = "generator_ema"
CONFIGURATION = {"variant", "recipe", "data", "seed", "processes"}  # entries of every config.json


def save(target: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write `Training.state()` and the configuration; replaces the checkpoint at `target`.

    Raises OSError if it cannot be written; the checkpoint at `target` is then unchanged.
    """
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
    _save_json(folder / "manifest.json", manifest)  # last, and whole or absent: it shows that the rest is complete
    _sync(folder)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run depends on."""
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
    """Write a safetensors file. Raises OSError on failure; safetensors' `save_file` raises another error type."""
    on_cpu = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    path.write_bytes(safetensors.save(on_cpu))


def _save_json(path: Path, value: Any) -> None:
    with write_whole(path) as file:
        file.write((json.dumps(value, indent=None if path.name == "training.json" else 1) + "\n").encode())


def _sync(path: Path) -> None:
    """Flush a file or directory to the disk, so that a rename is still complete after a power failure."""
    if os.name == "nt" and path.is_dir():  # Windows opens no directories
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def finish_swap(target: Path) -> None:
    """Finish a replacement that a kill interrupted: put the newest complete checkpoint in place, delete leftovers."""
    new, old = target.with_name(target.name + NEW), target.with_name(target.name + OLD)
    complete = locate(target)
    if complete is not None and complete != target:
        shutil.rmtree(target, ignore_errors=True)
        complete.rename(target)
    shutil.rmtree(new, ignore_errors=True)
    if complete is not None:
        shutil.rmtree(old, ignore_errors=True)


def locate(target: Path) -> Path | None:
    """Path of the complete checkpoint of that name: `target`, or where a kill left it; None if there is none."""
    target = target if target.name else target.absolute()  # Path(".") has no name to add a suffix to
    places = (target, target.with_name(target.name + NEW), target.with_name(target.name + OLD))
    return next((place for place in places if (place / "manifest.json").is_file()), None)


def _manifest(target: Path) -> bytes | None:
    """The bytes that distinguish a checkpoint from the next one of that name; None if they cannot be read."""
    try:
        return ((locate(target) or target) / "manifest.json").read_bytes()
    except OSError:
        return None


class Checkpoint:
    """A complete checkpoint on disk, every file of which matches its checksum.

    Attributes:
        path: its directory.
        manifest, config: contents of manifest.json and config.json.
        step: number of finished steps.
        networks: names of its networks, without the generator's average.

    Raises:
        CheckpointError: if there is none, or if it is damaged.
    """

    def __init__(self, target: str | os.PathLike[str]):
        manifest: Any = ()
        while True:
            try:
                return self._read(Path(target))
            except CheckpointError:
                previous, manifest = manifest, _manifest(Path(target))
                if manifest == previous:
                    raise
                # else training may have replaced it during reading: try again

    def _read(self, target: Path) -> None:
        complete = locate(target)
        if complete is None and not target.is_dir():
            raise CheckpointError(f"{printable(os.fspath(target))}: no complete checkpoint there")
        self.path = complete or target  # a folder without a manifest has lost it: reported as damaged below
        self._manifest_bytes = _manifest(self.path)
        self.manifest = self._json("manifest.json")
        self._verify()
        self.config: dict[str, Any] = self._json("config.json")

    def is_replaced(self) -> bool:
        """Whether training has replaced this checkpoint since it was read."""
        return _manifest(self.path) != self._manifest_bytes

    def of_a_run(self) -> Checkpoint:
        """Returns itself. Raises CheckpointError if its configuration lacks an entry that every run has."""
        missing = CONFIGURATION - set(self.config if isinstance(self.config, dict) else ())
        if missing:
            raise self._damaged(f"config.json lacks {', '.join(sorted(missing))}")
        return self

    def _verify(self) -> None:
        manifest = self.manifest
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            got = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
            raise self._damaged(f"its format is {got!r}, expected {FORMAT!r}")
        try:
            self._expected_digests: dict[str, str] = dict(manifest["sha256"])
            self.step, self.networks = int(manifest["step"]), [str(name) for name in manifest["networks"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged("manifest.json lacks entries or has invalid ones") from error
        tensors = {f"{name}.safetensors" for name in (*self.networks, EMA, "training")}
        if set(self._expected_digests) != {*tensors, "training.json", "config.json"}:
            raise self._damaged("manifest.json names other files than its networks need")
        for name in self._expected_digests:
            try:
                self._require_digest(name, sha256_of(self.path / name))
            except OSError as error:
                raise self._damaged(f"{printable(name)}: {reason_of(error)}") from error
        if ["step", self.step] not in self._json("training.json")["dict"]:
            raise self._damaged(f"manifest.json says step {self.step}, training.json another")

    def _require_digest(self, name: str, got: str) -> None:
        digest = str(self._expected_digests[name])
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
        sibling = self.path.with_name("best" if self.path.name.startswith("last") else "last")
        hint = f"; the run's {sibling.name}/ may be whole" if locate(sibling) else ""
        return CheckpointError(f"{printable(os.fspath(self.path))}: damaged checkpoint: {why}{hint}")

    def network(self, name: str) -> dict[str, Tensor]:
        """The state dict of a network, or of the generator's average under the name `EMA`."""
        return self._tensors(f"{name}.safetensors")

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            content = (self.path / name).read_bytes()
            self._require_digest(name, hashlib.sha256(content).hexdigest())  # training may have replaced it since
            return safetensors.load(content)
        except (OSError, SafetensorError) as error:
            raise self._damaged(f"{name} cannot be read") from error

    def state(self) -> dict[str, Any]:
        """The state that was given to `save`. Raises CheckpointError if it is damaged."""
        try:
            rest = unflatten(self._json("training.json"), self._tensors("training.safetensors"))
        except (KeyError, ValueError) as error:
            raise self._damaged("training.json cannot be read") from error
        return {**rest, "networks": {name: self.network(name) for name in self.networks}, "average": self.network(EMA)}


def differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """`name: kept -> asked` for every entry that differs, nested entries included."""
    changes = []
    for name in {**kept, **asked}:
        old, new = kept.get(name), asked.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += differences(old, new)
        elif old != new:
            changes.append(f"{name}: {old} -> {new}")
    return changes
