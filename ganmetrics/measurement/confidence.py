"""95 % intervals from the values of a metric on resampled images.

Efron & Tibshirani 1993 (An Introduction to the Bootstrap, section 13.3). A set drawn with replacement holds images
twice, which moves a Fréchet distance upward and a coverage downward; so the replicates' own mean is taken off them, and
what is left is how far the value would move with other images of the same number. The interval is for the value *at
these numbers of images*: the bias that comes with few of them is no part of it (see FID-infinity for that). It ends
where the range of the metric does, as the value itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEVEL = 0.95
ANY = (-math.inf, math.inf)


def interval(
    value: float, replicates: Tensor, level: float = LEVEL, *, within: tuple[float, float] = ANY
) -> tuple[float, float]:
    """Low and high end for `value`, from `(n,)` values on resampled images, clamped to the range of the metric."""
    moved = replicates.double() - replicates.double().mean()
    tail = (1 - level) / 2
    low, high = torch.quantile(moved, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    least, most = within
    return min(most, max(least, value + low)), min(most, max(least, value + high))
