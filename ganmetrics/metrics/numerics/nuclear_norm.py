"""Nuclear norm of a matrix M (the sum of its singular values), in float64: by eigenvalues of M M' if precise enough.

The eigenvalues of M M' take a third of the time of the singular values of M. In general they lose half of the digits of
the small ones, because each has a rounding error relative to the largest. They lose almost nothing if the rows of M
fall in size, as for a product of Cholesky factors of sorted covariances: then each eigenvalue has a rounding error
relative to rows of its own size (Barlow & Demmel 1990; Demmel & Veselic 1992). The loss is measured by comparing the
determinant with that of an LU decomposition. If it is too large, the singular values are computed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganmetrics.metrics.numerics.scaling import largest_of, power_of_two

GRADED = 16  # ratio of largest to smallest squared row from which eigenvalues are tried; below, they lose digits
SMALL = 640  # rows or columns up to which singular values are fast enough
BLOCKS = 8  # blocks of rows in the lower half of a symmetric product
TOLERANCE = 1e-11  # allowed error, as a share of the given scale
ROUNDING = 16.0  # error of an eigenvalue, in eps times the squared norm of the rows of its size and smaller
CHANCE = 100.0  # safety factor: errors of different signs may cancel in the determinant


def nuclear_norm(matrix: Tensor, scale: Tensor) -> Tensor:
    """Sum of the singular values of a matrix `(r, k)`, to 1e-11 of `scale` or the rounding of `svdvals`; a scalar."""
    unit = power_of_two(largest_of([matrix]))
    return _of_moderate(matrix / unit, scale / unit) * unit


def _of_moderate(matrix: Tensor, scale: Tensor) -> Tensor:
    if min(matrix.shape) > SMALL and is_graded(matrix):
        values, error = by_eigenvalues(matrix)
        if bool(error <= TOLERANCE * scale):
            return values.sum()
    return torch.linalg.svdvals(matrix).sum()


def is_graded(matrix: Tensor) -> bool:
    """Whether its rows, or its columns, have very different sizes."""
    return any(bool(sizes.max() > GRADED * sizes.min()) for sizes in _sizes(matrix))


def by_eigenvalues(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values of a matrix `(r, k)`, falling, and an error estimate of their sum; infinite if unknown."""
    square = _graded(matrix)
    eigenvalues = torch.linalg.eigvalsh(_lower_half_of_products(square)).flip(0)
    values = eigenvalues.clamp(min=0).sqrt()
    if not bool(eigenvalues[-1] > 0):
        return values, torch.full_like(values[0], torch.inf)
    mismatch = (eigenvalues.log().sum() - 2 * torch.linalg.slogdet(square).logabsdet).abs()
    common = CHANCE * mismatch / eigenvalues.reciprocal().norm()
    remaining = square.square().sum(dim=1).flip(0).cumsum(0).flip(0)
    error = ROUNDING * torch.finfo(values.dtype).eps * remaining + common
    return values, torch.minimum(error / (2 * values), error.sqrt()).sum()


def _lower_half_of_products(rows: Tensor) -> Tensor:
    """X X' of rows X `(r, k)` on and below the diagonal, which is all that `eigvalsh` reads; above it is arbitrary."""
    products = rows.new_zeros(len(rows), len(rows))
    size = -(-len(rows) // BLOCKS) or 1
    for start in range(0, len(rows), size):
        products[start : start + size, : start + size] = rows[start : start + size] @ rows[: start + size].T
    return products


def _graded(matrix: Tensor) -> Tensor:
    """A square matrix with the same singular values and rows of falling size; transposed if columns differ more."""
    rows, columns = matrix.shape
    if rows != columns:
        matrix = torch.linalg.qr(matrix if rows > columns else matrix.T, mode="r").R
    by_rows, by_columns = _sizes(matrix)
    if bool(by_columns.log().sum() < by_rows.log().sum()):
        matrix, by_rows = matrix.T, by_columns
    return matrix[by_rows.argsort(descending=True)]


def _sizes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Squared norms of rows and of columns."""
    squares = matrix.square()
    return squares.sum(dim=1), squares.sum(dim=0)
