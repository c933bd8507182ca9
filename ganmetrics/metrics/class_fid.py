"""Frechet distance class by class, and the mean over classes.

Miyato & Koyama 2018 (arXiv:1802.05637), who call it intra FID. FID of all images cannot tell a generator that draws
the wrong class from one that draws the right one; this can. Per class it is the distance of `fid.py`, with its bias: a
class has few images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result
from ganmetrics.metrics.classes import of_images, require_two_of_each, some
from ganmetrics.metrics.fid import WELL_SAMPLED, FrechetDistance, frechet_distance_of_moments
from ganmetrics.metrics.index import METRICS, SIDES
from ganmetrics.metrics.numerics.frechet_influence import frechet_influence
from ganmetrics.metrics.numerics.resampling import linear
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples, with_start

ROWS = 20_000  # vectors in memory at a time, or those of one class


def moments_of(vectors: Tensor) -> Moments:
    """Of vectors `(N, D)`."""
    moments = Moments()
    moments.update(vectors)
    return moments


class ClassFrechetDistance(FrechetDistance):
    """Streaming form; `protocol["per_class"]` has the distance of every class."""

    entry = METRICS["class-fid"]
    statistic = Samples
    moments_serve = ()
    labelled = True

    def compute(self) -> Result:
        """Raises StatisticsError for unlike classes on the two sides, and below two images of a class and side."""
        found = {
            name: max(0.0, frechet_distance_of_moments(moments_of(real), moments_of(fake), self.ddof))
            for name, real, fake in self._classes()
        }
        value = sum(found.values()) / len(found)
        return Result(value, warnings=self._few(), protocol={"ddof": self.ddof, "per_class": found})

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """To first order, as those of FID; images are drawn within their class."""
        members = {side: of_images(self, side) for side in SIDES}
        names = members["real"][0]
        influence = {side: torch.zeros(len(index), dtype=torch.float64) for side, (_, index) in members.items()}
        value = 0.0
        for place, (_, *vectors) in enumerate(self._classes()):
            moments = [moments_of(own) for own in vectors]
            value += frechet_distance_of_moments(moments[0], moments[1], self.ddof) / len(names)
            for side, own, mine, other in zip(SIDES, vectors, moments, moments[::-1], strict=True):
                here = members[side][1] == place
                share = len(here) / len(own) / len(names)  # of a mean over all images, in this class's
                influence[side][here] = frechet_influence(mine, other, [own], self.ddof) * share
        moved = [linear(influence[side], n, seed, side, members[side][1]) for side in SIDES]
        return {self.name: value + moved[0] + moved[1]}

    def _classes(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, real and fake vectors of each class, a few classes' at a time in memory."""
        self._check()
        (names, real), (_, fake) = (of_images(self, side) for side in SIDES)
        sizes = torch.bincount(real) + torch.bincount(fake)
        for part in torch.arange(len(names)).split(max(1, ROWS // int(sizes.max()))):
            held = [self._vectors(side, index, part) for side, index in zip(SIDES, (real, fake), strict=True)]
            for place in part.tolist():
                yield names[place], held[0][place], held[1][place]

    def _vectors(self, side: str, index: Tensor, places: Tensor) -> dict[int, Tensor]:
        """Of the classes at these places, in one pass."""
        found: dict[int, list[Tensor]] = {place: [] for place in places.tolist()}
        for start, block in with_start(self.statistics[side].blocks()):
            here = index[start : start + len(block)]
            for place, parts in found.items():
                parts.append(block[here == place])
        return {place: torch.cat(parts) for place, parts in found.items()}

    def _check(self) -> None:
        super()._check()
        for side in SIDES:
            of_images(self, side)
        self.require_classes(self.labels)

    def require_classes(self, labels: Mapping[str, Sequence[str]]) -> None:
        """The same on both sides, where both are known, and at least two images of each."""
        known = {side: set(labels.get(side, ())) for side in SIDES}
        lacking = {side: sorted(known[other] - known[side]) for side, other in (SIDES, SIDES[::-1]) if side in labels}
        if any(lacking.values()):
            said = "; ".join(f"no {side} image of {some(names)}" for side, names in lacking.items() if names)
            raise StatisticsError(
                f"{self.name}: expected the same classes on both sides, got {said}; name the class folders alike"
            )
        for side, own in labels.items():
            require_two_of_each(self, side, own)

    def _few(self) -> list[str]:
        dim = self.statistics["real"].dim
        fewest = {side: int(torch.bincount(of_images(self, side)[1]).min()) for side in SIDES}
        if min(fewest.values()) >= WELL_SAMPLED * dim:
            return []
        return [
            f"the smallest class has {fewest['real']} real and {fewest['fake']} fake images for {dim} dimensions: its "
            f"distance is biased upward; compare only at these counts, or give at least {WELL_SAMPLED * dim} a class"
        ]
