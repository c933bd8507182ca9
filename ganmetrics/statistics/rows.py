"""Vectors gathered batch by batch in few pieces: many small ones, between what a network frees, scatter its memory."""

from __future__ import annotations

import torch
from torch import Tensor

PIECE = 4 * 2**20  # bytes of a piece at most, unless a batch is larger


class Rows:
    """Pieces `(n, D)` of one dtype on one device, each with as much room as there was before it, up to PIECE."""

    def __init__(self, *pieces: Tensor):
        self.count = sum(map(len, pieces))
        self._full = list(pieces)
        self._last: Tensor | None = None
        self._filled = 0

    def add(self, vectors: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        """Copy vectors `(n, D)` behind the others."""
        n, dim = vectors.shape
        if self._last is None or self._filled + n > len(self._last):
            self._full, self._filled = self.pieces(), 0
            room = min(self.count, PIECE // max(1, dim * dtype.itemsize))
            self._last = torch.empty(max(n, room), dim, dtype=dtype, device=device)
        self._last[self._filled : self._filled + n] = vectors.detach()
        self._filled += n
        self.count += n

    def pieces(self) -> list[Tensor]:
        """All of them in order."""
        return self._full if self._last is None else [*self._full, self._last[: self._filled]]

    def whole(self) -> Tensor | None:
        """A copy of all as one, None before the first."""
        pieces = self.pieces()
        return torch.cat(pieces) if pieces else None
