"""Memorization-informed FID: FID, divided by the distance of the fakes from the training images if that is too small.

Bai, Lin, Raffel & Kan 2021 (arXiv:2106.03062, section 4): let m be the mean over fakes of the smallest cosine distance
1 - |cos| to a real image. The value is FID / m if m < 0.1, else FID. A generator that copies its training images has a
low FID and a low m. `real` must be the images that the generator was trained on. In torchmetrics, m is the mean over
*real* images of the smallest distance to a fake; `--protocol torchmetrics` does the same and gives the same value. It
differs from torchmetrics in two ways: vectors of length 0, which have no direction, are left out (torchmetrics leaves
out those whose entries sum to 0), and 0 / 0 is an error (torchmetrics returns 0, the best value).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.fid import FrechetDistance, ddof_of
from ganmetrics.metrics.index import METRICS, SIDES
from ganmetrics.metrics.numerics.distances import Device, Vectors, hold
from ganmetrics.metrics.numerics.frechet_influence import frechet_influence
from ganmetrics.metrics.numerics.neighbours import nearest_squared
from ganmetrics.metrics.numerics.resampling import linear
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

THRESHOLD = 0.1  # of the paper and torchmetrics
NO_DISTANCE = 1e-14  # added to m, as torchmetrics does
NO_FID = 1e-8  # at and below this, torchmetrics treats FID as 0


def least_cosine_distances(own: Vectors, other: Vectors, *, device: Device = None) -> Tensor:
    """`(n,)` float64 in [0, 1]: the smallest 1 - |cos| of each vector of `own` `(N, D)` to one of `other` `(M, D)`.

    Vectors of length 0 are left out on both sides, so n may be below N. Raises StatisticsError if none is left.
    """
    x, y = (_with_direction(hold(side)) for side in (own, other))
    u, v = (side / side.norm(dim=1, keepdim=True) for side in (x, y))
    # 1 - cos = |u - v|^2 / 2 for unit vectors, so the smallest 1 - |cos| is at the v nearest to u or to -u.
    # Without negative entries no cosine is negative, and -u needs no search.
    signs = (1,) if bool((u >= 0).all() and (v >= 0).all()) else (1, -1)
    indices = [nearest_squared(sign * u, v, 1, device=device)[1][:, 0] for sign in signs]
    distances = [_one_less_cosine(x, y, index) for index in indices]
    return torch.stack(distances).amin(dim=0)


def _with_direction(vectors: Tensor) -> Tensor:
    """The vectors that are not 0."""
    kept = vectors[(vectors != 0).any(dim=1)]
    if not len(kept):
        raise StatisticsError("a cosine distance needs vectors that are not 0, and all are")
    return kept


def _one_less_cosine(own: Tensor, other: Tensor, index: Tensor) -> Tensor:
    """1 - |cos| of each vector and `other[index]`, as |u -+ v|^2 / 2: exact where 1 - cos would lose digits near 1."""
    distances = []
    for rows, chosen in zip(own.split(2048), index.split(2048), strict=True):
        u, v = (side.double() / side.double().norm(dim=1, keepdim=True) for side in (rows, other[chosen]))
        distances.append(torch.minimum((u - v).square().sum(dim=1), (u + v).square().sum(dim=1)) / 2)
    return torch.cat(distances)


class MemorizationInformedDistance(SingleValued):
    """Memorization-informed Fréchet distance as a metric.

    Args:
        ddof: 1 divides the covariances of its FID by n - 1, 0 by n.
        over: the side over which the memorisation distance is averaged: "fake" (Bai et al.) or "real" (torchmetrics).
        device: where distances are computed; None means the first CUDA device, or the CPU.
    """

    entry = METRICS["mifid"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples
    moments_beside = SIDES
    noun = "MiFID"

    def __init__(self, *, ddof: int = 1, over: Literal["fake", "real"] = "fake", device: Device = None):
        super().__init__()
        self.ddof, self.mean_over, self.device = ddof, over, device

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> MemorizationInformedDistance:
        """Raises OptionError."""
        over: Literal["fake", "real"] = "real" if protocol.name == "torchmetrics" else "fake"
        return cls(ddof=ddof_of(options), over=over, device=options.device)

    def least(self, side: str) -> int:
        return 2

    def compute(self) -> Result:
        """Raises StatisticsError as FID does, and if FID is 0 and the memorisation distance below the threshold."""
        frechet, distances = self.once(self._parts)
        fid, distance = frechet.compute(), float(distances.mean())
        if fid.value <= NO_FID and distance < THRESHOLD:
            raise StatisticsError(
                f"MiFID is FID over the memorisation distance, and here {fid.value:.2g} over {distance:.2g}: the fakes "
                "are copies of the real images; give fakes from the generator"
            )
        near = distance < THRESHOLD
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
            },
        )

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Resamples the fakes, to first order. The training images stay fixed: they are the whole training set.

        Empty for a mean over real images, because the distance to the nearest fake is not a mean over fakes.
        """
        frechet, distances = self.once(self._parts)
        if self.mean_over == "real" or len(distances) != self.statistics["fake"].count:
            return {}
        fake = self.statistics["fake"]
        influence = frechet_influence(frechet.moments("fake"), frechet.moments("real"), fake.blocks(), self.ddof)
        fids = frechet.compute().value + linear(influence, n, seed, "fake")
        return {self.name: self._quotient(fids, distances.mean() + linear(distances, n, seed, "fake"))}

    def without_interval(self, name: str) -> str:
        if self.mean_over == "real":
            return "none is known for a mean over real images, as torchmetrics takes it"
        return "none is known where fakes without a direction are left out"

    @staticmethod
    def _quotient(fid: Tensor, distance: Tensor) -> Tensor:
        return torch.where(distance < THRESHOLD, fid / (distance + NO_DISTANCE), fid)

    def _parts(self) -> tuple[FrechetDistance, Tensor]:
        """FID, and the smallest cosine distances."""
        frechet = FrechetDistance(ddof=self.ddof, confidence=True).over(self.statistics)
        frechet.compute()
        sides = SIDES if self.mean_over == "real" else SIDES[::-1]
        own, other = (self.statistics[side] for side in sides)
        return frechet, least_cosine_distances(own, other, device=self.device)
