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
        step, total: how many steps of how many have been made.
        made: how many of them by this call.
        already_complete: whether there was nothing left to do for a run that was resumed.
        stopped: the signal that ended it early.
        best: the best score, where scores were taken, or best value of what the variant names.
        best_of: its name.
        is_main_process: whether this is the process, of several, that talks to the user.
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
