"""Scores of a generator while it trains, through `ganmetrics`, on samples that never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import ganmetrics as gm
from ganmetrics.metrics import METRICS
from ganmetrics.monitor import StreamingMetric
from ganmetrics.score import Score
from reference_models.data import Images
from reference_models.errors import RecipeError
from reference_models.sampler import Sampler

STREAMING: dict[str, type[StreamingMetric]] = {metric.name: metric for metric in (gm.FID, gm.InceptionScore)}


@dataclass(frozen=True)
class Scoring:
    """What to score, and how often.

    Attributes:
        every: steps between two scores; 0 never scores.
        metric: "fid" or "is".
        features: the extractor; the embedded default needs no download.
        n_samples: images of the generator's moving average, and the most that are taken of the real ones.
        real: any source to compare with; None takes the training images, as they are prepared for training.
        seed: of the samples, and of which training images are taken.
    """

    every: int = 0
    metric: str = "fid"
    features: str = "efficientnet-lite0"
    n_samples: int = 1000
    real: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.metric not in STREAMING:
            raise RecipeError(f"--score-metric: expected one of {', '.join(STREAMING)}, came {self.metric!r}")
        for option, value, least in (("every", self.every, 0), ("samples", self.n_samples, 2)):
            if not isinstance(value, int) or value < least:
                raise RecipeError(f"--score-{option}: expected a whole number of at least {least}, came {value!r}")


class Scorer:
    """Scores a sampler again and again; the real images are read once."""

    def __init__(self, scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device):
        self.scoring = scoring
        kind = STREAMING[scoring.metric]
        self.lower_is_better = METRICS[kind.name].better == "lower"
        real = {} if "real" not in METRICS[kind.name].sides else {"real": self._real(images)}
        self._metric = kind(
            **real, features=scoring.features, device=device, data_root=dataroot, seed=scoring.seed, progress=False
        )

    def _real(self, images: Images) -> Any:
        if self.scoring.real is not None:
            return self.scoring.real
        random = torch.Generator().manual_seed(self.scoring.seed)
        chosen = torch.randperm(len(images), generator=random)[: self.scoring.n_samples].sort().values
        return images.__getitems__(chosen.tolist())

    def __call__(self, sampler: Sampler) -> Score:
        """The score of `n_samples` images."""
        self._metric.reset()
        for batch in sampler.batches(self.scoring.n_samples, seed=self.scoring.seed):
            self._metric.update(batch, layout="NCHW")
        return self._metric.compute()

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether a score is the best so far."""
        return than is None or (value < than if self.lower_is_better else value > than)
