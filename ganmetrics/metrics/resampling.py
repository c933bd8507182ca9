"""Sets drawn with replacement from the images seen: how often each image is in each of them.

Efron & Tibshirani 1993 (An Introduction to the Bootstrap, section 6.2 and, for influence functions, chapter 21).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ganmetrics.metrics.index import TWO

BLOCK = 2**22  # counts in memory at a time


def counts(n_images: int, resamples: int, seed: int, side: str = "fake") -> Iterator[Tensor]:
    """Blocks `(b, n_images)` float64 that make up `resamples` rows; each row sums to `n_images`.

    The same for the same numbers, seed and side, however it is cut into blocks; real and fake draw apart.
    """
    rng = np.random.default_rng([seed, TWO.index(side)])
    rows = max(1, BLOCK // n_images)
    for start in range(0, resamples, rows):
        here = min(rows, resamples - start)
        drawn = rng.integers(0, n_images, (here, n_images)) + n_images * np.arange(here)[:, None]
        tallied = np.bincount(drawn.reshape(-1), minlength=here * n_images)
        yield torch.from_numpy(tallied.reshape(here, n_images)).double()


def replicate(
    statistic: Callable[[Tensor], Tensor], n_images: int, resamples: int, seed: int, side: str = "fake"
) -> Tensor:
    """`(resamples,)` values of a statistic that takes counts `(b, n_images)` to values `(b,)`."""
    return torch.cat([statistic(block) for block in counts(n_images, resamples, seed, side)])


def linear(influence: Tensor, resamples: int, seed: int, side: str = "fake") -> Tensor:
    """`(resamples,)`: by how much a statistic moves on resampled images, to first order.

    influence: `(n,)`, the derivative of the statistic by the share of each image among all.
    """
    n = len(influence)
    centred = (influence - influence.mean()) / n
    return replicate(lambda block: block @ centred, n, resamples, seed, side)
