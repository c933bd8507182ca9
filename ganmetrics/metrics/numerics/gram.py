"""Sums of a kernel over all pairs of two sets of vectors, block by block, precise enough for a KID of 1e-3.

The unbiased and the biased estimate of the squared maximum mean discrepancy are those of Gretton, Borgwardt, Rasch,
Schölkopf & Smola 2012 (JMLR 13, Equations 3 and 5). Kernels here are functions of a(x), a(y) and x'y', with vectors x',
y' centred on the common mean. Large sets of float32 vectors are multiplied in float32: a centred product is precise
enough, and the mean over many pairs even more so. Small sets and everything else are float64. Sums are of k less what
changes no discrepancy but would cost digits: a constant, and functions of x alone or y alone.

Memory does not grow with the number of vectors (their store may be on disk). Within one set each pair is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.numerics.distances import Device, place
from ganmetrics.metrics.numerics.resampling import counts
from ganmetrics.metrics.numerics.scaling import largest_of, power_of_two
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.runtime.products import inner_products
from ganmetrics.statistics.samples import Samples, with_start

CHUNK = 64 * 2**20  # bytes of vectors in memory during a pass over the other side
PRECISE = 10**8  # multiplications up to which float64 costs hardly any time
BLOCK = {"cpu": 1024, "cuda": 4096}  # rows and columns of one block of the kernel matrix

Block = tuple[int, int, Tensor]  # first row, first column, kernel values


@dataclass(frozen=True)
class Frame:
    """What vectors are measured from: they are divided by `unit`, a power of two, and the mean `(D,)` is subtracted."""

    mean: Tensor
    unit: float


@dataclass(frozen=True)
class Kernel:
    """k(x, y) from a(x), a(y) and the product x'y' of centred vectors, all in a frame.

    Attributes:
        own: a: `(centred (n, D), frame)` -> `(n,)`, all float64.
        value: k, less what changes no discrepancy: `(a(x) (r, 1), a(y) (c,), products (r, c), frame)` -> `(r, c)`
            float64.
        points: what is compared: vectors `(n, D)` float64 -> `(n, D)` of moderate size. None compares the vectors
            themselves, divided by the unit of the frame: the power of two at or below the largest number.
    """

    own: Callable[[Tensor, Frame], Tensor]
    value: Callable[[Tensor, Tensor, Tensor, Frame], Tensor]
    points: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Sums:
    """Sums of kernel values k_ij: over each row `(m,)`, each column `(n,)`, and of all squares; float64.

    Within one set the diagonal is left out, and rows equal columns.
    """

    rows: Tensor
    columns: Tensor
    squares: float

    @property
    def total(self) -> float:
        return float(self.rows.sum())


@dataclass(frozen=True)
class Resampled:
    """Kernel sums `(R,)` of R resampled sets, with w_i the number of times that image i was drawn.

    `real` and `fake` are sums of w_i w_j k_ij over i != j within a side, `between` is the sum of v_i w_j k_ij over both
    sides, `real_pairs` and `fake_pairs` are sums of w_i w_j over i != j.
    """

    real: Tensor
    fake: Tensor
    between: Tensor
    real_pairs: Tensor
    fake_pairs: Tensor


class Gram:
    """The kernel matrices within and between two sides.

    Args:
        real, fake: stores of vectors `(m, D)` and `(n, D)`.
        device: where products are computed; None means the first CUDA device, or the CPU.

    Raises StatisticsError for different dimensions and for fewer than two vectors per side.
    """

    def __init__(self, kernel: Kernel, real: Samples, fake: Samples, *, device: Device = None):
        for side, store in (("real", real), ("fake", fake)):
            if store.count < 2:
                raise StatisticsError(f"a kernel distance needs at least 2 {side} images, got {store.count}")
        if real.dim != fake.dim:
            raise StatisticsError(f"expected features of one dimension, got {real.dim} (real) and {fake.dim} (fake)")
        self.kernel, self.real, self.fake, self.dim = kernel, real, fake, real.dim or 0
        small = max(real.count, fake.count) ** 2 * self.dim <= PRECISE
        self.dtype = torch.float64 if small or torch.float64 in (real.dtype, fake.dtype) else torch.float32
        self.device = place(device)
        self.frame = self._framed()

    def _framed(self) -> Frame:
        stores = (self.real, self.fake)
        largest = [largest_of(store.blocks()) for store in stores if not self.kernel.points]
        unit = float(power_of_two(torch.stack(largest).amax())) if largest else 1.0
        totals = [self._points(block, unit).sum(dim=0) for store in stores for block in store.blocks()]
        return Frame(torch.stack(totals).sum(dim=0) / (self.real.count + self.fake.count), unit)

    def sums(self) -> tuple[Sums, Sums, Sums]:
        """Sums within real, within fake, and between real and fake."""
        with exact_arithmetic(self.device):
            return self._within(self.real), self._within(self.fake), self._between()

    def resampled(self, resamples: int, seed: int) -> Resampled:
        """Sums over `resamples` sets drawn with replacement, by weighting pairs with image counts; in one pass."""
        v, w = (
            _drawn(store.count, resamples, seed, side) for side, store in (("real", self.real), ("fake", self.fake))
        )
        with exact_arithmetic(self.device):
            real, fake = (2 * self._quadratic(self._blocks(s, s), u, u) for s, u in ((self.real, v), (self.fake, w)))
            between = self._quadratic(self._blocks(self.real, self.fake), v, w)
        pairs = (u.shape[1] ** 2 - u.double().square().sum(dim=1) for u in (v, w))
        return Resampled(real, fake, between, *pairs)

    def _within(self, store: Samples) -> Sums:
        rows = torch.zeros(store.count, dtype=torch.float64)
        squares = 0.0
        for top, left, k in self._blocks(store, store):
            # Each block stands for its mirror image below the diagonal too.
            rows[top : top + len(k)] += k.sum(dim=1).cpu()
            rows[left : left + k.shape[1]] += k.sum(dim=0).cpu()
            squares += 2 * float(torch.dot(k.view(-1), k.view(-1)))
        return Sums(rows, rows, squares)

    def _between(self) -> Sums:
        rows = torch.zeros(self.real.count, dtype=torch.float64)
        columns = torch.zeros(self.fake.count, dtype=torch.float64)
        squares = 0.0
        for top, left, k in self._blocks(self.real, self.fake):
            rows[top : top + len(k)] += k.sum(dim=1).cpu()
            columns[left : left + k.shape[1]] += k.sum(dim=0).cpu()
            squares += float(torch.dot(k.view(-1), k.view(-1)))
        return Sums(rows, columns, squares)

    def _quadratic(self, blocks: Iterator[Block], v: Tensor, w: Tensor) -> Tensor:
        """Sum of v_i k_ij w_j over all blocks, `(R,)`, for counts v `(R, m)` and w `(R, n)`."""
        total = torch.zeros(len(v), dtype=torch.float64, device=self.device)
        for top, left, k in blocks:
            rows, columns = v[:, top : top + len(k)], w[:, left : left + k.shape[1]]
            product = rows.to(self.device, self.dtype) @ k.to(self.dtype)
            total += (product * columns.to(self.device)).sum(dim=1, dtype=torch.float64)
        return total.cpu()

    def _blocks(self, one: Samples, other: Samples) -> Iterator[Block]:
        """(first row, first column, kernel values `(r, c)` float64); within one store 0 on and below the diagonal."""
        rows = max(1, min(one.count, CHUNK // (self.dim * self.dtype.itemsize)))
        size = min(rows, BLOCK[self.device.type])
        for start in range(0, one.count, rows):
            prepared = [self._prepared(part) for part in _slice(one, start, start + rows)]
            points, own = (torch.cat(parts) for parts in zip(*prepared, strict=True))
            for left, block in with_start(other.blocks(size)):
                if one is other and left + len(block) <= start:
                    continue
                columns, columns_own = self._prepared(block)
                for i in range(0, len(points), size):
                    top = start + i
                    if one is other and left + len(block) <= top:
                        break
                    products = inner_products(points[i : i + size], columns)
                    k = self.kernel.value(own[i : i + size, None], columns_own, products, self.frame)
                    if one is other and left < top + len(k):
                        k.triu_(top - left + 1)
                    yield top, left, k

    def _prepared(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """Centred vectors and their a, on the device."""
        centred = self._points(block, self.frame.unit) - self.frame.mean
        return centred.to(self.device, self.dtype), self.kernel.own(centred, self.frame).to(self.device)

    def _points(self, block: Tensor, unit: float) -> Tensor:
        return self.kernel.points(block.double()) if self.kernel.points else block.double() / unit


def _drawn(n: int, resamples: int, seed: int, side: str) -> Tensor:
    """Counts `(R, n)` as bytes, to save memory; no image is drawn 256 times."""
    return torch.cat([block.to(torch.uint8) for block in counts(n, resamples, seed, side)])


def _slice(store: Samples, start: int, stop: int) -> Iterator[Tensor]:
    """Vectors [start, stop) of a store, in blocks."""
    for first, block in with_start(store.blocks(BLOCK["cpu"])):
        if first < stop and start < first + len(block):
            yield block[max(0, start - first) : stop - first]
