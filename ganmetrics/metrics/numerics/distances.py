"""Squared distances of all pairs of two sets: bounds by one product, and the exact ones where they are asked for.

The squared distance of two vectors is here `((x - y) ** 2).sum()` in float64. |x|^2 + |y|^2 - 2 x.y of centred vectors
is many times quicker and off by rounding: by at most `slack` of |x|^2 + |y|^2, whatever the order of the sums (Higham
2002, Accuracy and Stability of Numerical Algorithms, Equation 3.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.runtime.device import resolve_device
from ganmetrics.runtime.products import inner_products
from ganmetrics.statistics.samples import Samples, with_start

Vectors = Tensor | Samples
Device = str | torch.device | None
BLOCK = {"cpu": 2048, "cuda": 8192}  # vectors of each side in one product
DIRECT = 2**18  # numbers in one chunk of direct distances: few enough to stay near the processor
ROUNDINGS = 16  # of a lower bound beside those of its product: centring, casts, two additions
TINY = 1e-30  # of scaled squared distances: nothing, and above what float32 flushes to 0
LARGEST_SCALE = 120  # as a power of two, which float32 can hold


def place(device: Device) -> torch.device:
    """Where products can run: a device with float64."""
    where = resolve_device(device)
    return where if where.type in BLOCK else torch.device("cpu")  # mps has no float64


def pairs_of(queries: Vectors, points: Vectors, where: torch.device) -> Pairs:
    """Two sets on a device, bounded in float32. Raises StatisticsError for unlike dimensions, and as `hold` does."""
    held = hold(queries, where)
    other = held if points is queries else hold(points, where)
    if len(held) and len(other) and held.shape[1] != other.shape[1]:
        raise StatisticsError(f"expected vectors of {other.shape[1]} dimensions, got {held.shape[1]}")
    return Pairs(held, other, torch.float32)


class Pairs:
    """Bounds of the squared distances, in units of 1 / scale^2, of queries `(N, D)` from points `(M, D)`.

    Each is at least the `lower` of `blocks`, and at most that plus `gap`. The scale is a power of two.
    """

    def __init__(self, queries: Tensor, points: Tensor, dtype: torch.dtype):
        self.queries, self.points, self.dtype = queries, points, dtype
        self.block_size = BLOCK[points.device.type]
        self.scale = 1.0
        self._centre = points.mean(dim=0).float()
        sides = (queries,) if queries is points else (queries, points)
        parts = [self.centred(part).abs() for side in sides for part in (side.amin(dim=0), side.amax(dim=0))]
        largest = max(float(part.max()) for part in parts)
        self.scale = 2.0 ** -max(-LARGEST_SCALE, min(math.frexp(largest)[1], LARGEST_SCALE))
        self.slack = (queries.shape[1] + ROUNDINGS) * torch.finfo(dtype).eps / 2
        norms = [self._norms(side) for side in sides]
        self._norms_of = norms[0], norms[-1]
        self._shortened = [(n * (1 - self.slack) - TINY).to(dtype) for n in self._norms_of]

    def centred(self, vectors: Tensor) -> Tensor:
        work = torch.promote_types(vectors.dtype, self.dtype)
        return (vectors.to(work) - self._centre).mul_(self.scale).to(self.dtype)

    def _norms(self, vectors: Tensor) -> Tensor:
        parts = vectors.split(self.block_size)
        return torch.cat([self.centred(part).double().square().sum(dim=1) for part in parts])

    def blocks(self, *, halved: bool = False) -> Iterator[tuple[slice, slice, Tensor]]:
        """(rows, columns, lower `(r, c)`) over all pairs; `halved`, of one set, leaves out those below the diagonal."""
        for rows in self._slices(self.queries):
            x = self.centred(self.queries[rows])
            for columns in self._slices(self.points):
                if not halved or columns.start >= rows.start:
                    yield rows, columns, self._lower(x, self._shortened[0][rows], columns)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Lower bounds `(r, M)` of some queries."""
        x, norms = self.centred(self.queries[rows]), self._shortened[0][rows]
        return torch.cat([self._lower(x, norms, columns) for columns in self._slices(self.points)], dim=1)

    def _lower(self, x: Tensor, norms: Tensor, columns: slice) -> Tensor:
        y = self.centred(self.points[columns])
        return inner_products(-2 * x, y, self._shortened[1][columns]).add_(norms[:, None])

    def _slices(self, vectors: Tensor) -> list[slice]:
        return [slice(start, start + self.block_size) for start in range(0, len(vectors), self.block_size)]

    def gap(self, i: Tensor, j: Tensor) -> Tensor:
        """How far apart the two bounds are, of queries i and points j."""
        return 2 * self.slack * (self._norms_of[0][i] + self._norms_of[1][j]) + 4 * TINY

    def direct(self, i: Tensor, j: Tensor) -> Tensor:
        """Squared distances `(P,)` float64 of queries i from points j, not scaled.

        Always in chunks of one shape, so that equal differences are summed in one order and ties stay ties.
        """
        chunk = max(2, DIRECT // self.queries.shape[1])
        found = torch.empty(len(i), dtype=torch.float64, device=i.device)
        for start in range(0, len(i), chunk):
            a, b = (_padded(index[start : start + chunk], chunk) for index in (i, j))
            squared = self.queries[a].double().sub_(self.points[b]).square_().sum(dim=1)
            found[start : start + chunk] = squared[: len(i) - start]
        return found


def _padded(index: Tensor, length: int) -> Tensor:
    return torch.cat([index, index.new_zeros(length - len(index))])


def hold(vectors: Vectors, device: torch.device | None = None) -> Tensor:
    """All vectors `(N, D)` as one tensor: float64 as it is, everything else in float32, which is exact for bytes.

    Raises StatisticsError for another shape, no vector, NaN and infinity.
    """
    if isinstance(vectors, Tensor):
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise StatisticsError(f"expected vectors of shape (N, D), got {tuple(vectors.shape)}")
        kept = vectors.detach().to(device, vectors.dtype if vectors.dtype == torch.float64 else torch.float32)
    else:
        dtype = torch.float64 if vectors.dtype == torch.float64 else torch.float32
        kept = torch.empty(vectors.count, vectors.dim or 0, dtype=dtype, device=device)
        for start, block in with_start(vectors.blocks()):
            kept[start : start + len(block)] = block
    if not len(kept):
        raise StatisticsError("expected at least one vector, got none")
    if not all(bool(torch.isfinite(part.float()).all()) for part in kept.split(BLOCK["cpu"])):
        raise StatisticsError("expected finite vectors, got NaN or infinity")
    return kept.contiguous()
