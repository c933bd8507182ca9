"""The influence function of a Frechet distance: how much each image changes it. Intervals are computed from it.

With T the matrix of the optimal map between the two Gaussians, T = S1^(-1/2) (S1^(1/2) S2 S1^(1/2))^(1/2) S1^(-1/2),
the derivative of the distance is 2 (m1 - m2) by the mean and I - T by the covariance (Malago, Montrucchio & Pistone
2018, arXiv:1801.09269). The effect of an image on mean and covariance is known, so one decomposition gives the
influence of every image. The sum over a set drawn with replacement is a bootstrap replicate to first order (Efron &
Tibshirani 1993, chapter 21).

This is better than the distance of the drawn set itself. Such a set holds some images several times, and with few
images in many dimensions that alone spreads the distance: its standard deviation is up to 1.9 times that over new
images. Here it is at most 1.5 times. Both maxima are reached if the two sides have the same distribution.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ganmetrics.statistics.factors import reflected
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import with_start


def frechet_influence(own: Moments, other: Moments, vectors: Iterable[Tensor], ddof: int = 1) -> Tensor:
    """`(n,)` float64: derivative of the distance by the weight of each vector of `own`; the mean is 0.

    vectors: the vectors of which `own` are the moments, in blocks `(b, D)`.
    Covariances may have any rank. For a singular S1, T is defined on its range, where all centred vectors of `own` lie.
    """
    mean, factor = own.mean().cpu(), own.factor(ddof).cpu()
    between = mean - other.mean().cpu()
    left, strength, _ = torch.linalg.svd(factor @ other.factor(ddof).cpu().T, full_matrices=False)
    n = own.count or 0
    mapped = None if own.rows() is not None else _preimage(factor, left)
    if mapped is None:
        left = reflected(torch.cat([left.new_zeros(1, left.shape[1]), left]))
    influences = []
    for start, block in with_start(vectors):
        centred = block.cpu().double() - mean
        # If the factor is made of the centred vectors themselves, A^+ U maps them to rows of `left`, up to scale.
        along = left[start : start + len(block)] * (n - ddof) ** 0.5 if mapped is None else centred @ mapped
        stretched = along.square() @ strength  # x' T x
        scatter = (centred.square().sum(dim=1) - stretched) * (n / (n - ddof))
        influences.append(2 * centred @ between + scatter)
    influence = torch.cat(influences)
    return influence - influence.mean()


def _preimage(factor: Tensor, left: Tensor) -> Tensor:
    """A^+ U `(D, k)` of a factor A with linearly independent rows; A^+ is its pseudoinverse."""
    if factor.shape[0] == factor.shape[1]:
        return torch.linalg.solve(factor, left)
    orthogonal, upper = torch.linalg.qr(factor.T)
    return orthogonal @ torch.linalg.solve_triangular(upper.T, left, upper=False)
