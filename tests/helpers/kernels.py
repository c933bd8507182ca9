"""What the tests of kernel distances share: vectors like a network's, and a KID that was fed with them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganmetrics.metrics.kid import KernelInceptionDistance
from ganmetrics.protocols import PROTOCOLS, MetricOptions
from ganmetrics.statistics.samples import Samples

Points = np.ndarray | Tensor


def store(vectors: Points, **options: int) -> Samples:
    samples = Samples(**options)
    for block in torch.as_tensor(vectors).split(100):
        samples.update(block)
    return samples


def like_inception(rng: np.random.Generator, n: int, dim: int = 64, shift: float = 0.0) -> np.ndarray:
    """Positive, correlated, with a mean of about 0.45, as pooled Inception features are."""
    mix = np.random.default_rng(1).standard_normal((48, dim)) / 4
    latent = rng.standard_normal((n, 48)) / np.sqrt(np.arange(1, 49))
    return 0.4 * np.exp(latent @ mix + 0.2 * rng.standard_normal((n, dim)) + shift - 0.1)


def metric_of(x: Points, y: Points, protocol: str = "tensorflow", **options: int) -> KernelInceptionDistance:
    metric = KernelInceptionDistance.configured(PROTOCOLS[protocol], MetricOptions(**options))
    metric.update(torch.as_tensor(x), "real")
    metric.update(torch.as_tensor(y), "fake")
    return metric
