"""From a source to batches: threads decode ahead in order, and bad images are listed or the first one is raised."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from ganmetrics.errors import ImageError, OptionError, SourceError
from ganmetrics.images.base import ImageSource, IndexedSource, Picture, Stack, StreamSource
from ganmetrics.images.file_kinds import misnamed
from ganmetrics.images.summary import Summary
from ganmetrics.printable import brief
from ganmetrics.runtime.device import default_workers
from ganmetrics.validation import whole

CHUNK = 4  # images in a task; small, because each may be large
Read = Picture | Exception


class Reader:
    """Iterable of batches; each is a list of uint8 stacks `(b, C, H, W)` whose b add up to the batch size.

    Consecutive images of one shape share a stack, and the order is that of the source. `summary` is updated with every
    batch and complete at the end. Iterating again reads again, with a new summary.
    """

    def __init__(
        self, source: ImageSource, batch_size: int, *, num_workers: int | None, on_error: Literal["fail", "skip"]
    ):
        self.source = source
        self.summary = Summary()
        self._batch_size = batch_size
        self._workers = num_workers
        self._skip = on_error == "skip"

    def __iter__(self) -> Iterator[list[Tensor]]:
        self.summary = Summary(remarks=list(self.source.remarks))
        with closing(self._stacks()) as stacks:  # a traceback may keep it alive, with its threads
            for batch in recut(stacks, self._batch_size):
                self.summary.add(batch)
                yield batch
        if not self.source.is_part:
            require_images(self.source, self.summary)

    def _stacks(self) -> Generator[Tensor, None, None]:
        if isinstance(self.source, IndexedSource):
            yield from self._decoded(self.source)
        elif isinstance(self.source, StreamSource):
            for stack in self.source.stacks(self._batch_size):
                self._note(stack)
                yield stack.pixels
        else:
            raise SourceError(f"expected a source from open_images(), got {type(self.source).__name__}")

    def _note(self, stack: Stack) -> None:
        for note, count in stack.notes:
            self.summary.notes[note] += count
        self.summary.kinds.update(stack.kinds)
        self.summary.labels += [label for label in stack.labels if label is not None]

    def _note_picture(self, picture: Picture, name: str) -> None:
        for note in picture.notes:
            self.summary.notes[note] += 1
        self.summary.labels += [] if picture.label is None else [picture.label]
        if picture.kind is not None:
            self.summary.kinds[picture.kind] += 1
            if wrong := misnamed(name, picture.kind):
                self.summary.notes[wrong] += 1

    def _decoded(self, source: IndexedSource) -> Iterator[Tensor]:
        if source.problem is not None and not self._skip:
            raise source.problem
        workers = self._workers if self._workers is not None else default_workers() if source.parallel else 0
        with closing(read_ahead(source, workers) if workers else read_here(source)) as reads:
            for index, read in enumerate(reads):
                if isinstance(read, Picture):
                    self._note_picture(read, source.where(index))
                    yield read.pixels.unsqueeze(0)
                elif isinstance(read, ImageError) and self._skip:
                    self.summary.skipped.append({"image": read.where, "reason": read.reason})
                    self.summary.left_out.append(index)
                else:
                    raise read


def require_images(source: ImageSource, summary: Summary) -> None:
    """Raises SourceError if a source gave no image, or another number than stated."""
    skipped = summary.skipped
    if not summary.n_images and not skipped:
        raise SourceError(f"{source.name}: gave no image (an iterator that was used before is empty)")
    if not summary.n_images:
        first = f"{skipped[0]['image']}: {skipped[0]['reason']}"
        raise SourceError(f"{source.name}: none of its {len(skipped)} images can be read; the first is {first}")
    got, expected = summary.n_images + len(skipped), source.n_images
    if expected is not None and got != expected:
        raise SourceError(f"{source.name}: expected {expected} images, got {got}; state the right number")


def read_batches(
    source: ImageSource,
    batch_size: int,
    *,
    num_workers: int | None = None,
    on_error: Literal["fail", "skip"] = "fail",
) -> Reader:
    """Read a source in batches of `batch_size` images (the last may be smaller).

    Args:
        source: from `open_images`.
        batch_size: images in a batch, at least 1.
        num_workers: threads that decode files. None uses one for each core, at most 8, but reads a Dataset, which is
            the user's code, in the calling thread. 0 reads everything there. The order does not depend on it.
        on_error: "fail" raises ImageError for the first bad image in the order of the source; "skip" lists each in
            `reader.summary.skipped` and goes on.

    Raises:
        OptionError: for a malformed option.
        ImageError: while iterating, for the first bad image with on_error="fail".
        SourceError: while iterating, when no image could be read or an array is not what was stated.
    """
    batch_size = whole("batch_size", batch_size, 1)
    num_workers = None if num_workers is None else whole("num_workers", num_workers, 0)
    if on_error not in ("fail", "skip"):
        raise OptionError(f"on_error: expected fail or skip, got {brief(on_error)}")
    return Reader(source, batch_size, num_workers=num_workers, on_error=on_error)


def read_here(source: IndexedSource) -> Generator[Read, None, None]:
    """Every image in order, read in the calling thread."""
    for index in range(source.count):
        yield from _read_chunk(source, range(index, index + 1), None)


def read_ahead(source: IndexedSource, workers: int) -> Generator[Read, None, None]:
    """Every image in order, read by threads that stay a bounded number of images ahead.

    Closing the iterator (also by Ctrl-C) cancels queued tasks and returns after at most one image in each thread.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ganmetrics-images")
    tasks: deque[Future[list[Read]]] = deque()
    starts = iter(range(0, source.count, CHUNK))
    try:
        while True:
            # two tasks more than threads, so that no thread has to wait for work
            while len(tasks) < workers + 2 and (start := next(starts, None)) is not None:
                chunk = range(start, min(start + CHUNK, source.count))
                tasks.append(pool.submit(_read_chunk, source, chunk, stop))
            if not tasks:
                return
            yield from tasks.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _read_chunk(source: IndexedSource, chunk: range, stop: threading.Event | None) -> list[Read]:
    """Errors are returned, so that the first one in order is raised and not the first one in time."""
    reads: list[Read] = []
    for index in chunk:
        if stop is not None and stop.is_set():
            break
        try:
            reads.append(source.read(index))
        except Exception as error:
            reads.append(error)
    return reads


def recut(stacks: Iterator[Tensor], batch_size: int) -> Generator[list[Tensor], None, None]:
    """Stacks of any size `(b, C, H, W)` to batches of `batch_size` images, each in as few stacks as possible."""
    batch: list[Tensor] = []
    missing = batch_size
    for stack in stacks:
        while len(stack) > missing:
            batch.append(stack[:missing])
            stack = stack[missing:]
            yield joined(batch)
            batch, missing = [], batch_size
        if len(stack):
            batch.append(stack)
            missing -= len(stack)
        if not missing:
            yield joined(batch)
            batch, missing = [], batch_size
    if batch:
        yield joined(batch)


def joined(parts: list[Tensor]) -> list[Tensor]:
    """The parts, with consecutive ones of the same shape and device concatenated."""
    groups = (list(group) for _, group in groupby(parts, key=lambda part: (part.shape[1:], part.device)))
    return [group[0] if len(group) == 1 else torch.cat(group) for group in groups]
