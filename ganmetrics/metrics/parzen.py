"""Parzen-window log-likelihood: the mean log density of test points under isotropic Gaussians on the samples.

Breuleux, Bengio & Vincent 2011; Goodfellow et al. 2014 (arXiv:1406.2661, Table 1) and its script `parzen_ll.py`, whose
numbers this reproduces: the bandwidth is chosen from a grid on the validation data, log p(x) =
logmeanexp(-|x - s_i|^2 / (2 h^2)) - D log(h sqrt(2 pi)), mean over the test points, standard error std / sqrt(n).
Theis, van den Oord & Bethge 2016 (arXiv:1511.01844) show that it can rank a bad model above the true distribution, so
every score carries a warning.

It differs in the arithmetic, see `ganmetrics/metrics/numerics/kernels.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.bandwidth import SMALLEST, Rule
from ganmetrics.metrics.numerics.kernels import DEFAULT_MEMORY, KernelSums
from ganmetrics.metrics.numerics.scaling import deviation, mean
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.runtime.device import bar_is_off
from ganmetrics.statistics.points import BYTE
from ganmetrics.statistics.samples import Samples, with_start


def log_likelihood(x: Tensor, samples: Tensor, bandwidth: float, *, memory: int = DEFAULT_MEMORY) -> Tensor:
    """Log density of points `(M, D)` under Gaussians of standard deviation `bandwidth` on samples `(N, D)`.

    Returns `(M,)` float64, in nats. Points and samples are both floating point, or both bytes, which stand for
    value / 255. Raises StatisticsError for shapes that do not fit, no samples or NaN; OptionError for a bandwidth that
    is not above 0.
    """
    kernels = KernelSums(x, [bandwidth], memory=memory)
    kernels.update(samples)
    return kernels.log_likelihood()[:, 0]


class ParzenLogLikelihood(SingleValued):
    """Parzen-window log-likelihood as a metric over points `(N, D)` of three sides: samples, validation, test.

    Args:
        rule: how the bandwidth is chosen, on the validation points only.
        max_samples: use at most this many samples, drawn with `seed`; None uses all.
        memory: bytes of work space.
        dtype: dtype of the exponentials; None means float64 for float64 points and float32 for others.
        device: where the distances are computed.
        progress: show a progress bar for every pass over the samples.
    """

    entry = METRICS["parzen"]
    canonical = ("pixels", "features")
    kind, statistic = "features", Samples

    def __init__(
        self,
        *,
        rule: Rule | None = None,
        max_samples: int | None = None,
        seed: int = 0,
        memory: int = DEFAULT_MEMORY,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        progress: bool = False,
    ):
        super().__init__()
        self.rule = rule or Rule.parse("published")
        self.max_samples, self.seed, self.memory = max_samples, seed, memory
        self.dtype = dtype
        self.device = device or torch.device("cpu")
        self.progress = progress

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> ParzenLogLikelihood:
        return cls(seed=options.seed or 0)

    def compute(self) -> Result:
        """Mean log density of the test points in nats; `spread` is its standard error.

        Raises StatisticsError for an empty side or sides of different dimensions.
        """
        self._check()
        validation, test = (self._points(side) for side in ("validation", "test"))
        choice = self.rule.choose(
            lambda bandwidths: list(map(mean, self._sums(validation, bandwidths).log_likelihood().T)),
            lambda: self._nearest_distance(validation),
        )
        sums = self._sums(test, [choice.bandwidth])
        densities = sums.log_likelihood()[:, 0]
        n = len(densities)
        return Result(
            mean(densities),
            spread=deviation(densities, 0) / n**0.5 if n > 1 else None,
            warnings=[*choice.warnings, *_copies(sums)],
            protocol={
                "bandwidth": choice.bandwidth,
                "bandwidth_rule": choice.rule,
                "validation_curve": [list(point) for point in choice.curve if math.isfinite(point[1])],
                "dtype": str(sums.dtype).removeprefix("torch."),
                "unit": "nats",
                "dim": test.shape[1],
                "n_samples": self._selected(),
                "n_validation": len(validation),
                "n_test": n,
                "seed": self.seed if self._selected() < self.statistics["samples"].count else None,
            },
        )

    def _check(self) -> None:
        for side in self.sides:
            if not self.statistics[side].count:
                raise StatisticsError(f"a Parzen window needs {side}: expected at least one point, got 0")
        dims = {side: self.statistics[side].dim for side in self.sides}
        if len(set(dims.values())) > 1:
            listed = ", ".join(f"{dim} ({side})" for side, dim in dims.items())
            raise StatisticsError(f"expected points of one dimension, got {listed}; make the images of one size")

    def _selected(self) -> int:
        """Number of samples in use."""
        count = self.statistics["samples"].count
        return count if self.max_samples is None else min(count, self.max_samples)

    def _points(self, side: str) -> Tensor:
        return torch.cat([self._uniform(block) for block in self.statistics[side].blocks()]).to(self.device)

    def _uniform(self, block: Tensor) -> Tensor:
        """Bytes if all three sides are bytes, else floating point."""
        if all(self.statistics[side].dtype == torch.uint8 for side in self.sides):
            return block
        return block.double() * BYTE if block.dtype == torch.uint8 else block

    def _blocks(self) -> Iterator[Tensor]:
        """The samples in use, block by block, in their own order."""
        samples: Samples = self.statistics["samples"]
        chosen = torch.ones(samples.count, dtype=torch.bool)
        if self._selected() < samples.count:
            order = torch.randperm(samples.count, generator=torch.Generator().manual_seed(self.seed))
            chosen[order[self._selected() :]] = False
        for start, block in with_start(samples.blocks()):
            yield self._uniform(block[chosen[start : start + len(block)]])

    def _sums(self, points: Tensor, bandwidths: Sequence[float], label: str | None = None) -> KernelSums:
        """One pass over the samples, for all bandwidths."""
        label = label or f"bandwidth {bandwidths[0]:.3g}" + (f" to {bandwidths[-1]:.3g}" if bandwidths[1:] else "")
        sums = KernelSums(points, bandwidths, memory=self.memory, dtype=self.dtype)
        off = bar_is_off(self.progress)
        with tqdm(total=self._selected(), desc=label, unit="sample", disable=off, leave=False) as bar:
            for block in self._blocks():
                sums.update(block)
                bar.update(len(block))
        return sums

    def _nearest_distance(self, points: Tensor) -> float:
        """Root mean square distance to the nearest sample, per dimension: about the size of the best bandwidth."""
        sums = self._sums(points, [1.0], "nearest")
        if sums.nearest_is_rounded():
            sums = self._sums(points, [SMALLEST], "nearest")
        return float((sums.nearest_squared() / points.shape[1]).mean().sqrt())


def _copies(sums: KernelSums) -> list[str]:
    """The warning for test points equal to a sample: their likelihood grows without bound as the bandwidth shrinks."""
    if not sums.copies():
        return []
    return [
        f"{sums.copies()} of {sums.n_points} test points coincide with a sample: copies score high at small bandwidths"
    ]
