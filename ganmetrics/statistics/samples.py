"""A store of the vectors themselves, in memory up to a limit, then in a temporary file."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.runtime.device import release_pages
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.rows import Rows, divided

CPU = torch.device("cpu")
MEMORY_LIMIT = 256 * 2**20  # bytes; about 65,000 rows of 1008 float32 logits
STORED = {torch.uint8: np.uint8, torch.float32: np.float32, torch.float64: np.float64}


class Samples:
    """Streaming store of vectors `(N, D)` in the order of arrival; memory is bounded, the rest is on disk.

    The temporary file has no name, so it disappears with the process, even after a crash.

    Attributes:
        dtype: of the vectors as they are kept; None before the first.
        divisor: what they are divided by in `blocks`; see `Extractor.divisor`.
    """

    def __init__(self, memory_limit: int = MEMORY_LIMIT) -> None:
        self.count = 0
        self.divisor = 1
        self.dim: int | None = None
        self._limit = memory_limit
        self._held = Rows()
        self._file: IO[bytes] | None = None
        self._spilled = 0
        self._source: tuple[IO[bytes], int, int] | None = None  # of `from_file`: file, first byte, number of rows
        self._array: np.ndarray | Tensor | None = None  # of `over`
        self.dtype: torch.dtype | None = None
        self._moments: Moments | None = None
        self._whole: Moments | None = None  # of a larger set, see `with_moments_of`

    @classmethod
    def from_file(
        cls, file: IO[bytes], start: int, count: int, dim: int, dtype: torch.dtype, *, divisor: int = 1
    ) -> Samples:
        """A store over `count` rows of an existing file from byte `start` on. The file is never written to."""
        store = cls()
        store._source = (file, start, count)
        store.count, store.dim, store.dtype, store.divisor = count, dim, dtype, divisor
        return store

    @classmethod
    def over(cls, array: np.ndarray | Tensor, dtype: torch.dtype | None = None, *, divisor: int = 1) -> Samples:
        """A store over the rows of an array `(N, D)`, which may be memory-mapped. It is neither copied nor written to.

        dtype: in which rows are handed on. None: float32 for floats and whole numbers that it holds exactly, as those
            of 16 bits, else float64.
        """
        store = cls()
        store._array, store.divisor = array, divisor
        store.count, store.dim, store.dtype = len(array), array.shape[1], dtype or _exact_dtype(array)
        return store

    def update(self, vectors: Tensor, divisor: int = 1) -> None:
        """Add vectors `(N, D)`. Bytes and float64 keep their dtype, everything else is stored as float32.

        divisor: the vectors stand for themselves divided by it. They are kept undivided if the first ones are.
        Raises StatisticsError for another D, and for bytes mixed with floating point.
        """
        if self.dtype is None:
            self.divisor = divisor
        elif divisor != self.divisor and self.divisor != 1:
            raise StatisticsError(f"expected vectors to be divided by {self.divisor}, got some by {divisor}")
        elif divisor != self.divisor:
            vectors = divided(vectors, divisor)
        if vectors.ndim != 2 or (self.dim is not None and vectors.shape[1] != self.dim):
            raise StatisticsError(f"expected vectors of shape (N, {self.dim or 'D'}), got {tuple(vectors.shape)}")
        if self.dtype is None:
            self.dim = vectors.shape[1]
            self.dtype = vectors.dtype if vectors.dtype in STORED else torch.float32
        if (vectors.dtype == torch.uint8) != (self.dtype == torch.uint8):
            raise StatisticsError("expected all vectors as bytes or all in floating point, got both")
        self._held.add(vectors, self.dtype, CPU)
        self.count += len(vectors)
        if self._held.count * vectors.shape[1] * self.dtype.itemsize > self._limit:
            self._spill()

    def merge(self, other: Samples, *, wide: bool = False) -> None:
        """Append all vectors of another store. wide: keep float32 as float64, because float64 will follow."""
        for block in other.kept():
            self.update(block.double() if wide and block.dtype == torch.float32 else block, other.divisor)

    def blocks(self, rows: int = 4096) -> Iterator[Tensor]:
        """All vectors in order, divided, in blocks of `rows`; only the last block may be shorter."""
        return (divided(block, self.divisor) for block in self.kept(rows))

    def kept(self, rows: int = 4096) -> Iterator[Tensor]:
        """`blocks` as they are kept, before the division."""
        return _gathered(self._pieces(rows), rows)

    def with_moments_of(self, whole: Moments) -> Samples:
        """The same vectors, with the moments of the larger set that they are a part of."""
        view = copy.copy(self)
        view._whole = whole
        return view

    def moments(self) -> Moments:
        """Moments of all vectors; computed again only after new vectors."""
        if self._whole is not None:
            return self._whole
        if self._moments is None or self._moments.count != self.count:
            self._moments = Moments()
            for block in self.blocks():
                self._moments.update(block)
        return self._moments

    def _pieces(self, rows: int) -> Iterator[Tensor]:
        if self._source is not None:
            yield from self._read(*self._source, rows)
        if self._array is not None:
            yield from _rows_of(self._array, self.dtype or torch.float32, rows)
        if self._file is not None:
            self._file.flush()
            yield from self._read(self._file, 0, self._spilled, rows)
        yield from self._held.pieces()

    def _read(self, file: IO[bytes], start: int, count: int, rows: int) -> Iterator[Tensor]:
        """Seeks for every block, because two passes over one store may run nested."""
        dtype, dim = np.dtype(STORED[self.dtype or torch.float32]), self.dim or 0
        for first in range(0, count, rows):
            n = min(rows, count - first)
            file.seek(start + first * dim * dtype.itemsize)
            yield torch.from_numpy(np.fromfile(file, dtype, n * dim).reshape(n, dim))

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the store exists)
        self._file.seek(0, os.SEEK_END)  # a pass over the blocks moves the position
        for block in self._held.pieces():
            self._file.write(block.numpy().tobytes())
            self._spilled += len(block)
        self._held = Rows()


def with_start(blocks: Iterable[Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Each block `(b, ...)` with the index of its first row among all rows."""
    start = 0
    for block in blocks:
        yield start, block
        start += len(block)


NARROW = ("float32", "float16", "bfloat16", "uint8", "int8", "uint16", "int16")  # float32 holds each of their values


def _exact_dtype(array: np.ndarray | Tensor) -> torch.dtype:
    name = array.dtype.name if isinstance(array, np.ndarray) else str(array.dtype).removeprefix("torch.")
    return torch.float32 if name in NARROW else torch.float64


def _rows_of(array: np.ndarray | Tensor, dtype: torch.dtype, rows: int) -> Iterator[Tensor]:
    """The rows as tensors of a dtype, in blocks; the pages of a mapped file are released after each."""
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        if isinstance(part, Tensor):
            yield part.detach().to(CPU, dtype).contiguous()
        else:
            yield torch.from_numpy(np.array(part, dtype=STORED[dtype], order="C"))  # a copy: a map is read-only
            release_pages(part)


def _gathered(blocks: Iterable[Tensor], rows: int) -> Iterator[Tensor]:
    """The same vectors in blocks of `rows`, so that sums over blocks do not depend on the batches they arrived in."""
    waiting: list[Tensor] = []
    missing = rows
    for block in blocks:
        while len(block) >= missing:
            yield torch.cat([*waiting, block[:missing]])
            waiting, block, missing = [], block[missing:], rows
        if len(block):
            waiting.append(block)
            missing -= len(block)
    if waiting:
        yield torch.cat(waiting)
