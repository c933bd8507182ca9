"""Factors A with A'A a given covariance, in float64: what a Frechet distance is computed from.

Cholesky's, with rows and columns sorted by variance, so that the rows of the factor come in falling size; where the
rank is deficient, Cholesky's with pivots (LAPACK Working Note 161, Lucas 2004), which ends at the rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError

# A pivot below this share of its own diagonal entry is rounding noise: the matrix has no full rank.
PIVOT = 1e-11
EPS = torch.finfo(torch.float64).eps
NOISE = 8 * EPS  # of a variance of 1, per dimension: a pivot below it ends the rank
PROBES = 4
INDEFINITE = 1e-4  # share of the largest eigenvalue by which a negative one is more than a float32 file's rounding


def symmetric_factor(covariance: Tensor) -> Tensor:
    """A `(r, D)` with `A.T @ A` equal to a symmetric positive semi-definite matrix `(D, D)` of rank r.

    Raises StatisticsError for a matrix with a negative eigenvalue of more than 1e-4 of the largest.
    """
    variances = covariance.diagonal()
    alive = variances > EPS**2 * variances.max()
    order = variances.argsort(descending=True)
    order = order[alive[order]]
    lower = _lower_factor(covariance[order][:, order])
    beside = covariance[~alive].abs()
    if lower is None or (len(beside) and not bool(beside.max() <= 2 * EPS * variances.max())):
        return _positive_part(covariance)
    factor = lower.new_zeros(len(covariance), lower.shape[1])
    factor[order] = lower
    return factor.T


def _lower_factor(covariance: Tensor) -> Tensor | None:
    """L `(D, r)` with L L' a matrix of positive diagonal; None where there is none, because it is indefinite."""
    lower, info = torch.linalg.cholesky_ex(covariance)
    if info == 0 and bool((lower.diagonal().square() > PIVOT * covariance.diagonal()).all()):
        return lower
    return _pivoted_factor(covariance)


def _pivoted_factor(covariance: Tensor) -> Tensor | None:
    """The same at the rank there is, from variances scaled to 1, so that none is small beside rounding of others."""
    from scipy.linalg.lapack import dpstrf

    scale = covariance.diagonal().sqrt()
    correlations = covariance / scale / scale[:, None]
    noise = NOISE * len(scale)
    found, order, rank, _ = dpstrf(correlations.cpu().numpy().T, lower=True, tol=noise)
    lower = torch.zeros(len(scale), rank, dtype=torch.float64)
    lower[torch.from_numpy(order).long() - 1] = torch.from_numpy(found[:, :rank]).tril()
    lower = lower.to(covariance.device)
    probes = torch.arange(len(scale) * PROBES, dtype=torch.float64, device=scale.device).square().cos()
    probes = probes.reshape(-1, PROBES)
    residual = correlations @ probes - lower @ (lower.T @ probes)
    return scale[:, None] * lower if bool(residual.norm() <= noise * len(scale)) else None


def _positive_part(covariance: Tensor) -> Tensor:
    """The nearest factor, by eigenvalues, without those that are negative or rounding noise."""
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
    """H X of rows X `(n, k)`, H = I - 2 v v' the Householder reflection that swaps e1 and the constant vector.

    Its first row is the sum of X over the root of n: 0 for centred rows. H is its own inverse.
    """
    n = len(rows)
    if n == 1:
        return rows
    axis = torch.full((n, 1), -(n**-0.5), dtype=rows.dtype, device=rows.device)
    axis[0] += 1
    axis /= axis.norm()
    return rows - 2 * axis @ (axis.T @ rows)
