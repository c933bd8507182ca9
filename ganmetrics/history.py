"""The scores of a run as a file of JSON lines, one per step, safe against kills and resumed runs; `gm.read_history`."""

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

BEGINNING = b'{"step": 0, "scores": {'  # of every line, except for the step number


@dataclass(frozen=True)
class Scored:
    """One line: the scores of a step.

    Attributes:
        step: of training.
        scores: by name of the value.
        best: whether it was the best so far.
        seconds: time of sampling and measuring.
        real: checksum of the real images or statistics, or the name of a source without one; None if there is no real
            side, or in a line written by an older version.
        seed: of the samples; None in a line written by an older version.
    """

    step: int
    scores: Mapping[str, Score]
    best: bool
    seconds: float
    real: str | None = None
    seed: int | None = None

    def to_json(self) -> str:
        """One JSON object, keys in the order of the attributes, each score as `--json` prints it."""
        scores = {name: json.loads(score.to_json()) for name, score in self.scores.items()}
        return json.dumps({**vars(self), "scores": scores})

    @classmethod
    def from_json(cls, line: str | bytes) -> Scored:
        """Inverse of `to_json`. Raises OptionError for any other text."""
        try:
            fields = json.loads(line)
            scores = {name: Score.from_json(json.dumps(score)) for name, score in fields["scores"].items()}
            step, best, seconds = int(fields["step"]), bool(fields["best"]), float(fields["seconds"])
            return cls(step, scores, best, seconds, fields.get("real"), fields.get("seed"))
        except (ValueError, TypeError, KeyError, AttributeError, OptionError) as error:
            raise OptionError(f"expected the scores of one step, got {line[:60]!r}") from error


def read_history(path: str | os.PathLike[str]) -> list[Scored]:
    """The valid lines, in order of rising steps: a step that goes back replaces all lines from that step on.

    A run resumed from an earlier checkpoint measures later steps again, hence the rule. An incomplete last line, left
    by a kill, is ignored. Raises OptionError for a file that cannot be read or is no history.
    """
    name = printable(os.fspath(path))
    try:
        *complete, rest = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise OptionError(f"{name}: cannot be read: {reason_of(error)}; expected the history of a run") from error
    lines: list[Scored] = []
    for number, text in enumerate(complete if not rest or _is_cut(rest) else [*complete, rest], 1):
        try:
            lines.append(Scored.from_json(text))
        except OptionError as error:
            raise OptionError(f"{name}, line {number}: {error}") from None
    return standing(lines)


def standing(lines: Iterable[Scored]) -> list[Scored]:
    """The lines without those that a later line replaces."""
    kept: list[Scored] = []
    for line in lines:
        while kept and kept[-1].step >= line.step:
            kept.pop()
        kept.append(line)
    return kept


def _is_cut(text: bytes) -> bool:
    """Whether this is an incomplete line of a history: no whole JSON, but it begins like our lines."""
    try:
        json.loads(text)
    except ValueError:
        shape = re.sub(rb"\d+", b"0", text, count=1)[: len(BEGINNING)]
        return BEGINNING.startswith(shape)
    return False


class History:
    """A file to which lines are appended; each is written before the run continues.

    Attributes:
        lines: the lines in the file when it was opened.

    Raises OptionError, when it is opened, for a file that cannot be written, and for one that is no history, which is
    not changed.
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
        """Remove an incomplete last line, left by a kill; add the line end that a complete last line lacks."""
        content = self.path.read_bytes()
        rest = content[content.rfind(b"\n") + 1 :]
        if rest and _is_cut(rest):
            os.truncate(self.path, len(content) - len(rest))
        elif rest:
            with open(self.path, "ab") as file:
                file.write(b"\n")

    def append(self, line: Scored) -> None:
        """Append one line. Raises OSError if it cannot be written, as on a full disk."""
        with open(self.path, "ab") as file:
            file.write(line.to_json().encode() + b"\n")
