"""Sets drawn with replacement from the images seen: how often each image is in each of them.

Efron & Tibshirani 1993 (An Introduction to the Bootstrap, section 6.2 and, for influence functions, chapter 21).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ganmetrics.metrics.index import SIDES

BLOCK = 2**22  # counts in memory at a time
UNMOVED = "it is the same for every image, so that drawing images anew moves nothing"


def counts(
    n_images: int, resamples: int, seed: int, side: str = "fake", groups: Tensor | None = None
) -> Iterator[Tensor]:
    """Blocks `(b, n_images)` float64 that make up `resamples` rows; each row sums to `n_images`.

    The same for the same numbers, seed and side, however it is cut into blocks; real and fake draw apart.
    groups: `(n_images,)` whole numbers; images are then drawn within their own group, whose size stays.
    """
    rng = np.random.default_rng([seed, SIDES.index(side)])
    rows = max(1, BLOCK // n_images)
    group = np.zeros(n_images, dtype=np.int64) if groups is None else np.unique(groups.numpy(), return_inverse=True)[1]
    order, sizes = np.argsort(group, kind="stable"), np.bincount(group)
    first, size = (np.cumsum(sizes) - sizes)[group], sizes[group]
    for start in range(0, resamples, rows):
        here = min(rows, resamples - start)
        drawn = order[first + rng.integers(0, size, (here, n_images))] + n_images * np.arange(here)[:, None]
        tallied = np.bincount(drawn.reshape(-1), minlength=here * n_images)
        yield torch.from_numpy(tallied.reshape(here, n_images)).double()


def replicate(
    statistic: Callable[[Tensor], Tensor],
    n_images: int,
    resamples: int,
    seed: int,
    side: str = "fake",
    groups: Tensor | None = None,
) -> Tensor:
    """`(resamples,)` values of a statistic that takes counts `(b, n_images)` to values `(b,)`."""
    return torch.cat([statistic(block) for block in counts(n_images, resamples, seed, side, groups)])


def linear(influence: Tensor, resamples: int, seed: int, side: str = "fake", groups: Tensor | None = None) -> Tensor:
    """`(resamples,)`: by how much a statistic moves on resampled images, to first order.

    influence: `(n,)`, the derivative of the statistic by the share of each image among all.
    """
    n = len(influence)
    return replicate(lambda block: (block - 1) @ influence / n, n, resamples, seed, side, groups)
