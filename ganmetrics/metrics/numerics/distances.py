"""Squared distances of all pairs of two sets: fast bounds for all pairs, exact distances for requested pairs.

Exact means `((x - y) ** 2).sum()` in float64. |x|^2 + |y|^2 - 2 x.y of centred vectors, by a matrix product, is many
times faster. Its rounding error is at most `slack` times |x|^2 + |y|^2, for any order of the sums (Higham 2002,
Accuracy and Stability of Numerical Algorithms, Equation 3.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import overload

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.numerics.scaling import largest_of, power_of_two
from ganmetrics.runtime.device import resolve_device
from ganmetrics.runtime.products import inner_products
from ganmetrics.statistics.samples import Samples, with_start

Vectors = Tensor | Samples
Device = str | torch.device | None
BLOCK = {"cpu": 2048, "cuda": 8192}  # vectors of each side in one product
DIRECT = 2**18  # numbers in one chunk of exact distances, so that it fits the processor's cache
ROUNDINGS = 16  # bound on the roundings outside the product: centring, casts, two additions
SAME = 1e-4  # of the usual distance from the mean: vectors that are nearer to each other are of one image
TINY = 1e-30  # a scaled squared distance that counts as 0; float32 may flush smaller numbers to 0
LARGEST, SMALLEST = 2.0**500, 2.0**-400  # sizes of the largest number of a set whose squared distances fit float64
LARGEST_SCALE = {torch.float32: 120, torch.float64: 500}  # largest exponent of the scale 2^e, by dtype of the points


def place(device: Device) -> torch.device:
    """The device for products; the CPU if the requested one has no float64."""
    resolved = resolve_device(device)
    return resolved if resolved.type in BLOCK else torch.device("cpu")  # mps has no float64


def mean_squared_deviation(vectors: Vectors) -> float:
    """Mean of |x - mean|^2 over vectors `(N, D)`."""

    def blocks() -> Iterable[Tensor]:
        return vectors.split(BLOCK["cpu"]) if isinstance(vectors, Tensor) else vectors.blocks()

    n = len(vectors) if isinstance(vectors, Tensor) else vectors.count
    mean = torch.stack([block.double().sum(dim=0) for block in blocks()]).sum(dim=0) / n
    return sum(float((block.double() - mean).square().sum()) for block in blocks()) / n


def same(squared: Tensor, vectors: Vectors) -> Tensor:
    """Which squared distances are 0 but for the rounding of a network, whose features depend a little on the batch."""
    return squared <= SAME**2 * mean_squared_deviation(vectors)


@overload
def rows_of(vectors: Tensor, indices: Tensor) -> Tensor: ...
@overload
def rows_of(vectors: Samples, indices: Tensor) -> Samples: ...
def rows_of(vectors: Vectors, indices: Tensor) -> Vectors:
    """The vectors at these indices, in the same order; of a store another one, which keeps them in the same way."""
    if isinstance(vectors, Tensor):
        return vectors[indices]
    chosen = Samples()
    chosen.update(kept_rows(vectors, indices), vectors.divisor)
    return chosen


def kept_rows(store: Samples, indices: Tensor) -> Tensor:
    """The vectors `(len(indices), D)` at these indices, in the same order, as they are kept."""
    wanted, back = indices.unique(return_inverse=True)
    rows = []
    for start, block in with_start(store.kept()):
        in_block = wanted[(wanted >= start) & (wanted < start + len(block))] - start
        rows.append(block[in_block])
    return torch.cat(rows)[back]


def moderate(queries: Vectors, points: Vectors) -> tuple[Vectors, Vectors, float]:
    """Both sets divided by one power of two, which is returned too, if squares do not fit float64; else themselves.

    Large numbers become no smaller than they must, so that small ones beside them keep their distances. Squares of
    float32 always fit.
    """
    sides = (queries,) if queries is points else (queries, points)
    if all(side.dtype != torch.float64 for side in sides):
        return queries, points, 1.0
    largest = torch.stack([largest_of([side] if isinstance(side, Tensor) else side.blocks()) for side in sides]).amax()
    unit = float(power_of_two(largest))
    if SMALLEST <= unit <= LARGEST or not math.isfinite(unit):
        return queries, points, 1.0
    unit /= LARGEST if unit > LARGEST else 1.0
    divided = [_divided(side, unit) for side in sides]
    return divided[0], divided[-1], unit


def _divided(vectors: Vectors, unit: float) -> Vectors:
    if isinstance(vectors, Tensor):
        return vectors.double() / unit
    divided = Samples()
    for block in vectors.blocks():
        divided.update(block.double() / unit)
    return divided


def pairs_of(queries: Vectors, points: Vectors, where: torch.device) -> Pairs:
    """Two sets on a device, with float32 bounds. Raises StatisticsError as `hold` does, and for unequal dimensions.

    Sets of one divisor are compared undivided: distances that are equal between bytes stay equal.
    """
    divisor = shared_divisor(queries, points)
    x = hold(queries, where, undivided=divisor != 1)
    y = x if points is queries else hold(points, where, undivided=divisor != 1)
    if len(x) and len(y) and x.shape[1] != y.shape[1]:
        raise StatisticsError(f"expected vectors of {y.shape[1]} dimensions, got {x.shape[1]}")
    return Pairs(x, y, torch.float32, divisor)


def shared_divisor(*sides: Vectors) -> int:
    """By what all sides are divided; 1 if that is not the same number, because then they are compared divided."""
    divisors = {side.divisor if isinstance(side, Samples) else 1 for side in sides}
    return divisors.pop() if len(divisors) == 1 else 1


class Pairs:
    """Bounds of `unit` times the squared distances of queries `(N, D)` and points `(M, D)`, each divided by `divisor`.

    Each is at least `lower` of `blocks`, and at most `lower` + `gap`. The unit is scale^2 divisor^2, with a power of
    two as the scale, so that scaling does not round.
    """

    def __init__(self, queries: Tensor, points: Tensor, dtype: torch.dtype, divisor: int = 1):
        self.queries, self.points, self.dtype, self.divisor = queries, points, dtype, divisor
        self.block_size = BLOCK[points.device.type]
        self.scale = 1.0
        self._centre = points.mean(dim=0)
        sides = (queries,) if queries is points else (queries, points)
        parts = [(part - self._centre).abs() for side in sides for part in (side.amin(dim=0), side.amax(dim=0))]
        largest = max(float(part.max()) for part in parts)
        most = max(LARGEST_SCALE[side.dtype] for side in sides)
        self.scale = 2.0 ** -max(-most, min(math.frexp(largest)[1], most))
        self.unit = (self.scale * divisor) ** 2
        self.slack = (queries.shape[1] + ROUNDINGS) * torch.finfo(dtype).eps / 2
        norms = [self._norms(side) for side in sides]
        self._norms_of = norms[0], norms[-1]
        self._shortened = [(n * (1 - self.slack) - TINY).to(dtype) for n in self._norms_of]

    def centred(self, vectors: Tensor) -> Tensor:
        """Vectors less the mean of the points, scaled, in the dtype of the bounds."""
        work = torch.promote_types(vectors.dtype, self.dtype)
        return (vectors.to(work) - self._centre).mul_(self.scale).to(self.dtype)

    def _norms(self, vectors: Tensor) -> Tensor:
        parts = vectors.split(self.block_size)
        return torch.cat([self.centred(part).double().square().sum(dim=1) for part in parts])

    def blocks(self, *, halved: bool = False) -> Iterator[tuple[slice, slice, Tensor]]:
        """(rows, columns, lower `(r, c)`) over all pairs; `halved` omits blocks below the diagonal, for one set."""
        for rows in self._slices(self.queries):
            x = self.centred(self.queries[rows])
            for columns in self._slices(self.points):
                if not halved or columns.start >= rows.start:
                    yield rows, columns, self._lower(x, self._shortened[0][rows], columns)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Lower bounds `(r, M)` of these queries to all points."""
        x, norms = self.centred(self.queries[rows]), self._shortened[0][rows]
        return torch.cat([self._lower(x, norms, columns) for columns in self._slices(self.points)], dim=1)

    def _lower(self, x: Tensor, norms: Tensor, columns: slice) -> Tensor:
        y = self.centred(self.points[columns])
        return inner_products(-2 * x, y, self._shortened[1][columns]).add_(norms[:, None])

    def _slices(self, vectors: Tensor) -> list[slice]:
        return [slice(start, start + self.block_size) for start in range(0, len(vectors), self.block_size)]

    def gap(self, i: Tensor, j: Tensor) -> Tensor:
        """Upper bound minus lower bound, for queries i and points j."""
        return 2 * self.slack * (self._norms_of[0][i] + self._norms_of[1][j]) + 4 * TINY

    def direct(self, i: Tensor, j: Tensor) -> Tensor:
        """Exact squared distances `(P,)` float64 of queries i and points j, not scaled.

        All chunks have one shape, so that all sums run in the same order and ties stay ties. Sums of bytes are exact.
        """
        chunk = max(2, DIRECT // self.queries.shape[1])
        distances = torch.empty(len(i), dtype=torch.float64, device=i.device)
        for start in range(0, len(i), chunk):
            a, b = (_padded(index[start : start + chunk], chunk) for index in (i, j))
            squared = self.queries[a].double().sub_(self.points[b]).square_().sum(dim=1)
            distances[start : start + chunk] = squared[: len(i) - start]
        return distances.div_(self.divisor**2)


def _padded(index: Tensor, length: int) -> Tensor:
    return torch.cat([index, index.new_zeros(length - len(index))])


def hold(vectors: Vectors, device: torch.device | None = None, *, undivided: bool = False) -> Tensor:
    """All vectors `(N, D)` as one tensor: float64 stays, everything else becomes float32, which is exact for bytes.

    undivided: of a store, the vectors as they are kept.

    Raises StatisticsError for another shape, no vectors, NaN and infinity.
    """
    if isinstance(vectors, Tensor):
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise StatisticsError(f"expected vectors of shape (N, D), got {tuple(vectors.shape)}")
        whole = vectors.detach().to(device, vectors.dtype if vectors.dtype == torch.float64 else torch.float32)
    else:
        dtype = torch.float64 if vectors.dtype == torch.float64 else torch.float32
        whole = torch.empty(vectors.count, vectors.dim or 0, dtype=dtype, device=device)
        for start, block in with_start(vectors.kept() if undivided else vectors.blocks()):
            whole[start : start + len(block)] = block
    if not len(whole):
        raise StatisticsError("expected at least one vector, got none")
    if not all(bool(torch.isfinite(part).all()) for part in whole.split(BLOCK["cpu"])):
        raise StatisticsError("expected finite vectors, got NaN or infinity")
    return whole.contiguous()
