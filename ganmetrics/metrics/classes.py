"""What metrics over classes share: which image is of which class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Metric


def of_images(metric: Metric, side: str) -> tuple[list[str], Tensor]:
    """Names of the classes of a side, sorted, and the place among them of every image `(n,)`.

    Raises StatisticsError where not every image has a class.
    """
    labels, count = metric.labels.get(side, ()), metric.statistics[side].count
    if len(labels) != count or not count:
        raise StatisticsError(
            f"{metric.name}: expected the class of every {side} image, got {len(labels)} classes for {count} images"
        )
    names = sorted(set(labels))
    places = {name: i for i, name in enumerate(names)}
    return names, torch.tensor([places[label] for label in labels])


def require_two_of_each(metric: Metric, side: str, labels: Sequence[str]) -> None:
    """Raises StatisticsError where a class has but one image."""
    alone = sorted(name for name, n in Counter(labels).items() if n < 2)
    if alone:
        raise StatisticsError(
            f"{metric.name}: expected at least 2 {side} images of every class, got 1 of {some(alone)}"
        )


def some(names: list[str]) -> str:
    """The first few, for a message."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
