"""Several processes that share one job: all learn the outcome of each, and no failure leaves the others waiting.

Outcomes (results or errors) go through the launcher's store, where each process also writes heartbeats. Vectors and
sums go by gloo between main memories, for CPUs and GPUs alike: a few megabytes, once, after the images are read.
A process waits for another while its heartbeats arrive, and at most DEAD_AFTER seconds after the last one.
"""

from __future__ import annotations

import atexit
import base64
import itertools
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from ganmetrics.errors import GanMetricsError, ProcessError
from ganmetrics.runtime import launcher
from ganmetrics.runtime.device import cores

if TYPE_CHECKING:
    from typing_extensions import Self

# All in seconds.
DEAD_AFTER = 300.0  # without a heartbeat until a process counts as dead
HEARTBEAT = 5.0  # between two heartbeats
POLL = 0.2  # between two checks whether another process has failed
SHUTDOWN_WAIT = 30.0  # that rank 0, which may host the store, waits for the other ranks to end
T = TypeVar("T")


class Alone:
    """One process, used in a `with` statement. It has no one to exchange results with and returns its own."""

    rank, size = 0, 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def agree(self, function: Callable[[], T]) -> list[T]:
        """Results of all processes, by rank. An error in one is raised in all; of several, that of the lowest rank."""
        return [function()]

    def first(self, function: Callable[[], T]) -> T:
        """Only rank 0 runs the function; all processes get its result or raise its error."""
        return function()

    def glance(self) -> None:
        """Raise ElsewhereError if another process has failed."""

    def send(self, tensor: Tensor) -> None:
        """Send to rank 0."""

    def receive(self, tensor: Tensor, rank: int) -> None:
        """Fill `tensor` with what `rank` sends."""


class ElsewhereError(Exception):
    """Another process has failed; the next `agree` raises its error."""


class Processes(Alone):
    """One of several processes. All must call the same methods in the same order.

    Args:
        store: key-value store that all of them can reach.
        group: their gloo group; None for the default group.
    """

    _uses = itertools.count()

    def __init__(self, store: dist.Store, group: dist.ProcessGroup | None, rank: int, size: int):
        self.rank, self.size = rank, size
        self._store, self._group = store, group
        self._glanced = 0.0

    def __enter__(self) -> Self:
        self._prefix = f"ganmetrics/{next(self._uses)}"
        self._steps = itertools.count()
        self._failure_known = False
        self._ended = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, daemon=True, name="ganmetrics-life")
        self._heartbeat.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        """Share an error that the others do not know yet; rank 0 then waits until no process needs the store."""
        error: BaseException | None = raised[1]
        try:
            if error is not None and not self._failure_known:
                self._share_error(next(self._steps), error)
            self._store.set(f"{self._prefix}/end/{self.rank}", "")
            if self.rank == 0 and (error is None or isinstance(error, Exception)):
                limit = time.monotonic() + SHUTDOWN_WAIT
                ends = [f"{self._prefix}/end/{rank}" for rank in range(self.size)]
                while time.monotonic() < limit and not all(self._store.check([end]) for end in ends):
                    time.sleep(0.01)
        except RuntimeError:  # the store ended with the process that hosted it
            pass
        finally:
            self._ended.set()
            self._heartbeat.join()

    def agree(self, function: Callable[[], T]) -> list[T]:
        step = next(self._steps)
        try:
            outcome: tuple[Any, Exception | None] = function(), None
        except Exception as error:
            outcome = None, error
        if outcome[1] is None:
            self._share(step, outcome)
        else:
            self._share_error(step, outcome[1])
        outcomes = [outcome if rank == self.rank else self._outcome_of(rank, step) for rank in range(self.size)]
        errors = [error for _, error in outcomes if error is not None]
        if errors:
            self._failure_known = True
            raise next((error for error in errors if not isinstance(error, ElsewhereError)), errors[0])
        return [value for value, _ in outcomes]

    def first(self, function: Callable[[], T]) -> T:
        task: Callable[[], Any] = partial(_on_all_cores, function) if self.rank == 0 else lambda: None
        result: T = self.agree(task)[0]
        return result

    def glance(self) -> None:
        now = time.monotonic()
        if now - self._glanced < POLL:
            return
        self._glanced = now
        with self._connected():
            if self._store.check([f"{self._prefix}/failed"]):
                raise ElsewhereError

    def send(self, tensor: Tensor) -> None:
        with self._connected():
            dist.send(tensor, group_dst=0, group=self._group)

    def receive(self, tensor: Tensor, rank: int) -> None:
        with self._connected():
            dist.recv(tensor, group_src=rank, group=self._group)

    def _share(self, step: int, outcome: tuple[Any, Exception | None]) -> None:
        with self._connected():  # base64, because a store holds text
            self._store.set(f"{self._prefix}/{step}/{self.rank}", base64.b64encode(pickle.dumps(outcome)).decode())

    def _share_error(self, step: int, error: BaseException) -> None:
        """Share errors a user can fix unchanged, others as one line: the failing process prints their traceback."""
        description = " ".join(f"{type(error).__name__}: {error}".split())
        shared: Exception = ProcessError(f"process {self.rank} of {self.size} failed: {description}")
        if isinstance(error, (GanMetricsError, ElsewhereError, MemoryError)):
            shared = error
        self._share(step, (None, shared))
        self._failure_known = True
        with self._connected():
            self._store.set(f"{self._prefix}/failed", "")

    def _outcome_of(self, rank: int, step: int) -> tuple[Any, Exception | None]:
        """The outcome of another process, waiting while it is alive. Raises ProcessError if it ended or died."""
        key, beat_key = f"{self._prefix}/{step}/{rank}", f"{self._prefix}/life/{rank}"
        last_beat, beat_at, pause, checked_at = b"", time.monotonic(), 0.001, time.monotonic()
        with self._connected():
            while not self._store.check([key]):
                now = time.monotonic()
                # `key` is checked again, because it may have been written since the check above.
                if self._store.check([f"{self._prefix}/end/{rank}"]) and not self._store.check([key]):
                    self._failure_known = True
                    raise ProcessError(f"process {rank} of {self.size} has ended before the others")
                if now - checked_at > HEARTBEAT:
                    beat = self._store.get(beat_key) if self._store.check([beat_key]) else b""
                    last_beat, beat_at, checked_at = beat, (now if beat != last_beat else beat_at), now
                if now - beat_at > DEAD_AFTER:
                    self._failure_known = True
                    raise ProcessError(
                        f"process {rank} of {self.size} has given no sign of life for {DEAD_AFTER:.0f} s: it died, or "
                        "its machine did"
                    )
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
            outcome: tuple[Any, Exception | None] = pickle.loads(base64.b64decode(self._store.get(key)))
            return outcome

    def _beat(self) -> None:
        for count in itertools.count(1):
            try:
                self._store.set(f"{self._prefix}/life/{self.rank}", str(count))
            except RuntimeError:
                return
            if self._ended.wait(HEARTBEAT):
                return

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Turn an error of the store or of gloo into a ProcessError."""
        try:
            yield
        except RuntimeError as error:
            self._failure_known = True
            raise ProcessError(
                f"the connection to the other {self.size - 1} processes broke: one of them died, or the launcher "
                f"ended ({' '.join(str(error).split())[:120]})"
            ) from error


def processes(shared: bool) -> Alone:
    """The processes that share the work: the caller's torch.distributed, else the launcher's, else this one alone.

    Raises ProcessError if the others do not connect.
    """
    if not shared:
        return Alone()
    if dist.is_available() and dist.is_initialized():
        return _from_caller() if dist.get_world_size() > 1 else Alone()
    return _from_launcher() if launcher.size() > 1 else Alone()


def _on_all_cores(function: Callable[[], T]) -> T:
    """Run with all cores, because the other processes are waiting."""
    before = torch.get_num_threads()
    if launcher.threads(1) is not None:
        torch.set_num_threads(cores())
    try:
        return function()
    finally:
        torch.set_num_threads(before)


def _take_share() -> None:
    """Use only this process's own GPU and its share of the threads."""
    if (threads := launcher.threads(cores())) is not None:
        torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(launcher.local_rank() % torch.cuda.device_count())


_processes: dict[Any, Processes] = {}  # by default group: its store and gloo group are created once


def _from_caller() -> Processes:
    caller = dist.group.WORLD
    if caller not in _processes:
        store = dist.PrefixStore("ganmetrics", dist.distributed_c10d._get_default_store())
        group = dist.new_group(backend="gloo", timeout=timedelta(seconds=DEAD_AFTER))
        _processes.clear()  # an earlier default group no longer exists
        _processes[caller] = Processes(store, cast(dist.ProcessGroup, group), dist.get_rank(), dist.get_world_size())
    return _processes[caller]


def _from_launcher() -> Processes:
    _take_share()
    rank, size = launcher.rank(), launcher.size()
    patience = timedelta(seconds=DEAD_AFTER)
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=patience))
        store = dist.PrefixStore("ganmetrics", store)
        dist.init_process_group("gloo", store=dist.PrefixStore("gloo", store), rank=rank, world_size=size,
                                timeout=patience)  # fmt: skip
    except (RuntimeError, ValueError) as error:
        raise ProcessError(
            f"process {rank} of {size} did not meet the others within {DEAD_AFTER:.0f} s "
            f"({' '.join(str(error).split())[:120]}); unset WORLD_SIZE to run in one"
        ) from error
    atexit.register(dist.destroy_process_group)
    group = _processes[dist.group.WORLD] = Processes(store, None, rank, size)
    return group
