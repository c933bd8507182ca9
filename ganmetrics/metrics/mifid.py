"""Memorization-informed FID: FID, divided by the distance of the fakes from the training images if that is too small.

Bai, Lin, Raffel & Kan 2021 (arXiv:2106.03062, section 4): let m be the mean over fakes of the smallest cosine distance
1 - |cos| to a real image. The value is FID / m if m < 0.1, else FID. A generator that copies its training images has a
low FID and a low m. `real` must be the images that the generator was trained on. In torchmetrics, m is the mean over
*real* images of the smallest distance to a fake, plus 1e-14; `--protocol torchmetrics` does the same and gives the same
value. It differs from torchmetrics in two ways: vectors of length 0, which have no direction, are left out
(torchmetrics leaves out those whose entries sum to 0), and division by 0 is an error (torchmetrics returns 0, the best
value, for 0 / 0, and FID * 1e14 where only m is 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.fid import NO_DISTANCE, FrechetDistance, ddof_of
from ganmetrics.metrics.index import METRICS, SIDES
from ganmetrics.metrics.numerics.distances import Device, Vectors, mean_squared_deviation
from ganmetrics.metrics.numerics.frechet_influence import frechet_influence
from ganmetrics.metrics.numerics.neighbours import nearest_squared
from ganmetrics.metrics.numerics.resampling import TRAINING_SET, linear
from ganmetrics.metrics.numerics.scaling import at_length_one
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

THRESHOLD = 0.1  # of the paper and torchmetrics
ADDED = 1e-14  # to m, by torchmetrics
COPY = (16 * torch.finfo(torch.float64).eps) ** 2 / 2  # a smaller distance may be rounding of 0


def least_cosine_distances(own: Vectors, other: Vectors, *, device: Device = None) -> Tensor:
    """`(n,)` float64 in [0, 1]: the smallest 1 - |cos| of each vector of `own` `(N, D)` to one of `other` `(M, D)`.

    Vectors of length 0 are left out on both sides, so n may be below N. Raises StatisticsError if none is left.
    """
    u, v = _directions(own), _directions(other)
    # 1 - cos = |u - v|^2 / 2 for unit vectors, so the smallest 1 - |cos| is at the v nearest to u or to -u.
    # Without negative entries no cosine is negative, and -u needs no search.
    signs = (1,) if bool((u >= 0).all() and (v >= 0).all()) else (1, -1)
    indices = [nearest_squared(sign * u, v, 1, device=device)[1][:, 0] for sign in signs]
    distances = torch.stack([_one_less_cosine(u, v, index) for index in indices]).amin(dim=0)
    return torch.where(distances < COPY, 0.0, distances)


def _directions(vectors: Vectors) -> Tensor:
    """The vectors that are not 0, at length 1, in float64."""
    blocks = [vectors] if isinstance(vectors, Tensor) else vectors.blocks()
    kept = [at_length_one(block[(block != 0).any(dim=1)]) for block in blocks]
    whole = torch.cat(kept) if kept else torch.empty(0, 1)
    if not len(whole):
        raise StatisticsError("a cosine distance needs vectors that are not 0, and all are")
    return whole


def _one_less_cosine(u: Tensor, v: Tensor, index: Tensor) -> Tensor:
    """1 - |cos| of unit vectors and `v[index]`, as |u -+ v|^2 / 2: exact where 1 - cos would lose digits near 1."""
    distances = []
    for rows, chosen in zip(u.split(2048), index.split(2048), strict=True):
        other = v[chosen]
        distances.append(torch.minimum((rows - other).square().sum(dim=1), (rows + other).square().sum(dim=1)) / 2)
    return torch.cat(distances)


class MemorizationInformedDistance(SingleValued):
    """Memorization-informed Fréchet distance as a metric.

    Args:
        ddof: 1 divides the covariances of its FID by n - 1, 0 by n.
        over: the side over which the memorisation distance is averaged: "fake" (Bai et al.) or "real" (torchmetrics).
        added: number that is added to the memorisation distance before the division.
        device: where distances are computed; None means the first CUDA device, or the CPU.
    """

    entry = METRICS["mifid"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples
    moments_beside = SIDES
    noun = "MiFID"

    def __init__(
        self, *, ddof: int = 1, over: Literal["fake", "real"] = "fake", added: float = 0.0, device: Device = None
    ):
        super().__init__()
        self.ddof, self.mean_over, self.added, self.device = ddof, over, added, device

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> MemorizationInformedDistance:
        """Raises OptionError."""
        rules: dict[str, Any] = {"over": "real", "added": ADDED} if protocol.name == "torchmetrics" else {}
        return cls(ddof=ddof_of(options), device=options.device, **rules)

    def least(self, side: str) -> int:
        return 2

    def compute(self) -> Result:
        """Raises StatisticsError as FID does, and for copies: below the threshold, if FID or the divisor is 0."""
        frechet, distances = self.once(self._parts)
        fid, distance = frechet.compute(), float(distances.mean())
        near = distance < THRESHOLD
        if near and (fid.value <= NO_DISTANCE * self._variance() or distance + self.added == 0):
            raise StatisticsError(
                f"MiFID is FID over the memorisation distance, and here {fid.value:.2g} over {distance:.2g}: the fakes "
                "are copies of the real images; give fakes from the generator"
            )
        warnings = list(fid.warnings)
        if near:
            which = (
                "each fake to its nearest real image" if self.mean_over == "fake" else "each real to its nearest fake"
            )
            warnings.append(
                f"the mean cosine distance from {which} is {distance:.3g}, below {THRESHOLD}: the value is "
                f"FID {fid.value:.4g} divided by it; look whether the generator copies"
            )
        return Result(
            float(self._quotient(*torch.tensor([fid.value, distance], dtype=torch.float64))),
            warnings=warnings,
            protocol={
                **fid.protocol,
                "memorisation_distance": distance,
                "memorisation_over": self.mean_over,
                "threshold": THRESHOLD,
                **({"added_to_distance": self.added} if self.added else {}),
            },
        )

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Resamples the fakes, to first order. The real images stay fixed: they are the whole training set, and a copy
        of one that is left out would be none.

        Empty for a mean over real images, because the distance to the nearest fake is not a mean over fakes.
        """
        frechet, distances = self.once(self._parts)
        if self.mean_over == "real" or len(distances) != self.statistics["fake"].count:
            return {}
        fake = self.statistics["fake"]
        influence = frechet_influence(frechet.moments("fake"), frechet.moments("real"), fake.blocks(), self.ddof)
        fids = frechet.compute().value + linear(influence, n, seed, "fake")
        return {self.name: self._quotient(fids, distances.mean() + linear(distances, n, seed, "fake"))}

    def held_fixed(self, name: str) -> str:
        return TRAINING_SET

    def without_interval(self, name: str) -> str:
        if self.mean_over == "real":
            return "none is known for a mean over real images, as torchmetrics takes it"
        return "none is known where fakes without a direction are left out"

    def _quotient(self, fid: Tensor, distance: Tensor) -> Tensor:
        return torch.where(distance < THRESHOLD, fid / (distance + self.added), fid)

    def _variance(self) -> float:
        """The sum of the variances of both sides and all dimensions, which FID is measured against."""
        return sum(mean_squared_deviation(self.statistics[side]) for side in self.sides)

    def _parts(self) -> tuple[FrechetDistance, Tensor]:
        """FID, and the smallest cosine distances."""
        frechet = FrechetDistance(ddof=self.ddof, confidence=True).over(self.statistics)
        frechet.compute()
        sides = SIDES if self.mean_over == "real" else SIDES[::-1]
        own, other = (self.statistics[side] for side in sides)
        return frechet, least_cosine_distances(own, other, device=self.device)
