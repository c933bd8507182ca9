"""Frechet distance class by class, and the mean over classes.

Miyato & Koyama 2018 (arXiv:1802.05637), who call it intra FID. It shows when a generator draws images of the wrong
class; FID over all images does not. Each class has the distance of `fid.py`, with a large bias, because a class has few
images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result
from ganmetrics.metrics.classes import of_images, require_two_of_each
from ganmetrics.metrics.fid import WELL_SAMPLED, FrechetDistance, frechet_distance_of_moments
from ganmetrics.metrics.index import METRICS, SIDES
from ganmetrics.metrics.numerics.frechet_influence import frechet_influence
from ganmetrics.metrics.numerics.resampling import linear
from ganmetrics.printable import some
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples, with_start

ROWS = 20_000  # vectors in memory at a time; more only if one class has more


def moments_of(vectors: Tensor) -> Moments:
    """Moments of vectors `(N, D)`."""
    moments = Moments()
    moments.update(vectors)
    return moments


class ClassFrechetDistance(FrechetDistance):
    """Class-wise Fréchet distance as a metric; `protocol["per_class"]` has the distance of every class."""

    entry = METRICS["class-fid"]
    statistic = Samples
    moments_serve = ()

    def compute(self) -> Result:
        """Raises StatisticsError if the sides have different classes, or fewer than two images of a class."""
        distances = {
            name: max(0.0, frechet_distance_of_moments(moments_of(real), moments_of(fake), self.ddof))
            for name, real, fake in self._classes()
        }
        value = sum(distances.values()) / len(distances)
        return Result(value, warnings=self._few(), protocol={"ddof": self.ddof, "per_class": distances})

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """To first order, as for FID. Images are drawn within their class."""
        members = {side: of_images(self, side) for side in SIDES}
        names = members["real"][0]
        influence = {side: torch.zeros(len(index), dtype=torch.float64) for side, (_, index) in members.items()}
        value = 0.0
        for i, (_, *vectors) in enumerate(self._classes()):
            moments = [moments_of(own) for own in vectors]
            value += frechet_distance_of_moments(moments[0], moments[1], self.ddof) / len(names)
            for side, own, own_moments, other in zip(SIDES, vectors, moments, moments[::-1], strict=True):
                in_class = members[side][1] == i
                # The influence is by an image's share of its class; `linear` expects it by the share of all images.
                share = len(in_class) / len(own) / len(names)
                influence[side][in_class] = frechet_influence(own_moments, other, [own], self.ddof) * share
        changes = [linear(influence[side], n, seed, side, members[side][1]) for side in SIDES]
        return {self.name: value + changes[0] + changes[1]}

    def _classes(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, real and fake vectors of each class, with only a few classes in memory at a time."""
        self._check()
        (names, real), (_, fake) = (of_images(self, side) for side in SIDES)
        sizes = torch.bincount(real) + torch.bincount(fake)
        for part in torch.arange(len(names)).split(max(1, ROWS // int(sizes.max()))):
            vectors = [self._vectors(side, index, part) for side, index in zip(SIDES, (real, fake), strict=True)]
            for i in part.tolist():
                yield names[i], vectors[0][i], vectors[1][i]

    def _vectors(self, side: str, index: Tensor, classes: Tensor) -> dict[int, Tensor]:
        """Vectors of these classes, by class number, in one pass; `index` `(N,)` is the class of each image."""
        by_class: dict[int, list[Tensor]] = {i: [] for i in classes.tolist()}
        for start, block in with_start(self.statistics[side].blocks()):
            index_of_block = index[start : start + len(block)]
            for i, parts in by_class.items():
                parts.append(block[index_of_block == i])
        return {i: torch.cat(parts) for i, parts in by_class.items()}

    def _check(self) -> None:
        super()._check()
        for side in SIDES:
            of_images(self, side)
        self.require_classes(self.labels)

    def require_classes(self, labels: Mapping[str, Sequence[str]]) -> None:
        """Raises StatisticsError for different classes on two known sides, or fewer than two images of a class."""
        known = {side: set(labels.get(side, ())) for side in SIDES}
        lacking = {side: sorted(known[other] - known[side]) for side, other in (SIDES, SIDES[::-1]) if side in labels}
        if any(lacking.values()):
            missing = "; ".join(f"no {side} image of {some(names)}" for side, names in lacking.items() if names)
            raise StatisticsError(
                f"{self.name}: expected the same classes on both sides, got {missing}; name the class folders alike"
            )
        for side, names in labels.items():
            require_two_of_each(self, side, names)

    def _few(self) -> list[str]:
        """The warning of a small class."""
        dim = self.statistics["real"].dim
        fewest = {side: int(torch.bincount(of_images(self, side)[1]).min()) for side in SIDES}
        if min(fewest.values()) >= WELL_SAMPLED * dim:
            return []
        return [
            f"the smallest class has {fewest['real']} real and {fewest['fake']} fake images for {dim} dimensions: its "
            f"distance is biased upward; compare only at these counts, or give at least {WELL_SAMPLED * dim} a class"
        ]
