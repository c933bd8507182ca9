"""Factors A of a covariance matrix S, with A'A = S, in float64. A Frechet distance is computed from them.

The factor is that of Cholesky, with rows and columns of S sorted by variance, so that the rows of the factor fall in
size. If S has no full rank, it is the pivoted Cholesky factor (LAPACK Working Note 161, Lucas 2004), which stops at the
rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError

# A pivot below this share of its own diagonal entry is rounding noise: the matrix does not have full rank.
PIVOT = 1e-11
EPS = torch.finfo(torch.float64).eps
NOISE = 8 * EPS  # per dimension, for variances scaled to 1: pivots below it count as 0
PROBES = 4  # fixed test vectors on which a pivoted factor is checked; costs O(D^2), not O(D^3)
INDEFINITE = 1e-4  # of the largest eigenvalue: a negative one beyond this is no rounding of a float32 file


def symmetric_factor(covariance: Tensor) -> Tensor:
    """A `(r, D)` with `A.T @ A` equal to a symmetric positive semi-definite matrix `(D, D)` of rank r.

    Raises StatisticsError if an eigenvalue is below -1e-4 times the largest absolute eigenvalue, and for infinities.
    """
    variances = covariance.diagonal()
    if not bool(torch.isfinite(variances).all()):
        raise StatisticsError("expected finite variances: features this large are beyond float64; scale all features")
    # Rows of a feature that never varies are left out, because Cholesky needs positive pivots.
    varying = variances > EPS**2 * variances.max()
    order = variances.argsort(descending=True)
    order = order[varying[order]]
    lower = _lower_factor(covariance[order][:, order])
    constant = covariance[~varying].abs()
    # A feature without variance that covaries with others: the matrix is not positive semi-definite.
    if lower is None or (len(constant) and not bool(constant.max() <= 2 * EPS * variances.max())):
        return _positive_part(covariance)
    factor = lower.new_zeros(len(covariance), lower.shape[1])
    factor[order] = lower
    return factor.T


def _lower_factor(covariance: Tensor) -> Tensor | None:
    """L `(D, r)` with L L' equal to a matrix of positive diagonal; None if the matrix is indefinite."""
    lower, info = torch.linalg.cholesky_ex(covariance)
    if info == 0 and bool((lower.diagonal().square() > PIVOT * covariance.diagonal()).all()):
        return lower
    return _pivoted_factor(covariance)


def _pivoted_factor(covariance: Tensor) -> Tensor | None:
    """The pivoted factor, which stops at the rank. Variances are scaled to 1, so that rounding hides no small one."""
    from scipy.linalg.lapack import dpstrf

    scale = covariance.diagonal().sqrt()
    correlations = covariance / scale / scale[:, None]
    noise = NOISE * len(scale)
    pivoted, order, rank, _ = dpstrf(correlations.cpu().numpy().T, lower=True, tol=noise)
    lower = torch.zeros(len(scale), rank, dtype=torch.float64)
    lower[torch.from_numpy(order).long() - 1] = torch.from_numpy(pivoted[:, :rank]).tril()
    lower = lower.to(covariance.device)
    probes = torch.arange(len(scale) * PROBES, dtype=torch.float64, device=scale.device).square().cos()
    probes = probes.reshape(-1, PROBES)
    residual = correlations @ probes - lower @ (lower.T @ probes)
    return scale[:, None] * lower if bool(residual.norm() <= noise * len(scale)) else None


def _positive_part(covariance: Tensor) -> Tensor:
    """A factor by eigenvalues, without those that are negative or rounding noise: the nearest valid covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    if float(values[0]) < -INDEFINITE * float(values.abs().max()):
        raise StatisticsError(
            f"expected a covariance matrix, got one with the eigenvalue {float(values[0]):.4g} "
            f"(largest {float(values[-1]):.4g}); it is not positive semi-definite"
        )
    floor = values[-1] * len(values) * EPS
    keep = values > floor
    return values[keep].sqrt()[:, None] * vectors[:, keep].T


def reflected(rows: Tensor) -> Tensor:
    """H X of rows X `(n, k)`, with H = I - 2 v v' the Householder reflection that swaps e1 and the constant vector.

    The first row of H X is the sum of the rows of X divided by sqrt(n): 0 for centred rows. H is its own inverse.
    """
    n = len(rows)
    if n == 1:
        return rows
    axis = torch.full((n, 1), -(n**-0.5), dtype=rows.dtype, device=rows.device)
    axis[0] += 1
    axis /= axis.norm()
    return rows - 2 * axis @ (axis.T @ rows)
