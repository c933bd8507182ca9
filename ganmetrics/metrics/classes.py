"""Helpers of metrics that compare class by class: the class of each image, and checks of the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Metric
from ganmetrics.printable import some


def of_images(metric: Metric, side: str) -> tuple[list[str], Tensor]:
    """Sorted class names of a side, and for each image the index `(n,)` of its class among them.

    Raises StatisticsError if an image has no class.
    """
    labels, count = metric.labels.get(side, ()), metric.statistics[side].count
    if len(labels) != count or not count:
        raise StatisticsError(
            f"{metric.name}: expected the class of every {side} image, got {len(labels)} classes for {count} images"
        )
    names = sorted(set(labels))
    index = {name: i for i, name in enumerate(names)}
    return names, torch.tensor([index[label] for label in labels])


def require_two_of_each(metric: Metric, side: str, labels: Sequence[str]) -> None:
    """Raises StatisticsError if a class has only one image."""
    alone = sorted(name for name, n in Counter(labels).items() if n < 2)
    if alone:
        raise StatisticsError(
            f"{metric.name}: expected at least 2 {side} images of every class, got 1 of {some(alone)}"
        )
