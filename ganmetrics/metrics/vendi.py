"""Vendi score: how many distinct images a set is worth, exp(-tr (K/n) log (K/n)) of its similarity matrix K.

Friedman & Dieng 2022 (arXiv:2210.02410, Definition 3.1), of order 1, with the cosine of feature vectors as similarity.
It needs no reference: n images none of which resembles another score n, n copies of one score 1. Reproduces the package
vendi-score. It differs in that memory does not grow with n: the spectrum of K/n is that of the D x D matrix X'X/n, and
whichever of the two is smaller is decomposed.
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
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.statistics.samples import Samples, with_start

WELL_SAMPLED = 10  # images per unit of score; a spectrum as flat as can be then comes out 5 % low


def vendi_score(vectors: Tensor) -> float:
    """Of vectors `(N, D)`, taken at length 1; from 1 to the smaller of N and D.

    Raises StatisticsError for a vector of length 0, which has no direction.
    """
    eigenvalues, _ = spectrum(units([vectors]), *vectors.shape)
    return math.exp(entropy(eigenvalues))


def units(blocks: Iterable[Tensor]) -> Iterable[Tensor]:
    """Vectors `(b, D)` at length 1, in float64. Raises StatisticsError for one of length 0."""
    for start, block in with_start(blocks):
        lengths = block.double().norm(dim=1, keepdim=True)
        if not lengths.all():
            image = start + int((lengths == 0).nonzero()[0, 0])
            raise StatisticsError(
                f"the feature vector of image {image} is zero, and has no direction to compare; use other features"
            )
        yield block.double() / lengths


def spectrum(unit_vectors: Iterable[Tensor], n: int, dim: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues `(r,)` that sum to 1, and eigenvectors: of K/n, `(n, r)`, where n <= D, else of X'X/n, `(D, r)`."""
    if n <= dim:
        x = torch.cat(list(unit_vectors))
        matrix = x @ x.T
    else:
        matrix = torch.zeros(dim, dim, dtype=torch.float64)
        for x in unit_vectors:
            matrix.addmm_(x.T, x)
    values, vectors = torch.linalg.eigh(matrix / n)
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return values[kept], vectors[:, kept]


def entropy(eigenvalues: Tensor) -> float:
    """-sum p log p, in nats."""
    return -float(torch.special.xlogy(eigenvalues, eigenvalues).sum())


def entropy_influence(unit_vectors: Iterable[Tensor], n: int, eigenvalues: Tensor, vectors: Tensor) -> Tensor:
    """`(n,)`: derivative of the entropy by the share of each vector, -x' log(rho) x - H with rho = X'X/n."""
    surprise = -eigenvalues.log()
    if len(vectors) == n:  # rows of the eigenvectors of K/n are the vectors in rho's eigenbasis, up to their scale
        found = n * vectors.square() @ (eigenvalues * surprise)
    else:
        found = torch.cat([(x @ vectors).square() @ surprise for x in unit_vectors])
    return found - entropy(eigenvalues)


class VendiScore(SingleValued):
    """Streaming form."""

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
        """Raises StatisticsError below two images."""
        eigenvalues, _ = self._spectrum()
        raw = math.exp(entropy(eigenvalues))
        return Result(max(raw, 1.0), raw=raw, warnings=self._warnings(raw), protocol={"kernel": "cosine", "order": 1})

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """To first order in the entropy, by the influence of each image."""
        kept: Samples = self.statistics["fake"]
        eigenvalues, vectors = self._spectrum()
        influence = entropy_influence(units(kept.blocks()), kept.count, eigenvalues, vectors)
        return {self.name: (entropy(eigenvalues) + linear(influence, n, seed)).exp()}

    def _spectrum(self) -> tuple[Tensor, Tensor]:
        kept: Samples = self.statistics["fake"]
        self.require("fake", kept.count)
        return spectrum(units(kept.blocks()), kept.count, kept.dim or 0)

    def _warnings(self, value: float) -> list[str]:
        n, needed = self.statistics["fake"].count, math.ceil(round(WELL_SAMPLED * value, 6))
        if n >= needed:
            return []
        return [
            f"{n} images score {value:.4g}, and cannot score more than {n}: the Vendi score is biased downward; "
            f"compare it only at this count, or give at least {needed}"
        ]
