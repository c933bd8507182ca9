"""95 % intervals from the values of a metric on resampled images.

Efron & Tibshirani 1993 (An Introduction to the Bootstrap, section 13.3). A set drawn with replacement holds images
twice, which moves a Fréchet distance upward and a coverage downward; so the replicates' own mean is taken off them, and
what is left is how far the value would move with other images of the same number. The interval is for the value *at
these numbers of images*: the bias that comes with few of them is no part of it (see FID-infinity for that).
"""

from __future__ import annotations

import torch
from torch import Tensor

LEVEL = 0.95


def interval(value: float, replicates: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """Low and high end for `value`, from `(n,)` values on resampled images."""
    moved = replicates.double() - replicates.double().mean()
    tail = (1 - level) / 2
    low, high = torch.quantile(moved, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return value + low, value + high
