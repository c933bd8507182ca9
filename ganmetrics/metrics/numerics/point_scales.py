"""Whether sets of points seem to be scaled unlike: [-1, 1] against [0, 1], centred against not, standardised or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.metrics.numerics.scaling import largest_of, power_of_two
from ganmetrics.statistics.points import BYTE, range_of
from ganmetrics.statistics.samples import Samples, with_start

WIDER = 10  # ratio of the ranges of two sets from which any sets are warned about
FEWEST = 10, 100  # points and numbers of a set, below which chance is not told from scale
ENOUGH = 10**7  # numbers of a set that are looked at, at most about
SHIFT = 0.5  # of a deviation, between the means of two sets that are scaled alike
RATIO = 1.5  # of the deviations of two such sets
ERRORS = 4  # standard errors that a difference must exceed as well


@dataclass(frozen=True)
class Mean:
    """A mean over points, and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, numbers: Tensor) -> Mean:
        """Of one number for each point, `(N,)`."""
        return cls(float(numbers.mean()), float(numbers.std()) / len(numbers) ** 0.5)

    def differs(self, other: Mean) -> bool:
        """By more than chance explains."""
        return abs(self.value - other.value) > ERRORS * (self.error**2 + other.error**2) ** 0.5


def scale_remarks(sets: Mapping[str, Samples], *, given: bool) -> list[str]:
    """The warning for sets of different scales, by name, with the range of each.

    given: whether the scale of some is the user's, so that more than very different ranges is looked for.
    """
    ranges = {name: range_of(store) for name, store in sets.items()}
    widths = [high - low for low, high in ranges.values()]
    if not max(widths) > WIDER * min(widths) > 0 and not (given and are_unlike(list(sets.values()))):
        return []
    listed = ", ".join(f"{name} from {low:g} to {high:g}" for name, (low, high) in ranges.items())
    return [f"the three sets have different scales: {listed}; were all points scaled alike?"]


def are_unlike(sets: Sequence[Samples]) -> bool:
    """Whether means or deviations of all numbers differ more than those of sets of one scale do.

    Bytes stand for value / 255. Sets too small to tell are left out.
    """
    known = [_some(store) for store in sets if store.count >= FEWEST[0] and store.count * (store.dim or 0) >= FEWEST[1]]
    unit = float(power_of_two(largest_of(known)))
    found = [_mean_and_square(points / unit) for points in known]
    return any(_unlike(one, other) for i, one in enumerate(found) for other in found[:i])


def _some(store: Samples) -> Tensor:
    """Points `(n, D)` float64 of a store, spread over it: all if they are few, which is quick and enough to tell."""
    step = max(1, -(-store.count * (store.dim or 1) // ENOUGH))
    factor = BYTE if store.dtype == torch.uint8 and store.divisor == 1 else 1.0
    blocks = (block[-start % step :: step] for start, block in with_start(store.blocks()))
    return torch.cat([block.double() * factor for block in blocks])


def _mean_and_square(points: Tensor) -> tuple[Mean, Mean]:
    """The mean of all numbers, and of their squared deviations from it."""
    mean = Mean.of(points.mean(dim=1))
    return mean, Mean.of((points - mean.value).square().mean(dim=1))


def _unlike(one: tuple[Mean, Mean], other: tuple[Mean, Mean]) -> bool:
    (mean1, square1), (mean2, square2) = one, other
    small, large = sorted([square1.value, square2.value])
    shifted = abs(mean1.value - mean2.value) > SHIFT * large**0.5 and mean1.differs(mean2)
    return shifted or (large > RATIO**2 * small and square1.differs(square2))
