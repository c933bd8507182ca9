"""Precision, recall, density and coverage on random halves of both sides, from which their intervals are.

A half of a set has half its density. Its balls reach to the k-th neighbour that is in the half, which nearly always is
one of the first neighbours in the whole set. So neighbours and near pairs are found once, and serve every half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ganmetrics.metrics.numerics.distances import Device, moderate
from ganmetrics.metrics.numerics.neighbours import nearest_squared, pairs_within
from ganmetrics.statistics.samples import Samples

MOST = 2 * 10**7  # near pairs, which take 32 bytes each


def reach_of(k: int, n: int) -> int:
    """Neighbours in a set of n of which k are in a random half, but for one half in about a thousand."""
    return min(n - 1, 2 * k + 4 * math.ceil(math.sqrt(2 * k)))


class Ball(Protocol):
    """A kind of ball: how many neighbours it reaches, and whether it includes its surface."""

    @property
    def k(self) -> int: ...

    def holds(self, squared: Tensor, squared_radii: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Own:
    """The nearest other vectors `(n, r)` of each vector of a set, in order: squared distances and indices."""

    squared: Tensor
    indices: Tensor

    def radii(self, chosen: Tensor, *ks: int) -> list[Tensor]:
        """For each k, squared distance `(n,)` of each chosen vector to the k-th other one; else -1.

        The last neighbour known stands for those beyond it.
        """
        among = chosen.index_select(0, self.indices.view(-1)).view(self.indices.shape).cumsum(dim=1, dtype=torch.int16)
        among[:, -1] = max(ks)
        places = [(among >= k).byte().argmax(dim=1, keepdim=True) for k in ks]
        return [self.squared.gather(1, place)[:, 0].masked_fill_(~chosen, -1) for place in places]


class Pairs:
    """Near pairs, grouped by one of the two images.

    Attributes:
        images: `(G,)` those images.
        own, other: `(P,)` the two images of each pair, in the order of the groups.
        squared: `(P,)` distances.
    """

    def __init__(self, images: Tensor, other: Tensor, squared: Tensor):
        order = images.argsort(stable=True)
        self.images, sizes = images[order].unique_consecutive(return_counts=True)
        self.own, self.other, self.squared = images[order].int(), other[order].int(), squared[order]
        self._starts = (sizes.cumsum(0) - sizes).numpy()

    def any(self, within: Tensor) -> Tensor:
        """Whether any pair of each group is within: `(G,)` from `(P,)`."""
        return torch.from_numpy(np.logical_or.reduceat(within.numpy(), self._starts))


@dataclass(frozen=True)
class Near:
    """What all halves share: the nearest of each side among its own, and the near pairs of a fake and a real image."""

    of_real: Own
    of_fake: Own
    by_fake: Pairs
    by_real: Pairs


def near(real: Samples, fake: Samples, k_real: int, k_fake: int, device: Device) -> Near | None:
    """`Near` for balls out to neighbour `k_real` and `k_fake` of any half; None for more than MOST pairs."""
    x, y, _ = moderate(real, fake)
    of_real, of_fake = (
        Own(*nearest_squared(vectors, vectors, reach_of(k, store.count), exclude_self=True, device=device))
        for vectors, store, k in ((x, real, k_real), (y, fake, k_fake))
    )
    pairs = pairs_within(y, x, of_fake.squared[:, -1], of_real.squared[:, -1], most=MOST, device=device)
    if pairs is None:
        return None
    fakes, reals, squared = pairs
    return Near(of_real, of_fake, Pairs(fakes, reals, squared), Pairs(reals, fakes, squared))


def shares(near: Near, in_real: Tensor, in_fake: Tensor, first: Ball, second: Ball) -> Tensor:
    """Precision and recall (with the first kind of ball), density and coverage (with the second): `(4,)` float64.

    in_real, in_fake: which images are chosen, `(N_real,)` and `(N_fake,)` bool.
    """
    by_fake, by_real = near.by_fake, near.by_real
    of_real, of_density = near.of_real.radii(in_real, first.k, second.k)
    (of_fake,) = near.of_fake.radii(in_fake, first.k)
    believable = by_fake.any(first.holds(by_fake.squared, of_real.index_select(0, by_fake.other)))
    recalled = by_real.any(first.holds(by_real.squared, of_fake.index_select(0, by_real.other)))
    inside = second.holds(by_real.squared, of_density.index_select(0, by_real.own))
    inside &= in_fake.index_select(0, by_real.other)
    n_real, n_fake = int(in_real.sum()), int(in_fake.sum())
    return torch.tensor(
        [
            int((believable & in_fake[by_fake.images]).sum()) / n_fake,
            int((recalled & in_real[by_real.images]).sum()) / n_real,
            int(inside.sum()) / (second.k * n_fake),
            int(by_real.any(inside).sum()) / n_real,
        ],
        dtype=torch.float64,
    )
