"""The scores of a run as JSON lines, one step a line, that survive kills and resumed runs; `gm.read_history`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ganmetrics.errors import OptionError
from ganmetrics.printable import printable, reason_of
from ganmetrics.score import Score

BEGINNING = b'{"step": 0, "scores": {'  # of every line, with another number


@dataclass(frozen=True)
class Scored:
    """One line: the scores of a step.

    Attributes:
        step: of training.
        scores: by the name of the value.
        best: whether it was the best so far.
        seconds: that sampling and measuring took.
        real: checksum of the images or statistics compared with, or the name of a source that has none; None where
            there is no such side, or an older line does not say.
        seed: of the samples; None where an older line does not say.
    """

    step: int
    scores: Mapping[str, Score]
    best: bool
    seconds: float
    real: str | None = None
    seed: int | None = None

    def to_json(self) -> str:
        """One object, keys in the order of the attributes, each score as `--json` prints it."""
        scores = {name: json.loads(score.to_json()) for name, score in self.scores.items()}
        return json.dumps({**vars(self), "scores": scores})

    @classmethod
    def from_json(cls, line: str | bytes) -> Scored:
        """Inverse of `to_json`. Raises OptionError for a line that is none."""
        try:
            held = json.loads(line)
            scores = {name: Score.from_json(json.dumps(score)) for name, score in held["scores"].items()}
            step, best, seconds = int(held["step"]), bool(held["best"]), float(held["seconds"])
            return cls(step, scores, best, seconds, held.get("real"), held.get("seed"))
        except (ValueError, TypeError, KeyError, AttributeError, OptionError) as error:
            raise OptionError(f"expected the scores of one step, got {line[:60]!r}") from error


def read_history(path: str | os.PathLike[str]) -> list[Scored]:
    """The lines that stand, steps rising: a step that goes back takes the place of all from it on.

    A run that is resumed from an earlier checkpoint makes the steps behind it again. The end of a last line that a
    kill cut short is left out; any other end is a line. Raises OptionError for a file that is not there or no history.
    """
    name = printable(os.fspath(path))
    try:
        *whole, rest = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise OptionError(f"{name}: cannot be read: {reason_of(error)}; expected the history of a run") from error
    lines: list[Scored] = []
    for number, text in enumerate(whole if not rest or _is_cut(rest) else [*whole, rest], 1):
        try:
            lines.append(Scored.from_json(text))
        except OptionError as error:
            raise OptionError(f"{name}, line {number}: {error}") from None
    return standing(lines)


def standing(lines: Iterable[Scored]) -> list[Scored]:
    """Without the lines that a later one has taken the place of."""
    kept: list[Scored] = []
    for line in lines:
        while kept and kept[-1].step >= line.step:
            kept.pop()
        kept.append(line)
    return kept


def _is_cut(text: bytes) -> bool:
    """Whether it is the beginning of a line of ours, and not the whole of one."""
    try:
        json.loads(text)
    except ValueError:
        shape = re.sub(rb"\d+", b"0", text, count=1)[: len(BEGINNING)]
        return BEGINNING.startswith(shape)
    return False


class History:
    """A file that lines are appended to, each there for good before the run goes on.

    Attributes:
        lines: that stood in it when it was opened.

    Raises OptionError for a file that cannot be written, at once and not at the first score, and for one that holds
    anything else, which stays as it is.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab"):
                pass
        except OSError as error:
            raise OptionError(f"history {printable(os.fspath(path))}: cannot be written: {reason_of(error)}") from error
        self.lines = read_history(self.path)
        self._mend()

    def _mend(self) -> None:
        """Take the end of a line that a kill cut short away, or end a whole one."""
        held = self.path.read_bytes()
        rest = held[held.rfind(b"\n") + 1 :]
        if rest and _is_cut(rest):
            os.truncate(self.path, len(held) - len(rest))
        elif rest:
            with open(self.path, "ab") as file:
                file.write(b"\n")

    def append(self, line: Scored) -> None:
        """One more line. Raises OSError where the disk is full."""
        with open(self.path, "ab") as file:
            file.write(line.to_json().encode() + b"\n")
