"""Vectors collected batch by batch into a few large tensors.

Many small tensors, allocated between the buffers that a network frees, would fragment its memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

SUMS_TO_1 = 0.01  # how far from 1 the sum of probabilities in half precision may be
PIECE = 4 * 2**20  # bytes: largest piece, unless a batch is larger


class Rows:
    """Pieces `(n, D)` of one dtype on one device. Each new piece has room for as many rows as exist, up to PIECE."""

    def __init__(self, *pieces: Tensor):
        self.count = sum(map(len, pieces))
        self._full = list(pieces)
        self._last: Tensor | None = None
        self._filled = 0

    def add(self, vectors: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        """Append a copy of vectors `(n, D)`."""
        n, dim = vectors.shape
        if self._last is None or self._filled + n > len(self._last):
            self._full, self._filled = self.pieces(), 0
            room = min(self.count, PIECE // max(1, dim * dtype.itemsize))
            self._last = torch.empty(max(n, room), dim, dtype=dtype, device=device)
        self._last[self._filled : self._filled + n] = vectors.detach()
        self._filled += n
        self.count += n

    def pieces(self) -> list[Tensor]:
        """All pieces in order."""
        return self._full if self._last is None else [*self._full, self._last[: self._filled]]

    def whole(self) -> Tensor | None:
        """A copy of all rows as one tensor; None before the first."""
        pieces = self.pieces()
        return torch.cat(pieces) if pieces else None


def divided(vectors: Tensor, divisor: int) -> Tensor:
    """Vectors `(N, D)` divided by the divisor, in float32; the same vectors for a divisor of 1."""
    return vectors if divisor == 1 else vectors.float() / divisor


def are_probabilities(rows: Tensor) -> bool:
    """Whether rows `(N, K)` look like probabilities of classes: none is negative, every row sums to 1."""
    values = rows.double()
    return bool((values >= 0).all()) and bool(((values.sum(dim=1) - 1).abs() < SUMS_TO_1).all())
