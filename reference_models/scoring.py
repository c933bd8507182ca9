"""Scores of a generator while it trains, through `ganmetrics`, on samples or held-out images that never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

import ganmetrics as gm
from ganmetrics.images import open_images
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.latent_search import METHODS
from ganmetrics.score import Score
from ganmetrics.streaming import StreamingMetric
from reference_models.data import Images
from reference_models.errors import RecipeError
from reference_models.sampler import Sampler

STREAMING: dict[str, type[StreamingMetric]] = {metric.name: metric for metric in (gm.FID, gm.InceptionScore)}
RECONSTRUCTION = "reconstruction"
SCORES = (*STREAMING, RECONSTRUCTION)


@dataclass(frozen=True)
class Scoring:
    """What to score, and how often.

    Attributes:
        every: steps between two scores; 0 never scores.
        metric: "fid", "is" or "reconstruction".
        features: the extractor of the first two; the embedded default needs no download.
        n_samples: images of the generator's moving average, and the most that are taken of the real ones.
        real: any source to compare with; None takes the training images, as they are prepared for training. The
            reconstruction loss needs one, of images that the generator never saw.
        seed: of the samples, and of which real images are taken.
        method: how the reconstruction loss searches latents, a name of `ganmetrics reconstruction --method`.
    """

    every: int = 0
    metric: str = "fid"
    features: str = "efficientnet-lite0"
    n_samples: int = 1000
    real: Any = None
    seed: int = 0
    method: str = "auto"

    def __post_init__(self) -> None:
        if self.metric not in SCORES:
            raise RecipeError(f"--score-metric: expected one of {', '.join(SCORES)}, came {self.metric!r}")
        if self.method not in METHODS:
            raise RecipeError(f"--score-method: expected one of {', '.join(METHODS)}, came {self.method!r}")
        if self.metric == RECONSTRUCTION and self.real is None:
            raise RecipeError(
                "--score-metric reconstruction: expected held-out images, came none; name some that are not trained "
                "on with --score-real, such as mnist:test[0:200]"
            )
        for option, value, least in (("every", self.every, 0), ("samples", self.n_samples, 2)):
            if not isinstance(value, int) or value < least:
                raise RecipeError(f"--score-{option}: expected a whole number of at least {least}, came {value!r}")

    @property
    def lower_is_better(self) -> bool:
        """Of the metric."""
        return METRICS[self.metric].better == "lower"


class Scorer(Protocol):
    """Scores a sampler again and again; the real images are read once."""

    def __call__(self, sampler: Sampler) -> Score: ...


class SampleScorer:
    """A metric of `n_samples` images that are drawn, against the real ones."""

    def __init__(self, scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device):
        self.scoring = scoring
        kind = STREAMING[scoring.metric]
        real = {} if "real" not in METRICS[kind.name].sides else {"real": self._real(images)}
        self._metric = kind(
            **real, features=scoring.features, device=device, data_root=dataroot, seed=scoring.seed, progress=False
        )

    def _real(self, images: Images) -> Any:
        return _some(images, self.scoring) if self.scoring.real is None else self.scoring.real

    def __call__(self, sampler: Sampler) -> Score:
        self._metric.reset()
        for batch in sampler.batches(self.scoring.n_samples, seed=self.scoring.seed):
            self._metric.update(batch, layout="NCHW")
        return self._metric.compute()


class ReconstructionScorer:
    """The reconstruction loss of held-out images, prepared as those of training are."""

    def __init__(self, scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device):
        opened = open_images(scoring.real, data_root=dataroot)
        self._images = _some(Images(opened, images.size, images.channels), scoring)
        self._options = {"method": scoring.method, "seed": scoring.seed, "device": device, "progress": False}

    def __call__(self, sampler: Sampler) -> Score:
        return gm.Reconstruction(self._images, bound=sampler.variant.latent_bound, **self._options).compute(sampler)


def make_scorer(scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device) -> Scorer:
    """The scorer of `scoring.metric`; `images` are those of training."""
    kind = ReconstructionScorer if scoring.metric == RECONSTRUCTION else SampleScorer
    return kind(scoring, images, dataroot=dataroot, device=device)


def _some(images: Images, scoring: Scoring) -> torch.Tensor:
    """`n_samples` of the images, or all there are, uint8 `(n, C, H, W)`."""
    random = torch.Generator().manual_seed(scoring.seed)
    chosen = torch.randperm(len(images), generator=random)[: scoring.n_samples].sort().values
    return images.__getitems__(chosen.tolist())
