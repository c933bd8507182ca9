"""Reconstruction loss: the error with which a generator reproduces unseen images, with the best latent for each.

Xiang & Li 2017 (arXiv:1704.03971, section 4), who propose it as a measure of convergence: mean over images of the mean
squared error over pixels and channels. Here images are in [0, 1] for every generator, so that values can be compared
between generators with tanh and sigmoid outputs. The folder `inversion/` searches the latents; this file is the
arithmetic on pairs of images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def mean_squared_errors(reconstructions: Tensor, targets: Tensor) -> Tensor:
    """|r_i - t_i|^2 / D of vectors `(N, D)` in [0, 1]: `(N,)` float64."""
    return (reconstructions.double() - targets.double()).square().mean(1)


def psnr(error: float) -> float | None:
    """10 log10(1 / error) in decibels, for a peak of 1; None for an error of 0."""
    return -10 * math.log10(error) if error > 0 else None


def summarised(errors: Tensor) -> Result:
    """The mean of errors `(N,)`, with its standard error, quantiles and PSNR."""
    value, n = float(errors.double().mean()), len(errors)
    levels = torch.quantile(errors.double(), torch.tensor(QUANTILES, dtype=torch.float64))
    return Result(
        value,
        spread=float(errors.double().std()) / n**0.5 if n > 1 else None,
        protocol={
            "scale": "mean squared error per pixel and channel, images in [0, 1]",
            "quantiles": [list(pair) for pair in zip(QUANTILES, levels.tolist(), strict=True)],
            "psnr": psnr(value),
            "n_test": n,
        },
    )


class ReconstructionLoss(SingleValued):
    """Reconstruction loss as a metric over pairs of vectors `(N, D)` in [0, 1]: reconstructions and test images."""

    entry = METRICS["reconstruction"]
    canonical = ("pixels", "features")
    kind, statistic = "features", Samples

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> ReconstructionLoss:
        return cls()

    def compute(self) -> Result:
        """Raises StatisticsError without pairs, and for sides of different counts or dimensions."""
        made, test = (self.statistics[side] for side in self.sides)
        if not made.count or (made.count, made.dim) != (test.count, test.dim):
            raise StatisticsError(
                f"reconstruction: expected as many reconstructions as test images, at least one, "
                f"got {made.count} and {test.count}"
                + ("" if made.dim == test.dim else f", of {made.dim} and {test.dim} dimensions")
            )
        return summarised(mean_squared_errors(torch.cat(list(made.blocks())), torch.cat(list(test.blocks()))))
