"""Vendi score: the effective number of distinct images in a set, exp(-tr (K/n) log (K/n)) of its similarity matrix K.

Friedman & Dieng 2022 (arXiv:2210.02410, Definition 3.1), of order 1, with the cosine of feature vectors as similarity.
It needs no reference: n images that do not resemble each other score n, n copies of one image score 1. Reproduces the
package vendi-score. It differs in that memory does not grow with n: K/n and the D x D matrix X'X/n have the same
nonzero eigenvalues, and the smaller matrix is decomposed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.resampling import linear
from ganmetrics.metrics.numerics.scaling import at_length_one
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples, with_start

WELL_SAMPLED = 10  # images per unit of score; a flat spectrum, the worst case, then comes out 5 % too low


def vendi_score(vectors: Tensor) -> float:
    """Score of vectors `(N, D)`, which are scaled to length 1; from 1 to min(N, D).

    Raises StatisticsError for a vector of length 0, which has no direction.
    """
    eigenvalues, _ = spectrum(units([vectors]), *vectors.shape)
    return math.exp(entropy(eigenvalues))


def units(blocks: Iterable[Tensor]) -> Iterable[Tensor]:
    """Vectors `(b, D)` scaled to length 1, in float64. Raises StatisticsError for a vector of length 0."""
    for start, block in with_start(blocks):
        zero = (block == 0).all(dim=1)
        if bool(zero.any()):
            image = start + int(zero.nonzero()[0, 0])
            raise StatisticsError(
                f"the feature vector of image {image} is zero, and has no direction to compare; use other features"
            )
        yield at_length_one(block)


def spectrum(unit_vectors: Iterable[Tensor], n: int, dim: int) -> tuple[Tensor, Tensor]:
    """Positive eigenvalues `(r,)`, with sum 1, and eigenvectors: `(n, r)` of K/n if n <= D, else `(D, r)` of X'X/n."""
    if n <= dim:
        x = torch.cat(list(unit_vectors))
        matrix = x @ x.T
    else:
        matrix = torch.zeros(dim, dim, dtype=torch.float64)
        for x in unit_vectors:
            matrix.addmm_(x.T, x)
    values, vectors = torch.linalg.eigh(matrix / n)
    positive = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return values[positive], vectors[:, positive]


def entropy(eigenvalues: Tensor) -> float:
    """-sum p log p, in nats."""
    return -float(torch.special.xlogy(eigenvalues, eigenvalues).sum())


def entropy_influence(unit_vectors: Iterable[Tensor], n: int, eigenvalues: Tensor, vectors: Tensor) -> Tensor:
    """`(n,)`: derivative of the entropy by the weight of each vector, -x' log(rho) x - H with rho = X'X/n."""
    surprise = -eigenvalues.log()
    if len(vectors) == n:  # rows of the eigenvectors of K/n are the vectors in rho's eigenbasis, up to their scale
        weighted = n * vectors.square() @ (eigenvalues * surprise)
    else:
        weighted = torch.cat([(x @ vectors).square() @ surprise for x in unit_vectors])
    return weighted - entropy(eigenvalues)


class VendiScore(SingleValued):
    """Vendi score as a metric."""

    entry = METRICS["vendi"]
    canonical = ("inception", "2048")
    kind, statistic = "features", Samples
    noun = "a Vendi score"

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> VendiScore:
        return cls()

    def least(self, side: str) -> int:
        return 2

    def compute(self) -> Result:
        """Raises StatisticsError for fewer than two images."""
        eigenvalues, _ = self._spectrum()
        raw = math.exp(entropy(eigenvalues))
        return Result(max(raw, 1.0), raw=raw, warnings=self._warnings(raw), protocol={"kernel": "cosine", "order": 1})

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """To first order in the entropy, from the influence of each image."""
        fakes: Samples = self.statistics["fake"]
        eigenvalues, vectors = self._spectrum()
        influence = entropy_influence(units(fakes.blocks()), fakes.count, eigenvalues, vectors)
        return {self.name: (entropy(eigenvalues) + linear(influence, n, seed)).exp()}

    def _spectrum(self) -> tuple[Tensor, Tensor]:
        fakes: Samples = self.statistics["fake"]
        self.require("fake", fakes.count)
        return spectrum(units(fakes.blocks()), fakes.count, fakes.dim or 0)

    def _warnings(self, value: float) -> list[str]:
        n, needed = self.statistics["fake"].count, math.ceil(round(WELL_SAMPLED * value, 6))
        if n >= needed:
            return []
        return [
            f"{n} images score {value:.4g}, and cannot score more than {n}: the Vendi score is biased downward; "
            f"compare it only at this count, or give at least {needed}"
        ]
