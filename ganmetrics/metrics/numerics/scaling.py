"""Vectors divided by powers of two before they are squared, so that squares neither overflow nor vanish.

Division by a power of two does not round, so results of ordinary sizes stay the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def power_of_two(largest: Tensor) -> Tensor:
    """The power of two at or below each number above 0, float64; 1 for 0."""
    largest = largest.double()
    power = largest / (2 * torch.frexp(largest).mantissa)
    return torch.where(largest > 0, power, torch.ones_like(power))


def largest_of(blocks: Iterable[Tensor]) -> Tensor:
    """The largest absolute value of vectors in blocks `(b, D)`, a scalar in float64; 0 for none."""
    sizes = [torch.linalg.vector_norm(_real(block), math.inf).double().cpu() for block in blocks if block.numel()]
    return torch.stack([torch.zeros((), dtype=torch.float64), *sizes]).amax()


def _real(block: Tensor) -> Tensor:
    return block if block.is_floating_point() else block.float()


def mean(values: Tensor) -> float:
    """Mean of values `(n,)`; of numbers near the largest of float64 too, whose sum is beyond it."""
    unit = power_of_two(largest_of([values]))
    return float((values / unit).mean() * unit) if bool(torch.isfinite(unit)) else float(values.mean())


def deviation(values: Tensor, correction: int) -> float:
    """Standard deviation of values `(n,)`, over n - correction."""
    unit = power_of_two(largest_of([values]))
    return float((values / unit).std(correction=correction) * unit)


def at_length_one(vectors: Tensor) -> Tensor:
    """Vectors `(N, D)` scaled to length 1, in float64; those of length 0 stay 0."""
    x = vectors.double()
    x = x / power_of_two(torch.linalg.vector_norm(x, math.inf, dim=1, keepdim=True))
    lengths = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x.div_(torch.where(lengths > 0, lengths, torch.ones_like(lengths)))
