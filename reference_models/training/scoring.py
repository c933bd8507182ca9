"""Scores of a generator while it trains, through `ganmetrics`, on samples or held-out images that never change."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import torch

import ganmetrics as gm
from ganmetrics.held_out import keys_of
from ganmetrics.images import open_images
from ganmetrics.metrics import METRICS, OF_IMAGES
from ganmetrics.metrics.inversion.search import METHODS
from ganmetrics.score import Score
from reference_models.errors import RecipeError
from reference_models.sampling.sampler import Sampler
from reference_models.training.data import Images

RECONSTRUCTION = "reconstruction"
PART = 4096  # images of training that are looked at together
OF_SAMPLES = tuple(OF_IMAGES)
SCORES = (*OF_SAMPLES, RECONSTRUCTION)
Scorer = Callable[[Sampler], dict[str, Score]]  # again and again; the real images are read once


@dataclass(frozen=True)
class Scoring:
    """What to score, and how often.

    Attributes:
        every: steps between two scores; 0 never scores.
        metric: a name of `ganmetrics.metrics.METRICS` over samples, as `gm.evaluate` takes them, or "reconstruction";
            or several, of which the first, by its first value, chooses `best/`.
        features: the extractor; the embedded default needs no download.
        n_samples: images of the generator's moving average, and the most that are taken of the real ones.
        real: any source to compare with; None takes the training images, as they are prepared for training. The
            reconstruction loss needs one, of images that the generator never saw: it is refused where all are images
            of training, and says so in its warnings where some are.
        seed: of the samples, and of which real images are taken.
        method: how the reconstruction loss searches latents, a name of `ganmetrics reconstruction --method`.
    """

    every: int = 0
    metric: str | Sequence[str] = "fid"
    features: str = "efficientnet-lite0"
    n_samples: int = 1000
    real: Any = None
    seed: int = 0
    method: str = "auto"

    def __post_init__(self) -> None:
        for name in self.metrics or ("none",):
            if name.partition("@")[0] not in SCORES:
                raise RecipeError(f"--score-metric: expected one of {', '.join(SCORES)}, got {name!r}")
        if self.method not in METHODS:
            raise RecipeError(f"--score-method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        if RECONSTRUCTION in self.metrics and self.real is None:
            raise RecipeError(
                "--score-metric reconstruction: expected held-out images, got none; name some that are not trained "
                "on with --score-real, such as mnist:test[0:200]"
            )
        for option, value, least in (("every", self.every, 0), ("samples", self.n_samples, 2)):
            if not isinstance(value, int) or value < least:
                raise RecipeError(f"--score-{option}: expected a whole number of at least {least}, got {value!r}")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Their names."""
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)

    @property
    def of_samples(self) -> tuple[str, ...]:
        """Those that need images alone."""
        return tuple(name for name in self.metrics if name != RECONSTRUCTION)

    @property
    def best_by(self) -> str:
        """The name of the value that chooses `best/`."""
        name, at, features = self.metrics[0].partition("@")
        return f"{next(iter(METRICS[name].values))}{at}{features}"

    @property
    def lower_is_better(self) -> bool:
        """Of that value."""
        return METRICS[self.metrics[0].partition("@")[0]].values[self.best_by.partition("@")[0]] == "lower"


def is_score(name: str | None) -> bool:
    """Whether a value that best/ is chosen by is that of a metric, and not one that the variant measures."""
    return name is not None and any(name.partition("@")[0] in METRICS[score].values for score in SCORES)


class SampleScorer:
    """Metrics of `n_samples` images that are drawn once for all of them, against the real ones."""

    def __init__(self, scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device):
        self.scoring = scoring
        classes = [name for name in scoring.of_samples if METRICS[name.partition("@")[0]].load().labelled]
        if classes:
            raise RecipeError(f"--score-metric {classes[0]}: is over classes, and these samples are of none")
        self._metrics = gm.Evaluator(
            scoring.of_samples,
            features=scoring.features,
            device=device,
            data_root=dataroot,
            seed=scoring.seed,
            progress=False,
        )
        if "real" in self._metrics.sides:
            self._metrics.read_real(_some(images, scoring) if scoring.real is None else scoring.real)

    def __call__(self, sampler: Sampler) -> dict[str, Score]:
        self._metrics.reset()
        for batch in sampler.batches(self.scoring.n_samples, seed=self.scoring.seed):
            self._metrics.update(batch, layout="NCHW")
        return self._metrics.compute()


class ReconstructionScorer:
    """The reconstruction loss of held-out images, prepared as those of training are."""

    def __init__(self, scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device):
        opened = open_images(scoring.real, data_root=dataroot)
        held_out = _some(Images(opened, images.size, images.channels), scoring)
        self._warnings = _seen_in_training(held_out, opened.name, images)
        for warning in self._warnings:
            click.echo(f"Warning: {warning}", err=True)
        self._watch = gm.Reconstruction(
            held_out, method=scoring.method, seed=scoring.seed, device=device, progress=False
        )

    def __call__(self, sampler: Sampler) -> dict[str, Score]:
        score = self._watch.compute(sampler)
        return {RECONSTRUCTION: score.with_(warnings=[*score.warnings, *self._warnings])}


def make_scorer(scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device) -> Scorer:
    """The scorer of all metrics of `scoring`, by the names of their values; `images` are those of training."""
    kinds = ([SampleScorer] if scoring.of_samples else []) + (
        [ReconstructionScorer] if RECONSTRUCTION in scoring.metrics else []
    )
    scorers = [kind(scoring, images, dataroot=dataroot, device=device) for kind in kinds]
    return lambda sampler: {name: score for scorer in scorers for name, score in scorer(sampler).items()}


def _seen_in_training(held_out: torch.Tensor, name: str, images: Images) -> list[str]:
    """A warning where held-out images `(n, C, H, W)` are among those of training, as they are prepared for it.

    Raises RecipeError where all of them are. Of training images that do not fit into memory the name has to tell.
    """
    if not images.in_memory:
        told = f"--score-real: {name} and the training images {images.name} overlap; name some that are not trained on"
        return [told] if _overlap(name, images.name) else []
    asked, found = keys_of(held_out), set[bytes]()
    for start in range(0, len(images), PART):
        found.update(set(asked).intersection(keys_of(_part(images, start))))
    shared = sum(key in found for key in asked)
    said = f"--score-real: {shared} of {len(asked)} images are trained on, and a reconstruction loss is of others"
    if shared == len(asked):
        raise RecipeError(f"{said}; name some that are held out, such as mnist:test[0:200]")
    return [said] if shared else []


def _overlap(one: str, other: str) -> bool:
    """Whether two names of sources with their slices, where they have any, have an image in common."""
    (mine, start, stop), (theirs, begin, end) = _sliced(one), _sliced(other)
    return mine == theirs and max(start, begin) < min(stop, end)


def _sliced(name: str) -> tuple[str, float, float]:
    found = re.fullmatch(r"(.*)\[(\d+):(\d+)\]", name)
    return (found[1], int(found[2]), int(found[3])) if found else (name, 0, math.inf)


def _part(images: Images, start: int) -> torch.Tensor:
    return images.__getitems__(list(range(start, min(start + PART, len(images)))))


def _some(images: Images, scoring: Scoring) -> torch.Tensor:
    """`n_samples` of the images, or all there are, uint8 `(n, C, H, W)`."""
    random = torch.Generator().manual_seed(scoring.seed)
    chosen = torch.randperm(len(images), generator=random)[: scoring.n_samples].sort().values
    return images.__getitems__(chosen.tolist())
