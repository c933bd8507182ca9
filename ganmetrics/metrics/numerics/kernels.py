"""Sums of Gaussian kernels over a stream of samples: exact distances, streamed log-sum-exp, constant memory.

|x - s|^2 by a float32 product has an error of about 1e-4, which is half a nat at a bandwidth of 0.01. Here the product
is exact for bytes (int8 products, or float32 over few enough dimensions to hold every partial sum) and float64 for
everything else. The exponentials are float32, of exact differences from the nearest sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics.numerics.bandwidth import SMALLEST
from ganmetrics.runtime.products import byte_products, int8_pays
from ganmetrics.statistics.points import BYTE

WIDEST = 33_000  # dimensions up to which a squared distance of bytes fits an int32: 33,000 * 255^2 < 2^31
# Smaller exponents add nothing to the kernel of the nearest sample, exp(0), and denormal numbers would be slow.
FLOOR = {torch.float32: -80.0, torch.float64: -700.0}
TOLERANCE = 1e-5  # nats: largest effect of the rounding of one distance
DEFAULT_MEMORY = 512 * 2**20  # bytes of work space


class KernelSums:
    """Log densities of fixed points under a growing set of samples, for several bandwidths at once.

    The distances to a block of samples are computed once for all bandwidths. For each point it keeps the distance to
    the nearest sample and, per bandwidth, one sum of kernels relative to that of the nearest sample. Memory does not
    grow with the samples.

    Args:
        x: points `(M, D)`, floating point or uint8; their device does the work.
        bandwidths: standard deviations, above 0.
        memory: bytes for one block of distances and its exponentials.
        dtype: dtype of the exponentials, float32 or float64; None means float64 for float64 points and float32 for
            others. Distances and sums are always exact or float64.
    """

    def __init__(
        self,
        x: Tensor,
        bandwidths: Sequence[float],
        *,
        memory: int = DEFAULT_MEMORY,
        dtype: torch.dtype | None = None,
    ):
        check_bandwidths(bandwidths)
        check_points(x, "points")
        if not len(x):
            raise StatisticsError("a Parzen window needs at least one point, got 0")
        self.n_points, self.dim = x.shape
        self.n_samples = 0
        self.bandwidths = [float(h) for h in bandwidths]
        self.dtype = dtype or (torch.float64 if x.dtype == torch.float64 else torch.float32)
        self._bytes = x.dtype == torch.uint8
        exact = self._bytes and self.dim <= WIDEST
        self._distances: _Distances = (
            _ByteDistances(x) if exact else _RealDistances(x, TOLERANCE * min(bandwidths) ** 2)
        )
        self._nearest = torch.full((self.n_points,), math.inf, dtype=torch.float64, device=x.device)
        self._sums = torch.zeros(self.n_points, len(bandwidths), dtype=torch.float64, device=x.device)
        self._points = x
        self._copies = torch.zeros(self.n_points, dtype=torch.bool, device=x.device)
        self._rows, self._columns = block_shape(self.n_points, memory)

    def update(self, samples: Tensor) -> None:
        """Add samples `(N, D)`, bytes or floating point like the points. They are moved to the points' device."""
        check_points(samples, "samples")
        if samples.shape[1] != self.dim:
            raise StatisticsError(f"expected samples of {self.dim} dimensions, got {samples.shape[1]}")
        if (samples.dtype == torch.uint8) != self._bytes:
            raise StatisticsError("expected points and samples both as bytes or both in floating point")
        for block in samples.split(self._columns) if len(samples) else ():
            prepared = self._distances.prepare(block.to(self._nearest.device))
            for start in range(0, self.n_points, self._rows):
                rows = slice(start, start + self._rows)
                squared, zero = self._distances.block(rows, prepared)
                smallest = squared.amin(dim=1)
                self._note_copies(rows, squared, (smallest <= zero).logical_and_(~self._copies[rows]), zero, block)
                self._add(rows, squared, smallest)
        self.n_samples += len(samples)

    def _note_copies(self, rows: slice, squared: Tensor, near: Tensor, zero: Tensor, samples: Tensor) -> None:
        """Compare the numbers themselves of points `near` `(r,)` with samples whose distance may be a rounded 0."""
        for i in near.nonzero()[:, 0].tolist():
            candidates = samples[(squared[i] <= zero[i]).nonzero()[:, 0].to(samples.device)].double()
            point = self._points[rows.start + i].to(samples.device).double()
            self._copies[rows.start + i] = bool((candidates == point).all(dim=1).any())

    def _add(self, rows: slice, squared: Tensor, smallest: Tensor) -> None:
        previous = self._nearest[rows]
        nearest = torch.minimum(previous, smallest.double())
        excess = squared.sub_(nearest.to(squared.dtype)[:, None])
        work = torch.empty(excess.shape, dtype=self.dtype, device=excess.device)
        for i, bandwidth in enumerate(self.bandwidths):
            scale = max(-0.5 * self._distances.unit / bandwidth**2, self._distances.steepest)
            kernels = torch.mul(excess, scale, out=work).clamp_(min=FLOOR[self.dtype]).exp_()
            # Makes earlier sums relative to the new nearest sample; 0 for the first block.
            rescale = ((previous - nearest) * scale).exp()
            self._sums[rows, i] = self._sums[rows, i] * rescale + kernels.sum(dim=1).double()
        self._nearest[rows] = nearest

    def nearest_squared(self) -> Tensor:
        """Squared distance `(M,)` float64 of every point to its nearest sample."""
        return (self._nearest + self._distances.offset) * self._distances.unit

    def nearest_is_rounded(self) -> bool:
        """Whether `nearest_squared` is so small that it has lost digits; a bandwidth of its size keeps them."""
        return float(self._nearest.mean()) < 1000 * self._distances.rounding

    def copies(self) -> int:
        """Number of points that are equal to a sample, number by number."""
        return int(self._copies.sum())

    def log_likelihood(self) -> Tensor:
        """`(M, B)` float64 log densities in nats. Raises StatisticsError before the first sample."""
        if not self.n_samples:
            raise StatisticsError("a Parzen window needs at least one sample, got 0")
        h = torch.tensor(self.bandwidths, dtype=torch.float64, device=self._sums.device)
        exponent = -self.nearest_squared()[:, None] / (2 * h.square())
        normaliser = math.log(self.n_samples) + self.dim * (h.log() + 0.5 * math.log(2 * math.pi))
        found = exponent + self._sums.log() - normaliser
        return torch.where(exponent.isinf(), -math.inf, found)  # a distance beyond float64 leaves NaN in the sums


class _RealDistances:
    """Squared distances in float64: by a product of centred points, or directly if that would lose digits.

    `unit` scales the distances of `block`, to which `offset` `(M,)` must be added first (here 0). `block` also gives
    the largest number `(r,)` of each row that may be rounding of an exact 0, `rounding` at most. `steepest` bounds the
    factor of an exponent.

    Args:
        x: points `(M, D)`, floating point, or bytes of more than WIDEST dimensions.
        tolerance: acceptable error of a squared distance.
    """

    offset: Tensor | float = 0.0
    steepest = -math.inf

    def __init__(self, x: Tensor, tolerance: float):
        self.unit = BYTE**2 if x.dtype == torch.uint8 else 1.0
        self._centre = x.double().median(dim=0).values  # a common offset costs no digits, and one outlier few
        self._x = x.double() - self._centre
        self._norms = self._x.square().sum(dim=1)
        rounding = 8 * torch.finfo(torch.float64).eps
        self._largest = tolerance / self.unit / rounding
        self._zero = rounding * self._norms
        self.rounding = float(self._zero.max())

    def prepare(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        centred = samples.double() - self._centre
        return centred, centred.square().sum(dim=1)

    def block(self, rows: slice, prepared: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        samples, norms = prepared
        if float(self._norms[rows].max() + norms.max()) > self._largest:
            distances = torch.cdist(self._x[rows], samples, compute_mode="donot_use_mm_for_euclid_dist")
            return distances.square_(), torch.zeros_like(self._zero[rows])
        squared = torch.addmm(norms, self._x[rows], samples.T, alpha=-2)
        return squared.add_(self._norms[rows, None]).clamp_(min=0), self._zero[rows]


class _ByteDistances:
    """Squared distances of bytes as exact integers in units of 1 / 255^2, without `offset`, the square of the point.

    Bytes are shifted to -128 .. 127 and kept as int8 if the processor has fast int8 products, else as float32.
    """

    unit = BYTE**2
    rounding = 0.0
    steepest = -1e30  # leaves nothing of any distance but 0; float32 would make a steeper one infinite, and 0 of it NaN

    def __init__(self, x: Tensor):
        self._int8 = x.device.type == "cpu" and int8_pays(*x.shape)
        self._x = self._signed(x)
        self.offset = _square_sums(x)

    def _signed(self, x: Tensor) -> Tensor:
        signed = (x.to(torch.int16) - 128).to(torch.int8)
        return signed if self._int8 else signed.float()

    def prepare(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        return self._signed(samples).T.contiguous(), _square_sums(samples)

    def block(self, rows: slice, prepared: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        samples, norms = prepared
        product = byte_products(self._x[rows], samples)
        return torch.add(norms, product, alpha=-2, out=product), -self.offset[rows]


_Distances = _RealDistances | _ByteDistances


def _square_sums(x: Tensor) -> Tensor:
    return (x.to(torch.int32) - 128).square().sum(dim=1, dtype=torch.int32)


def block_shape(n_points: int, memory: int) -> tuple[int, int]:
    """(points, samples) of one block, at least 1 each; about 20 bytes per pair."""
    # 2^21 pairs at most: larger blocks leave the cache and are slower.
    pairs = max(1, min(memory // 20, 2**21))
    rows = max(1, min(n_points, 1024, pairs))
    return rows, max(1, pairs // rows)


def check_bandwidths(bandwidths: Sequence[float]) -> None:
    """Raises OptionError unless there is at least one and all are from 1e-100 to 1e100, whose squares fit float64."""
    for bandwidth in bandwidths:
        if bandwidth > 0 and not SMALLEST <= bandwidth <= 1 / SMALLEST:
            raise OptionError(
                f"--bandwidths: expected numbers from 1e-100 to 1e100, got {bandwidth:.3g}; scale all points"
            )
        if not bandwidth > 0:
            raise OptionError(f"--bandwidths: expected numbers above 0, got {bandwidth}")
    if not len(bandwidths):
        raise OptionError("--bandwidths: expected at least one number above 0, got none")


def check_points(points: Tensor, name: str) -> None:
    """Raises StatisticsError unless points are `(N, D)`, and bytes or finite floating point."""
    if points.ndim != 2 or not points.shape[1]:
        raise StatisticsError(f"expected {name} of shape (N, D), got {tuple(points.shape)}")
    if points.dtype != torch.uint8 and not points.is_floating_point():
        raise StatisticsError(f"expected {name} as bytes or in floating point, got {points.dtype}")
    if points.is_floating_point() and not bool(torch.isfinite(points).all()):
        raise StatisticsError(f"expected finite {name}, got NaN or infinity")
