"""Inception Score: exp(E_x KL(p(y|x) || p(y))), mean and standard deviation over splits.

Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen 2016 (arXiv:1606.03498, section 4). Reproduces improved-gan
(10 splits at i * N // 10 in the order given), guided-diffusion (blocks of 5,000 in the order given), torch-fidelity
(seeded shuffle) and torchmetrics (permutation, chunks, n - 1), each by its `Splits` rule. It differs from them in
summing in float64 for any dtype of the logits.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.resampling import BLOCK, replicate
from ganmetrics.protocols import PROTOCOLS, MetricOptions, Protocol, Splits
from ganmetrics.statistics.rows import are_probabilities
from ganmetrics.statistics.samples import Samples, with_start

CUSTOMARY = 5000  # images per split in published scores (50,000 in ten splits)


def inception_score(logits: Tensor, splits: Splits | None = None) -> Tensor:
    """Score of each split, `(S,)` float64 from 1 to K, of logits `(N, K)`.

    Raises StatisticsError for fewer than two images per split: one image always scores 1.
    """
    store = Samples()
    store.update(logits)
    return split_scores(store, splits or Splits())


def split_scores(logits: Samples, splits: Splits) -> Tensor:
    """Score of each split, `(S,)`, of a store of logits."""
    return weighted_split_scores(logits, split_membership(logits.count, splits), torch.ones(1, logits.count))[0]


def weighted_split_scores(logits: Samples, membership: Tensor, counts: Tensor) -> Tensor:
    """Scores `(b, S)` of b sets that hold each image `counts` `(b, N)` times.

    `membership` `(N,)` is the split of each image. One pass over the store serves all sets and splits.
    """
    n_splits, n_sets, counts = int(membership.max()) + 1, len(counts), counts.double()
    sizes = torch.zeros(n_sets, n_splits, dtype=torch.float64).index_add_(1, membership, counts)
    marginal = torch.zeros(n_sets, n_splits, logits.dim or 0, dtype=torch.float64)
    negative_entropy = torch.zeros(n_sets, n_splits, dtype=torch.float64)
    for start, block in with_start(logits.blocks()):
        p = block.double().softmax(dim=1)
        entropies = torch.special.xlogy(p, p).sum(dim=1)
        split_of_row = membership[start : start + len(block)]
        times = counts[:, start : start + len(block)]
        for split in split_of_row.unique():
            in_split = split_of_row == split
            marginal[:, split] += times[:, in_split] @ p[in_split]
            negative_entropy[:, split] += times[:, in_split] @ entropies[in_split]
    marginal /= sizes[:, :, None]
    # E KL(p || q) = E sum p log p - sum q log q, because q is the mean of p over the split.
    return (negative_entropy / sizes - torch.special.xlogy(marginal, marginal).sum(dim=2)).exp()


def split_membership(n: int, splits: Splits) -> Tensor:
    """Split of each image `(n,)`, in the given order. Raises StatisticsError for fewer than two images per split."""
    if n < least(splits):
        raise StatisticsError(too_few(n, splits))
    position = torch.arange(n)
    if splits.boundaries == "blocks":
        split_of_position = position // splits.size
    elif splits.boundaries == "chunk":
        split_of_position = position // -(-n // splits.count)  # ceil(n / count), as torch.chunk
    else:
        cuts = torch.tensor([i * n // splits.count for i in range(1, splits.count)], dtype=torch.long)
        split_of_position = torch.bucketize(position, cuts, right=True)
    if splits.boundaries != "blocks" and int(torch.bincount(split_of_position).min()) < 2:
        raise StatisticsError(
            f"{n} images leave a split of one, which scores 1 whatever it shows; give more images or fewer --splits"
        )
    if splits.order == "given":
        return split_of_position
    membership = torch.empty_like(split_of_position)
    membership[_permutation(n, splits)] = split_of_position
    return membership


def least(splits: Splits) -> int:
    """Smallest number of images that can be cut: two in each split."""
    return 2 if splits.boundaries == "blocks" else 2 * max(splits.count, 1)


def too_few(n: int, splits: Splits) -> str:
    """The message for fewer than two images a split."""
    if splits.boundaries == "blocks":
        return f"an Inception Score needs at least 2 images, got {n}; give more images"
    return (
        f"an Inception Score over {splits.count} splits needs at least two images in each, "
        f"{2 * max(splits.count, 1)} in all, got {n}; give more images or fewer --splits"
    )


def _permutation(n: int, splits: Splits) -> Tensor:
    if splits.order == "torch":
        return torch.randperm(n, generator=torch.Generator().manual_seed(splits.seed))
    return torch.from_numpy(np.random.RandomState(splits.seed).permutation(n))


class InceptionScore(SingleValued):
    """Inception Score as a metric over logits `(N, K)`."""

    entry = METRICS["is"]
    canonical = ("inception", "logits-unbiased")
    kind, statistic = "logits", Samples

    def __init__(self, *, splits: Splits | None = None):
        super().__init__()
        self.splits = splits or Splits()

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> InceptionScore:
        """With a protocol's rules and the user's options. Raises OptionError for a tool without Inception Score."""
        if protocol.splits is None:
            names = ", ".join(name for name, known in PROTOCOLS.items() if known.splits is not None)
            raise OptionError(f"--protocol {protocol.name}: that tool has no Inception Score; expected one of {names}")
        return cls(splits=protocol.splits.changed(options))

    def least(self, side: str) -> int:
        return least(self.splits)

    def too_few(self, side: str, count: int) -> str:
        return too_few(count, self.splits)

    def compute(self) -> Result:
        """Raises StatisticsError for fewer than two images per split, and for probabilities in place of logits."""
        scores = split_scores(self.statistics["fake"], self.splits)
        if all(map(are_probabilities, self.statistics["fake"].blocks())):
            raise StatisticsError(
                "an Inception Score is over logits, and these are probabilities (none is negative, every row sums to "
                "1), whose second softmax lowers the score; give what comes before the softmax, or their logarithm"
            )
        value = float(scores.mean())
        blocks = self.splits.boundaries == "blocks"  # of ADM, which gives no spread
        known = len(scores) > self.splits.ddof and not blocks
        spread = float(scores.std(correction=self.splits.ddof)) if known else None
        order = self.splits.order
        return Result(
            max(value, 1.0),
            spread=spread,
            raw=value,
            warnings=self._warnings(scores),
            protocol={
                "splits": len(scores),
                "boundaries": f"blocks of {self.splits.size}" if blocks else self.splits.boundaries,
                "order": "given" if order == "given" else f"shuffled by {order}",
                "seed": None if order == "given" else self.splits.seed,
                "spread_ddof": self.splits.ddof,
            },
        )

    def replicates(self, n: int, seed: int) -> dict[str, Tensor]:
        """Images are drawn within their split, so that its size does not change."""
        logits: Samples = self.statistics["fake"]
        membership = split_membership(logits.count, self.splits)
        at_once = max(1, BLOCK // ((int(membership.max()) + 1) * (logits.dim or 1)))

        def means(counts: Tensor) -> Tensor:
            parts = counts.split(at_once)
            return torch.cat([weighted_split_scores(logits, membership, part).mean(dim=1) for part in parts])

        return {self.name: replicate(means, logits.count, n, seed, groups=membership)}

    def _warnings(self, scores: Tensor) -> list[str]:
        logits: Samples = self.statistics["fake"]
        warnings = []
        largest = int(torch.bincount(split_membership(logits.count, self.splits)).max())
        if largest < CUSTOMARY:
            bound = f" and cannot exceed {largest}" if largest < (logits.dim or 0) else ""
            warnings.append(
                f"{logits.count} images make splits of {largest} at most: the score is biased downward{bound}; "
                f"published scores use {CUSTOMARY} a split"
            )
        if self.splits.boundaries == "blocks" and len(scores) > 1 and (rest := logits.count % self.splits.size):
            warnings.append(
                f"the last block holds {rest} images and counts as much as each of {self.splits.size}, as in "
                f"guided-diffusion; give a multiple of {self.splits.size}"
            )
        if self.splits.boundaries != "blocks" and len(scores) != self.splits.count:
            warnings.append(f"the chunk rule cut {logits.count} images into {len(scores)} splits")
        return warnings + self._order_warning(scores)

    def _order_warning(self, scores: Tensor) -> list[str]:
        """A warning if the images look sorted by class, which ruins splits in the given order.

        https://github.com/openai/guided-diffusion/issues/153: 62 instead of 298.
        """
        if self.splits.order != "given" or len(scores) < 2:
            return []
        shuffled = split_scores(self.statistics["fake"], self.splits.changed(MetricOptions(shuffle=True)))
        error = float((scores.var() + shuffled.var()) / len(scores)) ** 0.5
        gap = abs(float(scores.mean() - shuffled.mean()))
        # More than four standard errors and 2 %: neither chance nor a difference too small to matter.
        if gap <= max(4 * error, 0.02 * float(scores.mean())):
            return []
        return [
            f"the score depends on the order of the images: {float(scores.mean()):.2f} as given, "
            f"{float(shuffled.mean()):.2f} shuffled; they look sorted, use --shuffle"
        ]
