"""Bootstrap sets, drawn with replacement from the images: the number of times that each image is in each set.

Efron & Tibshirani 1993 (An Introduction to the Bootstrap, section 6.2 and, for influence functions, chapter 21).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ganmetrics.metrics.index import SIDES

BLOCK = 2**22  # counts in memory at a time
TRAINING_SET = "the real images (the training set)"  # for metrics of memorisation, whose intervals are over fakes
UNMOVED = "it is the same for every image, so that resampling images does not change it"


def counts(
    n_images: int, resamples: int, seed: int, side: str = "fake", groups: Tensor | None = None
) -> Iterator[Tensor]:
    """Counts of each image in `resamples` sets, in blocks `(b, n_images)` float64; each row sums to `n_images`.

    They depend on the numbers, the seed and the side only, not on the size of the blocks.

    side: "real" or "fake", which have different random streams.
    groups: `(n_images,)` whole numbers; images are drawn within their group, so that its size does not change.
    """
    rng = np.random.default_rng([seed, SIDES.index(side)])
    rows = max(1, BLOCK // n_images)
    group = np.zeros(n_images, dtype=np.int64) if groups is None else np.unique(groups.numpy(), return_inverse=True)[1]
    order, sizes = np.argsort(group, kind="stable"), np.bincount(group)
    first, size = (np.cumsum(sizes) - sizes)[group], sizes[group]
    for start in range(0, resamples, rows):
        n_rows = min(rows, resamples - start)
        drawn = order[first + rng.integers(0, size, (n_rows, n_images))]
        cells = drawn + n_images * np.arange(n_rows)[:, None]  # one bincount for all rows
        tallied = np.bincount(cells.reshape(-1), minlength=n_rows * n_images)
        yield torch.from_numpy(tallied.reshape(n_rows, n_images)).double()


def replicate(
    statistic: Callable[[Tensor], Tensor],
    n_images: int,
    resamples: int,
    seed: int,
    side: str = "fake",
    groups: Tensor | None = None,
) -> Tensor:
    """Values `(resamples,)` of a statistic on resampled sets; it maps counts `(b, n_images)` to values `(b,)`."""
    return torch.cat([statistic(block) for block in counts(n_images, resamples, seed, side, groups)])


def halves(n_images: int, resamples: int, seed: int, side: str = "fake") -> Iterator[Tensor]:
    """Random halves of the images, without replacement, as `(n_images,)` bool: n_images // 2 are True.

    Values on halves vary from half to half as values on whole sets vary from set to set, if their variance falls as
    1 / n (the delete-half jackknife; Shao & Wu 1989, Annals of Statistics 17). Unlike a set drawn with replacement, a
    half has no duplicates, whose distance 0 ruins nearest neighbours.
    """
    rng = np.random.default_rng([seed, SIDES.index(side)])
    for _ in range(resamples):
        chosen = torch.zeros(n_images, dtype=torch.bool)
        chosen[torch.from_numpy(rng.permutation(n_images)[: n_images // 2])] = True
        yield chosen


def linear(influence: Tensor, resamples: int, seed: int, side: str = "fake", groups: Tensor | None = None) -> Tensor:
    """Changes `(resamples,)` of a statistic on resampled images, to first order.

    influence: `(n,)`, the derivative of the statistic by the weight of each image, where all weights sum to 1.
    """
    n = len(influence)
    return replicate(lambda block: (block - 1) @ influence / n, n, resamples, seed, side, groups)
