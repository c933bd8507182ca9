"""Whether a launcher such as torchrun started this process as one of several, by its variables. Imports no torch."""

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

LAST_WORD = 2.0  # seconds
NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def size() -> int:
    """How many processes there are, 1 without a launcher."""
    there = all(os.environ.get(name) for name in NAMES)
    return int(os.environ["WORLD_SIZE"]) if there and os.environ["WORLD_SIZE"].isdecimal() else 1


def rank() -> int:
    """The place of this one among them, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_rank() -> int:
    """The place of this one among those on this machine."""
    said = os.environ.get("LOCAL_RANK", "0")
    return int(said) if said.isdecimal() else 0


def local_size() -> int:
    """How many of them are on this machine, as far as the launcher says."""
    said = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(said)) if said.isdecimal() else 1


class EndedError(BaseException):
    """The launcher asks this process to end."""


@contextmanager
def one_voice() -> Iterator[None]:
    """Of several processes of one command line the first alone speaks, also where the launcher ends it.

    The others leave it the time for that: a launcher ends all as soon as one has failed.
    """
    if size() == 1:
        yield
        return
    if rank() == 0:
        signal.signal(signal.SIGTERM, _end)
    else:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        sys.excepthook = _show
    try:
        yield
    except EndedError:
        said = f"Error: ended by the launcher: another of the {size()} processes died, or the job was cancelled"
        print(said, file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except BaseException as error:
        if rank() and not (isinstance(error, SystemExit) and error.code == 0):
            time.sleep(LAST_WORD)
        raise
    finally:
        if rank() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    raise EndedError


def _show(*error: Any) -> None:
    traceback.print_exception(*error, file=sys.__stderr__)


def threads(cores: int) -> int | None:
    """Threads for each process, so that together they fill the cores; None where the user has said how many.

    torchrun puts OMP_NUM_THREADS=1 into the environment of its processes where the user did not, which is told by the
    environment that it was itself started with.
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
