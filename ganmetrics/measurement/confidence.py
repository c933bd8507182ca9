"""95 % intervals from the values of a metric on resampled images.

Efron & Tibshirani 1993 (An Introduction to the Bootstrap, section 13.3). A set drawn with replacement contains
duplicates, which raises a Fréchet distance and lowers a coverage. So the mean of the replicates is subtracted; what
remains is how much the value varies between sets of the same number of images. The interval is for the value *at these
numbers of images*: it does not include the bias of small sets (see FID-infinity for that). It is clamped to the range
of the metric, as the value is.
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
    """Low and high end of the interval for `value`, from `(n,)` values on resampled images; clamped to `within`."""
    deviations = replicates.double() - replicates.double().mean()
    tail = (1 - level) / 2
    low, high = torch.quantile(deviations, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    least, most = within
    return min(most, max(least, value + low)), min(most, max(least, value + high))
