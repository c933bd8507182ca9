"""Count, mean and scatter matrix of vectors in float64, which is all that a Frechet distance needs.

Update and merge follow Chan, Golub & LeVeque 1979 (the pairwise formula), so one pass, several batches and merged parts
agree to rounding. While there are no more vectors than dimensions, the vectors themselves are kept: they take less
memory than a scatter matrix and give an exact low-rank factor of the covariance. After that, memory does not grow.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.statistics.factors import reflected, symmetric_factor
from ganmetrics.statistics.rows import Rows, divided

FOLD_ROWS = 512  # rows collected before each later update of the scatter matrix; one product of many rows is faster


class Moments:
    """Streaming moments of vectors `(N, D)`.

    `count` is None for a statistics file without a count (pytorch-fid, TTUR, EDM). Such moments can be compared,
    but not updated or merged.
    """

    def __init__(self) -> None:
        self.count: int | None = 0
        self._rows = Rows()  # vectors not yet added to _mean and _scatter
        self._folded = 0  # number of vectors in _mean and _scatter
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None
        self._covariance: Tensor | None = None  # from a file of unknown count

    @classmethod
    def from_covariance(cls, mean: Tensor, covariance: Tensor, count: int | None = None) -> Moments:
        """From a mean `(D,)` and the unbiased (n - 1) covariance `(D, D)`."""
        moments = cls()
        moments.count = count
        moments._mean = mean.double()
        if count is None:
            moments._covariance = covariance.double()
        else:
            moments._folded, moments._scatter = count, covariance.double() * (count - 1)
        return moments

    @classmethod
    def from_arrays(cls, folded: int, arrays: Mapping[str, Tensor]) -> Moments:
        """Inverse of `arrays`, identical to the last bit; `folded` is the property of the same name."""
        moments = cls()
        moments._folded = folded
        moments._mean, moments._scatter = arrays.get("mean"), arrays.get("scatter")
        moments._rows = Rows(arrays["rows"]) if "rows" in arrays else Rows()
        moments.count = folded + moments._rows.count
        return moments

    @property
    def folded(self) -> int:
        """Number of vectors in mean and scatter, which are no longer kept themselves."""
        return self._folded

    def arrays(self) -> dict[str, Tensor]:
        """The whole state, float64: mean `(D,)` and scatter `(D, D)` of the folded vectors, rows `(n, D)` of the rest.

        Raises StatisticsError for statistics of unknown count.
        """
        if self.count is None:
            raise StatisticsError("statistics of unknown count hold no scatter; measure the images instead")
        state = {"mean": self._mean, "scatter": self._scatter, "rows": self._rows.whole()}
        return {name: tensor for name, tensor in state.items() if tensor is not None}

    @property
    def dim(self) -> int | None:
        """D, or None before the first vector."""
        if self._mean is not None:
            return len(self._mean)
        pieces = self._rows.pieces()
        return pieces[0].shape[1] if pieces else None

    def update(self, vectors: Tensor, divisor: int = 1) -> None:
        """Add vectors `(N, D)` of any float dtype, divided by the divisor. Raises StatisticsError for another D."""
        if self.count is None:
            raise StatisticsError("statistics of unknown count cannot be added to; measure the images instead")
        if vectors.ndim != 2 or (self.dim is not None and vectors.shape[1] != self.dim):
            raise StatisticsError(f"expected vectors of shape (N, {self.dim or 'D'}), got {tuple(vectors.shape)}")
        if not len(vectors):
            return
        device = torch.device("cpu") if vectors.device.type == "mps" else vectors.device  # mps has no float64
        self._rows.add(divided(vectors, divisor), torch.float64, device)
        self.count += len(vectors)
        waiting = self.count - self._folded
        if waiting > (FOLD_ROWS if self._folded else vectors.shape[1]):
            self._fold()

    def merge(self, other: Moments) -> None:
        """Add all vectors that another has seen. Raises StatisticsError for another D or an unknown count."""
        if self.count is None or other.count is None:
            raise StatisticsError("statistics of unknown count cannot be merged; measure the images instead")
        if other._scatter is not None and other._mean is not None:
            if self.dim not in (None, other.dim):
                raise StatisticsError(f"expected statistics of {self.dim} dimensions, got {other.dim}")
            self._fold()
            self._add(other._folded, other._mean, other._scatter)
            self.count += other._folded
        for rows in other._rows.pieces():
            self.update(rows)

    def mean(self) -> Tensor:
        """`(D,)` float64. Raises StatisticsError before the first vector."""
        rows = self.rows()
        return self._totals()[0] if rows is None else rows.mean(dim=0)

    def covariance(self, ddof: int = 1) -> Tensor:
        """`(D, D)` float64; ddof 1 divides by n - 1, ddof 0 by n. Raises StatisticsError below two vectors."""
        if self._covariance is not None:
            if ddof != 1:
                raise StatisticsError("statistics of unknown count hold the n - 1 covariance only; use --ddof 1")
            return self._covariance
        n = self._need(ddof)
        if self.rows() is not None:
            factor = self.factor(ddof)
            return factor.T @ factor
        return self._totals()[1] / (n - ddof)

    def factor(self, ddof: int = 1) -> Tensor:
        """A `(r, D)` with `A.T @ A` equal to the covariance, r at most D.

        While the n vectors are kept (n at most D), A is the `reflected` centred vectors without the first row, which is
        0: n - 1 rows. Otherwise it is that of `symmetric_factor`.
        """
        n, rows = self._need(ddof), self.rows()
        if rows is not None:
            return reflected(rows - rows.mean(dim=0))[1:] / (n - ddof) ** 0.5
        return symmetric_factor(self.covariance(ddof))

    def rows(self) -> Tensor | None:
        """The vectors themselves `(n, D)` while all of them are kept, else None."""
        return None if self._folded else self._rows.whole()

    def _need(self, ddof: int) -> int:
        n = self.count if self.count is not None else 1 + ddof  # an unknown count is taken as enough
        if n < 1 + ddof:
            raise StatisticsError(f"expected at least {1 + ddof} images for a covariance, got {n}")
        return n

    def _totals(self) -> tuple[Tensor, Tensor]:
        """Mean and scatter of everything seen; the scatter is the covariance where the count is unknown."""
        self._fold()
        scatter = self._scatter if self._covariance is None else self._covariance
        if self._mean is None or scatter is None:
            raise StatisticsError("no vector yet: update before asking for moments")
        return self._mean, scatter

    def _fold(self) -> None:
        """Move the waiting rows into mean and scatter."""
        rows = self._rows.whole()
        if rows is not None:
            self._rows = Rows()
            mean = rows.mean(dim=0)
            centred = rows - mean
            self._add(len(rows), mean, centred.T @ centred)

    def _add(self, n: int, mean: Tensor, scatter: Tensor) -> None:
        """Add mean and scatter of n other vectors by the pairwise formula."""
        if self._mean is None or self._scatter is None:
            self._folded, self._mean, self._scatter = n, mean.clone(), scatter.clone()
            return
        total = self._folded + n
        delta = (mean - self._mean).to(self._mean.device)
        self._scatter += scatter.to(delta.device)
        self._scatter.addr_(delta, delta, alpha=self._folded * n / total)
        self._mean += delta * (n / total)
        self._folded = total
