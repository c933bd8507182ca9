"""What is left of a tool's wait once its covariances are of few images: roots and eigenvalues of their product.

The tools have them of SciPy, numpy and torch, which take 10 s and more for 2048 dimensions whatever the rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

HIGHEST_RANK = 48
EIGVALS = np.linalg.eigvals


def eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """All eigenvalues `(D,)` of a matrix whose rank is low, which is asserted."""
    draw = np.random.default_rng(0).standard_normal((len(matrix), HIGHEST_RANK))
    basis, _ = np.linalg.qr(matrix @ draw)
    inside = basis.T @ matrix
    assert np.linalg.norm(matrix - basis @ inside) <= 1e-9 * np.linalg.norm(matrix)
    return np.pad(EIGVALS(inside @ basis), (0, len(matrix) - HIGHEST_RANK))


def root(matrix: np.ndarray) -> np.ndarray:
    """A matrix with the trace of the square root, which is all that is read of it; like SciPy >= 1.18's `sqrtm`."""
    return np.diag(np.sqrt(eigenvalues(matrix).astype(complex)).real)


def of_tensor(matrix: Tensor) -> Tensor:
    return torch.from_numpy(eigenvalues(matrix.double().numpy()).astype(complex))


@contextmanager
def quick_roots() -> Iterator[None]:
    """Only where every covariance is of few images."""
    with (
        mock.patch.object(scipy.linalg, "sqrtm", root),
        mock.patch.object(np.linalg, "eigvals", eigenvalues),
        mock.patch.object(torch.linalg, "eigvals", of_tensor),
    ):
        yield
