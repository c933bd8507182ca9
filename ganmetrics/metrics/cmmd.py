"""CLIP Maximum Mean Discrepancy: the distance of two sets of CLIP embeddings under a Gaussian kernel.

Jayasumana, Ramalingam, Veit, Glasner, Chakrabarti & Kumar 2024 (arXiv:2401.09603, section 4). Reproduces `cmmd` of
google-research: embeddings of length 1, k(x, y) = exp(-|x - y|^2 / (2 sigma^2)) with sigma 10, the biased estimate
(Gretton et al. 2012, Equation 5), times 1000. It differs in summing exp(...) - 1 in float64: on the unit sphere k lies
between 0.98 and 1, so the published float32 means lose four digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.distances import Device
from ganmetrics.metrics.numerics.gram import Frame, Gram, Kernel
from ganmetrics.metrics.numerics.scaling import at_length_one
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

SIGMA = 10.0  # of the published code, as the scale
SCALE = 1000.0
GAMMA = 1 / (2 * SIGMA**2)
BIAS = 0.05  # share of the value from which the bias gets a warning
OUT_OF_REACH = 10**6  # images; a larger need is not suggested


def _own(centred: Tensor, frame: Frame) -> Tensor:
    """-|x|^2 / (2 sigma^2); a kernel of x - y does not need the mean."""
    return -GAMMA * centred.square().sum(dim=1)


def _less_one(own_x: Tensor, own_y: Tensor, products: Tensor, frame: Frame) -> Tensor:
    """The kernel less 1."""
    return torch.add(own_x, own_y).add_(products, alpha=2 * GAMMA).expm1_()


def _directions(vectors: Tensor) -> Tensor:
    if bool((vectors == 0).all(dim=1).any()):
        raise StatisticsError("CMMD compares directions, and an embedding is all zeros; check the features")
    return at_length_one(vectors)


GAUSSIAN = Kernel(_own, _less_one, _directions)


def cmmd(real: Samples, fake: Samples, *, device: Device = None) -> tuple[float, float]:
    """1000 (mean k(x_i, x_j) + mean k(y_i, y_j) - 2 mean k(x_i, y_j)), all pairs of embeddings `(m, D)` and `(n, D)`.

    Returns the value and its bias, which comes from the pairs of an image with itself: value - unbiased estimate.
    Raises StatisticsError for fewer than two embeddings per side, and for one that is all zeros.
    """
    within_real, within_fake, between = (sums.total for sums in Gram(GAUSSIAN, real, fake, device=device).sums())
    m, n = real.count, fake.count
    value = within_real / m**2 + within_fake / n**2 - 2 * between / (m * n)
    bias = -within_real / (m**2 * (m - 1)) - within_fake / (n**2 * (n - 1))
    return SCALE * value, SCALE * bias


class ClipDistance(SingleValued):
    """CLIP maximum mean discrepancy as a metric. Argument `device`: see `Gram`."""

    entry = METRICS["cmmd"]
    canonical = ("timm-vit_large_patch14_clip_quickgelu_336.openai", "embedding")
    kind, statistic = "features", Samples
    noun = "a kernel distance"

    def __init__(self, *, device: Device = None):
        super().__init__()
        self.device = device

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> ClipDistance:
        return cls(device=options.device)

    def least(self, side: str) -> int:
        return 2

    def compute(self) -> Result:
        """Raises StatisticsError for fewer than two images per side, and for sides of different dimensions."""
        real, fake = (self.statistics[side] for side in self.sides)
        raw, bias = cmmd(real, fake, device=self.device)
        about = {"sigma": SIGMA, "scale": SCALE, "estimate": "biased"}
        return Result(max(raw, 0.0), raw=raw, warnings=self._biased(raw, bias), protocol=about)

    def replicates(self, n: int, seed: int) -> Mapping[str, Tensor]:
        """Sums without the diagonal suffice: k - 1 is 0 between copies of an image, and between an image and itself."""
        real, fake = (self.statistics[side] for side in self.sides)
        sums = Gram(GAUSSIAN, real, fake, device=self.device).resampled(n, seed)
        between = sums.between / (real.count * fake.count)
        return {self.name: SCALE * (sums.real / real.count**2 + sums.fake / fake.count**2 - 2 * between)}

    def _biased(self, value: float, bias: float) -> list[str]:
        if bias <= BIAS * value or value <= 0:
            return []
        counts = [self.statistics[side].count for side in self.sides]
        unbiased = value - bias
        counted = f"{counts[0]} real and {counts[1]} fake images: "
        if unbiased <= 0:
            return [f"{counted}the bias of so few is {bias:.3g}, all of the {value:.3g}: no difference is seen"]
        warning = f"{counted}{bias:.3g} of the {value:.3g} is the bias of so few; compare only at these counts"
        # The bias falls as 1 / n: the n at which it is BIAS of (unbiased + bias).
        need = math.ceil(min(counts) * bias * (1 - BIAS) / (BIAS * unbiased))
        return [f"{warning}, or give at least {need}" if need < OUT_OF_REACH else warning]
