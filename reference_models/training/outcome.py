"""How a run ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """How `train` ended.

    Attributes:
        path: the run directory.
        step, total: number of finished steps, and the number that was asked for.
        made: number of steps that this call made.
        already_complete: whether a resumed run had no steps left to make.
        stopped: the signal that ended the run early; None if it was not.
        best: the best score or, if none was taken, the best of the value that the variant names; None without either.
        best_of: name of that value.
        is_main_process: whether this process, of several, is the one that prints.
    """

    path: Path
    step: int
    total: int
    made: int
    stopped: signal.Signals | None = None
    best: float | None = None
    best_of: str | None = None
    is_main_process: bool = True
    already_complete: bool = False
