"""Sum of the singular values of a matrix M, in float64: by eigenvalues of M M' where these are good enough.

The eigenvalues of M M' take a third of the time of the singular values of M, and lose half of the digits of the small
ones: each is off by rounding of the largest. They lose almost nothing where the rows of M come in falling size, as they
do where M is a product of Cholesky factors of sorted covariances: then each eigenvalue is off by rounding of the rows
of its own size (Barlow & Demmel 1990; Demmel & Veselic 1992). What was lost is measured by the determinant, which an LU
decomposition gives by another way, and where it is too much the singular values are computed after all.
"""

from __future__ import annotations

import torch
from torch import Tensor

GRADED = 16  # largest by smallest squared row from which eigenvalues are worth a try; others lose digits, or are rare
SMALL = 640  # rows or columns up to which singular values are quick themselves
BLOCKS = 8  # of rows in half of a symmetric product
TOLERANCE = 1e-11  # share of the given scale
ROUNDING = 16.0  # of an eigenvalue, in units of eps times the squared norm of the rows of its size and below
CHANCE = 100.0  # by how much errors of either sign may cancel in the determinant


def nuclear_norm(matrix: Tensor, scale: Tensor) -> Tensor:
    """`(r, k)` to a scalar: the sum of singular values, to 1e-11 of `scale` or to the rounding of `svdvals`."""
    if min(matrix.shape) > SMALL and is_graded(matrix):
        values, error = by_eigenvalues(matrix)
        if bool(error <= TOLERANCE * scale):
            return values.sum()
    return torch.linalg.svdvals(matrix).sum()


def is_graded(matrix: Tensor) -> bool:
    """Whether its rows, or its columns, are of very unlike sizes."""
    return any(bool(sizes.max() > GRADED * sizes.min()) for sizes in _sizes(matrix))


def by_eigenvalues(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values of `(r, k)`, falling, and an estimate of the error of their sum: infinite where it is unknown."""
    square = _graded(matrix)
    eigenvalues = torch.linalg.eigvalsh(_lower_half_of_products(square)).flip(0)
    values = eigenvalues.clamp(min=0).sqrt()
    if not bool(eigenvalues[-1] > 0):
        return values, torch.full_like(values[0], torch.inf)
    missed = (eigenvalues.log().sum() - 2 * torch.linalg.slogdet(square).logabsdet).abs()
    common = CHANCE * missed / eigenvalues.reciprocal().norm()
    remaining = square.square().sum(dim=1).flip(0).cumsum(0).flip(0)
    off = ROUNDING * torch.finfo(values.dtype).eps * remaining + common
    return values, torch.minimum(off / (2 * values), off.sqrt()).sum()


def _lower_half_of_products(rows: Tensor) -> Tensor:
    """X X' of rows X `(r, k)` on and below the diagonal; above it there is more, or nothing."""
    products = rows.new_zeros(len(rows), len(rows))
    size = -(-len(rows) // BLOCKS) or 1
    for start in range(0, len(rows), size):
        products[start : start + size, : start + size] = rows[start : start + size] @ rows[: start + size].T
    return products


def _graded(matrix: Tensor) -> Tensor:
    """A square matrix of the same singular values, its rows in falling size: rows or columns, which differ more."""
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
