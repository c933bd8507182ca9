"""Whether a launcher such as torchrun started this process as one of several (by environment). Imports no torch."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

LAST_WORD = 2.0  # seconds that a failed process leaves rank 0 to print the error
NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def size() -> int:
    """Number of processes, 1 without a launcher."""
    launched = all(os.environ.get(name) for name in NAMES)
    return int(os.environ["WORLD_SIZE"]) if launched and os.environ["WORLD_SIZE"].isdecimal() else 1


def rank() -> int:
    """Rank of this process, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_rank() -> int:
    """Rank of this process among those on this machine."""
    value = os.environ.get("LOCAL_RANK", "0")
    return int(value) if value.isdecimal() else 0


def local_size() -> int:
    """Number of processes on this machine, 1 if the launcher does not say."""
    value = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(value)) if value.isdecimal() else 1


class EndedError(BaseException):
    """The launcher has asked this process to end (SIGTERM)."""


@contextmanager
def one_voice() -> Iterator[None]:
    """Only rank 0 prints, even when the launcher ends the job.

    A failed process of another rank waits LAST_WORD seconds before it ends, because a launcher ends all processes as
    soon as one has failed, and rank 0 must print the error first.
    """
    if size() == 1:
        yield
        return
    if rank() == 0:
        signal.signal(signal.SIGTERM, _raise_ended)
    else:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        sys.excepthook = _print_traceback
    try:
        yield
    except EndedError:
        message = f"Error: ended by the launcher: another of the {size()} processes died, or the job was cancelled"
        print(message, file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except BaseException as error:
        if rank() and not (isinstance(error, SystemExit) and error.code == 0):
            time.sleep(LAST_WORD)
        raise
    finally:
        if rank() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # no exception while the interpreter shuts down


def _raise_ended(number: int, frame: FrameType | None) -> None:
    raise EndedError


def _print_traceback(*error: Any) -> None:
    """On the real stderr, which the launcher may log."""
    traceback.print_exception(*error, file=sys.__stderr__)


def threads(cores: int) -> int | None:
    """Threads for each process, so that all together use all cores; None if the user has set OMP_NUM_THREADS.

    torchrun sets OMP_NUM_THREADS=1 for its processes if the user has not set it. Whether the user has is read from the
    environment of torchrun itself, the parent process.
    """
    if "OMP_NUM_THREADS" in os.environ and not _is_default_of_torchrun():
        return None
    return max(1, cores // local_size())


def _is_default_of_torchrun() -> bool:
    if os.environ["OMP_NUM_THREADS"] != "1" or "TORCHELASTIC_RUN_ID" not in os.environ:
        return False
    try:
        with open(f"/proc/{os.getppid()}/environ", "rb") as file:
            return not any(entry.startswith(b"OMP_NUM_THREADS=") for entry in file.read().split(b"\0"))
    except OSError:
        return True
