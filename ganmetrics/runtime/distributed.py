"""Several processes as one: what each has done is told to all, and no failure of one leaves the others waiting.

Outcomes go through the launcher's store, where each process also leaves a sign of life; vectors and sums go by gloo,
from and to main memory, which is right for CPUs and GPUs alike: a few megabytes, once, when the images are read.
A process waits for another as long as that one lives, and at most DEAD_AFTER seconds after its last sign.
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
DEAD_AFTER = 300.0  # without a heartbeat, after which a process is taken to be dead
HEARTBEAT = 5.0  # between two signs of life
POLL = 0.2  # between two looks at whether another process has failed
SHUTDOWN_WAIT = 30.0  # for the others to finish with the store of the first process
T = TypeVar("T")


class Alone:
    """One process. `with` it; what several would tell one another it knows already."""

    rank, size = 0, 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def agree(self, function: Callable[[], T]) -> list[T]:
        """What the function gives in every process, by rank; an error of one is raised in all, the first by rank."""
        return [function()]

    def first(self, function: Callable[[], T]) -> T:
        """What the function gives in process 0, which alone runs it, or its error; in all."""
        return function()

    def glance(self) -> None:
        """Stop here when another process has failed."""

    def send(self, tensor: Tensor) -> None:
        """To process 0."""

    def receive(self, tensor: Tensor, rank: int) -> None:
        """From another."""


class ElsewhereError(Exception):
    """Another process has failed; `agree` finds out how."""


class Processes(Alone):
    """One of several. All call the same methods in the same order.

    Args:
        store: that all of them can reach.
        group: of gloo.
    """

    _uses = itertools.count()

    def __init__(self, store: dist.Store, group: dist.ProcessGroup | None, rank: int, size: int):
        self.rank, self.size = rank, size
        self._store, self._group = store, group
        self._glanced = 0.0

    def __enter__(self) -> Self:
        self._prefix = f"ganmetrics/{next(self._uses)}"
        self._steps = itertools.count()
        self._told = False
        self._over = threading.Event()
        self._life = threading.Thread(target=self._live, daemon=True, name="ganmetrics-life")
        self._life.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        """Tells the others of an error that they do not know of, and waits until nobody needs the store any more."""
        error: BaseException | None = raised[1]
        try:
            if error is not None and not self._told:
                self._tell(next(self._steps), error)
            self._store.set(f"{self._prefix}/end/{self.rank}", "")
            if self.rank == 0 and (error is None or isinstance(error, Exception)):
                limit = time.monotonic() + SHUTDOWN_WAIT
                ends = [f"{self._prefix}/end/{rank}" for rank in range(self.size)]
                while time.monotonic() < limit and not all(self._store.check([end]) for end in ends):
                    time.sleep(0.01)
        except RuntimeError:  # the store has ended with its process: there is nobody to tell
            pass
        finally:
            self._over.set()
            self._life.join()

    def agree(self, function: Callable[[], T]) -> list[T]:
        step = next(self._steps)
        try:
            mine: tuple[Any, Exception | None] = function(), None
        except Exception as error:
            mine = None, error
        if mine[1] is None:
            self._say(step, mine)
        else:
            self._tell(step, mine[1])
        outcomes = [mine if rank == self.rank else self._of(rank, step) for rank in range(self.size)]
        errors = [error for _, error in outcomes if error is not None]
        if errors:
            self._told = True
            raise next((error for error in errors if not isinstance(error, ElsewhereError)), errors[0])
        return [value for value, _ in outcomes]

    def first(self, function: Callable[[], T]) -> T:
        own: Callable[[], Any] = partial(_on_all_cores, function) if self.rank == 0 else lambda: None
        found: T = self.agree(own)[0]
        return found

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

    def _say(self, step: int, outcome: tuple[Any, Exception | None]) -> None:
        with self._connected():
            self._store.set(f"{self._prefix}/{step}/{self.rank}", base64.b64encode(pickle.dumps(outcome)).decode())

    def _tell(self, step: int, error: BaseException) -> None:
        """What the user can mend goes as it is, anything else in a line: its traceback is seen where it happened."""
        said = " ".join(f"{type(error).__name__}: {error}".split())
        known: Exception = ProcessError(f"process {self.rank} of {self.size} failed: {said}")
        if isinstance(error, (GanMetricsError, ElsewhereError, MemoryError)):
            known = error
        self._say(step, (None, known))
        self._told = True
        with self._connected():
            self._store.set(f"{self._prefix}/failed", "")

    def _of(self, rank: int, step: int) -> tuple[Any, Exception | None]:
        """The outcome of another process; waits for it as long as it lives. Raises ProcessError where it does not."""
        key, life = f"{self._prefix}/{step}/{rank}", f"{self._prefix}/life/{rank}"
        last, since, pause, looked = b"", time.monotonic(), 0.001, time.monotonic()
        with self._connected():
            while not self._store.check([key]):
                now = time.monotonic()
                if self._store.check([f"{self._prefix}/end/{rank}"]) and not self._store.check([key]):
                    self._told = True
                    raise ProcessError(f"process {rank} of {self.size} has ended before the others")
                if now - looked > HEARTBEAT:
                    sign = self._store.get(life) if self._store.check([life]) else b""
                    last, since, looked = sign, (now if sign != last else since), now
                if now - since > DEAD_AFTER:
                    self._told = True
                    raise ProcessError(
                        f"process {rank} of {self.size} has given no sign of life for {DEAD_AFTER:.0f} s: it died, or "
                        "its machine did"
                    )
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
            outcome: tuple[Any, Exception | None] = pickle.loads(base64.b64decode(self._store.get(key)))
            return outcome

    def _live(self) -> None:
        for count in itertools.count(1):
            try:
                self._store.set(f"{self._prefix}/life/{self.rank}", str(count))
            except RuntimeError:
                return
            if self._over.wait(HEARTBEAT):
                return

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # of the store and of gloo
            self._told = True
            raise ProcessError(
                f"the connection to the other {self.size - 1} processes broke: one of them died, or the launcher "
                f"ended ({' '.join(str(error).split())[:120]})"
            ) from error


def processes(shared: bool) -> Alone:
    """Those that are to share the work: of the caller's torch.distributed, else of the launcher, else this one alone.

    Raises ProcessError where the others do not come.
    """
    if not shared:
        return Alone()
    if dist.is_available() and dist.is_initialized():
        return _of_caller() if dist.get_world_size() > 1 else Alone()
    return _of_launcher() if launcher.size() > 1 else Alone()


def _on_all_cores(function: Callable[[], T]) -> T:
    """The others wait meanwhile."""
    before = torch.get_num_threads()
    if launcher.threads(1) is not None:
        torch.set_num_threads(cores())
    try:
        return function()
    finally:
        torch.set_num_threads(before)


def _take_share() -> None:
    """The GPU and the threads that this process has for itself."""
    if (threads := launcher.threads(cores())) is not None:
        torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(launcher.local_rank() % torch.cuda.device_count())


_made: dict[Any, Processes] = {}  # by the caller's group


def _of_caller() -> Processes:
    caller = dist.group.WORLD
    if caller not in _made:
        store = dist.PrefixStore("ganmetrics", dist.distributed_c10d._get_default_store())
        group = dist.new_group(backend="gloo", timeout=timedelta(seconds=DEAD_AFTER))
        _made.clear()
        _made[caller] = Processes(store, cast(dist.ProcessGroup, group), dist.get_rank(), dist.get_world_size())
    return _made[caller]


def _of_launcher() -> Processes:
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
    found = _made[dist.group.WORLD] = Processes(store, None, rank, size)
    return found
