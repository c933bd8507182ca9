"""The vectors themselves, for metrics that need them: in memory up to a limit, then in a temporary file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.rows import Rows

CPU = torch.device("cpu")
MEMORY_LIMIT = 256 * 2**20  # bytes kept in memory; 65,000 rows of 1008 float32 logits
STORED = {torch.uint8: np.uint8, torch.float32: np.float32, torch.float64: np.float64}


class Samples:
    """Streaming store of vectors `(N, D)` in the order they came; memory is bounded, the rest is on disk.

    The file has no name (it is gone with the process, however that ends).
    """

    def __init__(self, memory_limit: int = MEMORY_LIMIT) -> None:
        self.count = 0
        self.dim: int | None = None
        self._limit = memory_limit
        self._held = Rows()
        self._file: IO[bytes] | None = None
        self._spilled = 0
        self._kept: tuple[IO[bytes], int, int] | None = None  # a file of somebody else's, where rows begin, how many
        self.dtype: torch.dtype | None = None
        self._moments: Moments | None = None

    @classmethod
    def from_file(cls, file: IO[bytes], start: int, count: int, dim: int, dtype: torch.dtype) -> Samples:
        """Rows that lie in a file from byte `start` on; it is only read, and what is added lies elsewhere."""
        store = cls()
        store._kept = (file, start, count)
        store.count, store.dim, store.dtype = count, dim, dtype
        return store

    def update(self, vectors: Tensor) -> None:
        """Take in vectors `(N, D)`; bytes and float64 stay what they are, everything else is kept in float32."""
        if vectors.ndim != 2 or (self.dim is not None and vectors.shape[1] != self.dim):
            raise StatisticsError(f"expected vectors of shape (N, {self.dim or 'D'}), got {tuple(vectors.shape)}")
        if self.dtype is None:
            self.dim = vectors.shape[1]
            self.dtype = vectors.dtype if vectors.dtype in STORED else torch.float32
        if (vectors.dtype == torch.uint8) != (self.dtype == torch.uint8):
            raise StatisticsError("expected bytes after bytes and points after points, got one after the other")
        self._held.add(vectors, self.dtype, CPU)
        self.count += len(vectors)
        if self._held.count * vectors.shape[1] * self.dtype.itemsize > self._limit:
            self._spill()

    def merge(self, other: Samples) -> None:
        """Take in all that another holds, behind our own."""
        for block in other.blocks():
            self.update(block)

    def blocks(self, rows: int = 4096) -> Iterator[Tensor]:
        """All vectors in order, `rows` at a time, fewer only at the end."""
        return _gathered(self._pieces(rows), rows)

    def moments(self) -> Moments:
        """Those of all vectors, summed once as long as none is added."""
        if self._moments is None or self._moments.count != self.count:
            self._moments = Moments()
            for block in self.blocks():
                self._moments.update(block)
        return self._moments

    def _pieces(self, rows: int) -> Iterator[Tensor]:
        if self._kept is not None:
            yield from self._read(*self._kept, rows)
        if self._file is not None:
            self._file.flush()
            yield from self._read(self._file, 0, self._spilled, rows)
        yield from self._held.pieces()

    def _read(self, file: IO[bytes], start: int, count: int, rows: int) -> Iterator[Tensor]:
        """Seeks for every block, because one store may be gone through within another pass over it."""
        dtype, dim = np.dtype(STORED[self.dtype or torch.float32]), self.dim or 0
        for first in range(0, count, rows):
            here = min(rows, count - first)
            file.seek(start + first * dim * dtype.itemsize)
            yield torch.from_numpy(np.fromfile(file, dtype, here * dim).reshape(here, dim))

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the store)
        self._file.seek(0, os.SEEK_END)
        for block in self._held.pieces():
            self._file.write(block.numpy().tobytes())
            self._spilled += len(block)
        self._held = Rows()


def with_start(blocks: Iterable[Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Each block `(b, ...)` with the number of its first row among all."""
    start = 0
    for block in blocks:
        yield start, block
        start += len(block)


def _gathered(blocks: Iterable[Tensor], rows: int) -> Iterator[Tensor]:
    """The same vectors in blocks of `rows`, so that sums over blocks do not depend on how the vectors came."""
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
