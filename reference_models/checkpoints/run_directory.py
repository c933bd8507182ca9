"""The folder of one run: `last/`, `best/`, `log.jsonl`, `samples/*.png`, `config.json`; one process writes it.

Also `history.jsonl`, the scores in the format of `ganmetrics.Monitor`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganmetrics.disk.writing import unfinished, write_whole
from ganmetrics.printable import printable, reason_of
from reference_models.checkpoints.checkpoint import Checkpoint, finish_swap, locate
from reference_models.errors import CheckpointError, TrainingError

OURS = {"config.json", "log.jsonl", "history.jsonl", "samples", "tensorboard", ".lock", "curves.png", "stopped"}


def folder_of(path: str | os.PathLike[str]) -> Path:
    """The folder that a user named. Raises CheckpointError for an empty name or another type."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        got = "an empty name" if path == "" else f"{path!r}"
        raise CheckpointError(f"expected the folder of a run, got {got}")
    folder = Path(path).expanduser()
    return folder if folder.name not in ("", "..") else folder.resolve()  # messages and records need a name


def run_around(path: Path) -> Path | None:
    """The run directory that is `path` or contains it; None if there is none. `path` must be absolute."""
    return next((folder for folder in (path, *path.parents) if locate(folder / "last") is not None), None)


class RunDirectory:
    """The files of a run's folder, by path, and how they are read and written.

    Raises CheckpointError if the folder's name is not valid.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = folder_of(path)
        self.name = printable(os.fspath(path))
        self.last, self.best = self.path / "last", self.path / "best"
        self.samples, self._log = self.path / "samples", self.path / "log.jsonl"
        self.stopped, self.history = self.path / "stopped", self.path / "history.jsonl"

    def found(self, *, resume: bool) -> Checkpoint | None:
        """The checkpoint to continue from; None to start from the beginning. Writes nothing.

        Raises CheckpointError if the folder is not fit: it is a file, holds other files, holds a run that `resume` does
        not ask for, or holds none that it asks for.
        """
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"{self.name}: is a file; expected a folder for the run")
        if locate(self.last) is not None or self.last.is_dir():  # without a manifest it is damaged, not absent
            checkpoint = Checkpoint(self.last).of_a_run()
            if resume:
                return checkpoint
            raise CheckpointError(
                f"{self.name}: holds a run of {checkpoint.config.get('variant')} at step {checkpoint.step}; "
                "--resume goes on with it, another --out leaves it alone"
            )
        if not self.path.is_dir():
            if resume:
                raise CheckpointError(f"{self.name}: nothing to resume there; leave out --resume to start a run")
            return None
        foreign = [printable(p.name) for p in self.path.iterdir() if not self._is_ours(p)]
        if foreign:
            raise CheckpointError(f"{self.name}: holds {foreign[0]}, no part of a run; name a new folder")
        return None

    def make(self) -> None:
        """Make the folder, if it does not exist yet."""
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self.name}: cannot be made: {reason_of(error)}") from error

    def mend(self) -> None:
        """Repair what a kill left unfinished; call it only under the lock."""
        for target in (self.last, self.best):
            finish_swap(target)
        for path in [*self.path.iterdir(), *self.samples.iterdir()]:
            if unfinished(path) or (path.suffix == ".part" and path.is_file()):  # NAME.part: of earlier versions
                path.unlink()

    @staticmethod
    def _is_ours(path: Path) -> bool:
        name = unfinished(path) or path.name.removesuffix(".part")  # earlier versions wrote NAME.part
        return name in OURS or path.name.split(".")[0] in ("last", "best")

    @contextmanager
    def locked(self, writes: bool) -> Iterator[None]:
        """A lock for one writer at a time, if the system has locks; it ends with its process, even a killed one."""
        if not writes:
            yield
            return
        try:
            import fcntl
        except ImportError:  # on Windows, which has no fcntl
            yield
            return
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(f"{self.name}: another process is training there; wait for it") from None
            except OSError:
                pass  # the file system has no locks
            yield

    def write_config(self, config: Mapping[str, Any]) -> None:
        with write_whole(self.path / "config.json") as file:
            file.write((json.dumps(config, indent=1) + "\n").encode())

    def log(self, line: Mapping[str, Any]) -> None:
        """Append one line to `log.jsonl`."""
        with open(self._log, "a") as file:
            file.write(json.dumps(line) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """Every complete line; a line that a kill cut short is skipped."""
        lines = []
        for text in self._log.read_text(errors="replace").splitlines() if self._log.is_file() else []:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                lines.append(line)
        return lines

    def forget_after(self, step: int) -> None:
        """Delete log lines and grids of later steps: a resumed run makes those steps again."""
        kept_lines = [line for line in self.read_log() if line["step"] <= step]
        with write_whole(self._log) as file:
            file.write("".join(json.dumps(line) + "\n" for line in kept_lines).encode())
        for picture in self.samples.glob("*.png"):
            if not picture.stem.isdigit() or int(picture.stem) > step:
                picture.unlink()

    def picture(self, step: int) -> Path:
        """Path for the grid of a step."""
        return self.samples / f"{step:06}.png"

    def last_picture(self) -> Path | None:
        return max(self.samples.glob("*.png"), default=None, key=lambda path: path.name)

    @contextmanager
    def writing(self, step: int) -> Iterator[None]:
        """Turns OSError, such as that of a full disk, into TrainingError that says which checkpoint is still there."""
        try:
            yield
        except OSError as error:
            last = locate(self.last)
            kept = f"step {Checkpoint(last).step} is still in {self.name}/last" if last else "no checkpoint is there"
            raise TrainingError(
                f"step {step}: cannot write to {self.name}: {reason_of(error)}; {kept}; "
                "mend that and go on with --resume"
            ) from error
