"""What the tests of precision, recall, density and coverage share: vectors like a network's, and their values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganmetrics.metrics.prdc import PRDC, Manifold

NAMES = ("precision", "recall", "density", "coverage")


def prdc(real: Tensor, fake: Tensor, **manifolds: Manifold) -> dict[str, float]:
    metric = fed(real, fake, **manifolds)
    return {name: result.value for name, result in metric.results().items()}


def fed(real: Tensor, fake: Tensor, **manifolds: Manifold) -> PRDC:
    metric = PRDC(device="cpu", **manifolds)
    metric.update(real, "real")
    metric.update(fake, "fake")
    return metric


def network_like(rng: np.random.Generator, n: int, dim: int, shift: float) -> Tensor:
    """Not negative, correlated, of low rank beside noise; float32."""
    mixing = np.random.default_rng(7).standard_normal((12, dim))
    found = rng.standard_normal((n, 12)) @ mixing + 0.1 * rng.standard_normal((n, dim)) + shift
    return torch.from_numpy(np.maximum(found, 0)).float()


def two_sides(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """310 reals and 270 fakes of 96 dimensions, the fakes a little apart."""
    return network_like(rng, 310, 96, 0.0), network_like(rng, 270, 96, 0.3)
