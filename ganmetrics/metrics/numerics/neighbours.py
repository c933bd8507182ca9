"""Exact nearest neighbours and counts of vectors in balls, for precision, recall, authenticity and the report.

Results are those of a comparison of all exact distances, ties included. Products in float32 give bounds of the
distances (see `distances.py`); only pairs that the bounds do not decide are computed exactly. Pixels are compared as
bytes, whose squared distances are whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.numerics.distances import (
    TINY,
    Device,
    Pairs,
    Vectors,
    moderate,
    pairs_of,
    place,
    shared_divisor,
)
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.statistics.samples import Samples

SHARED = 8  # neighbours of real images that several metrics ask for, so that one search serves them
EXHAUSTIVE = 2**22  # pairs in one block of the float64 search


@dataclass(frozen=True)
class Balls:
    """One ball around every point, or around every query.

    Attributes:
        squared_radii: one per centre, float64: `(M,)` around points, `(N,)` around queries.
        around: which set the centres are.
        closed: whether a ball includes its surface (`<=`) or not (`<`).
    """

    squared_radii: Tensor
    around: Literal["points", "queries"]
    closed: bool


def nearest(
    queries: Vectors, points: Vectors, k: int, *, exclude_self: bool = False, device: Device = None
) -> tuple[Tensor, Tensor]:
    """Distances `(N, k)` float64 and indices `(N, k)` of the k points `(M, D)` nearest to each query `(N, D)`.

    Sorted by distance, equal distances by index. If the k-th distance is 0, any k copies may be returned.

    exclude_self: queries and points are one set, and no vector is its own neighbour.
    device: where the products run; None means the first CUDA device, or the CPU. It does not change results.

    Raises StatisticsError for different dimensions, NaN or infinity, and fewer than k points (without itself).
    """
    queries, points, unit = moderate(queries, points)
    squared, indices = nearest_squared(queries, points, k, exclude_self=exclude_self, device=device)
    return squared.sqrt() * unit, indices


# Several metrics ask for the same neighbours. points -> queries -> (counts, exclude_self) -> result.
_CACHE: WeakKeyDictionary[Samples, WeakKeyDictionary[Samples, dict]] = WeakKeyDictionary()


def nearest_squared(
    queries: Vectors, points: Vectors, k: int, *, exclude_self: bool = False, device: Device = None
) -> tuple[Tensor, Tensor]:
    """Like `nearest`, with squared distances, for vectors that are `moderate`.

    Results for Samples are cached; they only grow, so counts are the key.
    """
    if not isinstance(queries, Samples) or not isinstance(points, Samples):
        return _nearest_squared(queries, points, k, exclude_self, device)
    cache = _CACHE.setdefault(points, WeakKeyDictionary()).setdefault(queries, {})
    key = (queries.count, points.count, exclude_self)
    if key not in cache or cache[key][0].shape[1] < k:
        cache.clear()
        cache[key] = _nearest_squared(queries, points, k, exclude_self, device)
    squared, indices = cache[key]
    return squared[:, :k].clone(), indices[:, :k].clone()


def ball_counts(
    queries: Vectors, points: Vectors, balls: Sequence[Balls], *, device: Device = None
) -> list[tuple[Tensor, Tensor]]:
    """For each entry of `balls`, the number of pairs (query, point) within a ball: by query `(N,)` and by point `(M,)`.

    For balls around points: how many balls hold each query, and how many queries each ball holds. For balls around
    queries the reverse. Vectors must be `moderate`. Raises StatisticsError for different dimensions, NaN or infinity.
    """
    where = place(device)
    with exact_arithmetic(where):
        pairs = pairs_of(queries, points, where)
        radii = [b.squared_radii.to(where) for b in balls]
        reach = [[r for r, b in zip(radii, balls, strict=True) if b.around == of] for of in ("queries", "points")]
        shape = len(pairs.queries), len(pairs.points)
        tallies = [tuple(torch.zeros(n, dtype=torch.long, device=where) for n in shape) for _ in balls]
        for i, j, bound in _near(pairs, *reach):
            limits = [r[j if b.around == "points" else i] for r, b in zip(radii, balls, strict=True)]
            closed = [b.closed for b in balls]
            for (by_query, by_point), within in zip(tallies, _decided(pairs, i, j, bound, limits, closed), strict=True):
                by_query.index_add_(0, i, within.long())
                by_point.index_add_(0, j, within.long())
        return [(by_query.cpu(), by_point.cpu()) for by_query, by_point in tallies]


def compared_as(*sides: Samples) -> dict[str, str]:
    """What a protocol has to say of the numbers that are compared: the dtype of vectors that are not divided before."""
    return {} if shared_divisor(*sides) == 1 else {"dtype": str(sides[0].dtype).removeprefix("torch.")}


def pairs_within(
    queries: Vectors, points: Vectors, of_queries: Tensor, of_points: Tensor, *, most: int, device: Device = None
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Query, point and squared distance `(P,)` of all pairs within a ball, and some more; None for more than `most`.

    of_queries, of_points: squared radii `(N,)` and `(M,)`. Vectors must be `moderate`.
    """
    where = place(device)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    with exact_arithmetic(where):
        pairs = pairs_of(queries, points, where)
        for i, j, _ in _near(pairs, [of_queries.to(where)], [of_points.to(where)]):
            most -= len(i)
            if most < 0:
                return None
            found.append((i.cpu(), j.cpu(), pairs.direct(i, j).cpu()))
    i, j, squared = (torch.cat(parts) for parts in zip(*found, strict=True))
    return i, j, squared


def _near(
    pairs: Pairs, of_queries: Sequence[Tensor], of_points: Sequence[Tensor]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Query, point and scaled lower bound, block by block, of pairs that may be within the largest ball of either."""
    by_query, by_point = (
        _largest([r * pairs.unit for r in radii], len(vectors), vectors.device)
        for radii, vectors in ((of_queries, pairs.queries), (of_points, pairs.points))
    )
    for rows, columns, lower in pairs.blocks():
        i, j = ((lower <= by_point[columns]) | (lower <= by_query[rows, None])).nonzero().unbind(dim=1)
        yield i + rows.start, j + columns.start, lower[i, j].double()


def _largest(radii: Sequence[Tensor], n: int, device: torch.device) -> Tensor:
    """Largest squared radius `(n,)` at each centre, rounded up to float32; -infinity without balls."""
    if not radii:
        return torch.full((n,), -math.inf, device=device)
    return (torch.stack(list(radii)).amax(dim=0) * (1 + 1e-6) + TINY).float()


def _decided(
    pairs: Pairs, i: Tensor, j: Tensor, bound: Tensor, limits: Sequence[Tensor], closed: Sequence[bool]
) -> list[Tensor]:
    """Whether pairs lie within each of their limits: by exact distances where the scaled bounds do not decide."""
    upper = bound + pairs.gap(i, j)
    scaled = [limit * pairs.unit for limit in limits]
    unsure = torch.zeros_like(i, dtype=torch.bool)
    for limit in scaled:
        unsure |= (bound <= limit) & (limit <= upper)
    squared = pairs.direct(i[unsure], j[unsure])
    within = [upper <= limit for limit in scaled]
    for holds, limit, on_surface in zip(within, limits, closed, strict=True):
        holds[unsure] = squared <= limit[unsure] if on_surface else squared < limit[unsure]
    return within


def _nearest_squared(
    queries: Vectors, points: Vectors, k: int, exclude_self: bool, device: Device
) -> tuple[Tensor, Tensor]:
    where = place(device)
    with exact_arithmetic(where):
        pairs = pairs_of(queries, points, where)
        n, available = len(pairs.queries), len(pairs.points) - exclude_self
        if exclude_self and n != len(pairs.points):
            raise StatisticsError(f"expected one set to leave each vector itself out, got {n} and {len(pairs.points)}")
        if not 1 <= k <= available:
            beside = " beside the vector itself" if exclude_self else ""
            raise StatisticsError(f"{k} nearest neighbours: expected at least as many points{beside}, got {available}")
        # Some candidates beyond k: then the k nearest by exact distance are nearly always among them.
        lower, index = _candidates(pairs, min(available, k + k // 2 + 4), exclude_self)
        squared, index = _sorted(pairs, torch.arange(n, device=where), index)
        kth = squared[:, k - 1]
        # Every other point is at least as far as the largest candidate bound; nothing is nearer than 0.
        sure = (kth * pairs.unit < lower.amax(dim=1)) | (kth == 0) | (index.shape[1] == available)
        squared, index = squared[:, :k].contiguous(), index[:, :k].contiguous()
        unsure = (~sure).nonzero().flatten()
        if len(unsure):
            wide = Pairs(pairs.queries, pairs.points, torch.float64, pairs.divisor)
            for rows in unsure.split(max(1, EXHAUSTIVE // len(pairs.points))):
                squared[rows], index[rows] = _of_all(wide, rows, k, exclude_self)
        return squared.cpu(), index.cpu()


def _candidates(pairs: Pairs, m: int, exclude_self: bool) -> tuple[Tensor, Tensor]:
    """The m smallest lower bounds of every query and their points, `(N, m)` each."""
    shape = (len(pairs.queries), m)
    lower = torch.full(shape, math.inf, dtype=pairs.dtype, device=pairs.points.device)
    index = torch.zeros(shape, dtype=torch.long, device=pairs.points.device)

    def take(rows: slice, start: int, block: Tensor) -> None:
        values, columns = block.topk(min(m, block.shape[1]), dim=1, largest=False, sorted=False)
        merged = torch.cat([lower[rows], values], dim=1)
        lower[rows], smallest = merged.topk(m, dim=1, largest=False, sorted=False)
        index[rows] = torch.cat([index[rows], columns + start], dim=1).gather(1, smallest)

    for rows, columns, block in pairs.blocks(halved=exclude_self):
        on_diagonal = exclude_self and rows == columns
        if on_diagonal:
            block.diagonal().fill_(math.inf)
        take(rows, columns.start, block)
        if exclude_self and not on_diagonal:
            take(columns, rows.start, block.T.contiguous())
    return lower, index


def _sorted(pairs: Pairs, rows: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Exact squared distances `(r, m)` of queries `rows` to points `index`, sorted by distance, then index."""
    index = index.sort(dim=1).values
    squared = pairs.direct(rows.repeat_interleave(index.shape[1]), index.flatten()).view(index.shape)
    squared, order = squared.sort(dim=1, stable=True)
    return squared, index.gather(1, order)


def _of_all(pairs: Pairs, rows: Tensor, k: int, exclude_self: bool) -> tuple[Tensor, Tensor]:
    """The k nearest of queries, by exact distances to every point that the bounds do not rule out."""
    lower = pairs.of_rows(rows)
    if exclude_self:
        lower[torch.arange(len(rows), device=rows.device), rows] = math.inf
    every = torch.arange(lower.shape[1], device=rows.device)
    upper = lower + pairs.gap(rows[:, None], every)
    limit = upper.topk(k, dim=1, largest=False).values.amax(dim=1)
    i, j = (lower <= limit[:, None]).nonzero().unbind(dim=1)
    counts = torch.bincount(i, minlength=len(rows))
    column = torch.arange(len(i), device=i.device) - (counts.cumsum(0) - counts)[i]  # 0, 1, ... within each row
    squared = torch.full((len(rows), int(counts.max())), math.inf, dtype=torch.float64, device=i.device)
    index = torch.zeros_like(squared, dtype=torch.long)
    squared[i, column], index[i, column] = pairs.direct(rows[i], j), j
    squared, order = squared.sort(dim=1, stable=True)
    return squared[:, :k], index.gather(1, order)[:, :k]
