"""Ctrl-C and SIGTERM, which end a run after the current step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def signals() -> Iterator[list[signal.Signals]]:
    """Collects Ctrl-C and SIGTERM in the yielded list, so that the loop can end after its step.

    The first one restores the earlier handlers, so that a second one ends the run at once.
    """
    caught: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():  # Python allows signal handlers only there
        yield caught
        return
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def catch(number: int, frame: Any) -> None:
        caught.append(signal.Signals(number))
        for other_number, handler in earlier.items():
            signal.signal(other_number, handler)

    try:
        for number in earlier:
            signal.signal(number, catch)
        yield caught
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
