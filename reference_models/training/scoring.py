"""Scores of a generator during training, by `ganmetrics`; latents and held-out images are the same each time."""

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
from ganmetrics.printable import brief
from ganmetrics.score import Score
from reference_models.errors import RecipeError
from reference_models.sampling.sampler import Sampler
from reference_models.training.data import Images

RECONSTRUCTION = "reconstruction"
PART = 4096  # training images that are compared with the held-out ones at once
OF_SAMPLES = tuple(OF_IMAGES)
SCORES = (*OF_SAMPLES, RECONSTRUCTION)
Scorer = Callable[[Sampler], dict[str, Score]]  # called at every score; reads the real images once


@dataclass(frozen=True)
class Scoring:
    """What to score, and how often.

    Attributes:
        every: steps between two scores; 0 never scores.
        metric: a name of `ganmetrics.metrics.METRICS` over samples, as for `gm.evaluate`, or "reconstruction"; or
            several names. The first value of the first metric chooses `best/`.
        features: the extractor; the embedded default needs no download.
        n_samples: number of images from the generator's moving average, and the largest number of real ones.
        real: any source to compare with; None takes the training images, as they are prepared for training. The
            reconstruction loss needs a source of images that the generator never saw: if all of them are training
            images RecipeError is raised, if some are its scores have a warning.
        seed: of the samples, and of the choice of real images.
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
                raise RecipeError(f"--score-metric: expected one of {', '.join(SCORES)}, got {brief(name)}")
        if self.method not in METHODS:
            raise RecipeError(f"--score-method: expected one of {', '.join(METHODS)}, got {brief(self.method)}")
        if RECONSTRUCTION in self.metrics and self.real is None:
            raise RecipeError(
                "--score-metric reconstruction: expected held-out images, got none; name some that are not trained "
                "on with --score-real, such as mnist:test[0:200]"
            )
        for option, value, least in (("every", self.every, 0), ("samples", self.n_samples, 2)):
            if not isinstance(value, int) or value < least:
                raise RecipeError(f"--score-{option}: expected a whole number of at least {least}, got {brief(value)}")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, as a tuple."""
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)

    @property
    def of_samples(self) -> tuple[str, ...]:
        """The names of the metrics that need only images, no gradients of the generator."""
        return tuple(name for name in self.metrics if name != RECONSTRUCTION)

    @property
    def best_by(self) -> str:
        """The name of the value that chooses `best/`."""
        name, at, features = self.metrics[0].partition("@")
        return f"{next(iter(METRICS[name].values))}{at}{features}"

    @property
    def lower_is_better(self) -> bool:
        """Whether lower is better for the value that chooses `best/`."""
        return METRICS[self.metrics[0].partition("@")[0]].values[self.best_by.partition("@")[0]] == "lower"


def is_score(name: str | None) -> bool:
    """Whether a value that chooses best/ is a metric's, and not one that the variant measures."""
    return name is not None and any(name.partition("@")[0] in METRICS[score].values for score in SCORES)


class SampleScorer:
    """All metrics over samples, on the same `n_samples` generated images, against the real ones."""

    def __init__(self, scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device):
        self.scoring = scoring
        labelled = [name for name in scoring.of_samples if METRICS[name.partition("@")[0]].labelled]
        if labelled:
            raise RecipeError(f"--score-metric {labelled[0]}: needs class labels, and these samples have none")
        self._evaluator = gm.Evaluator(
            scoring.of_samples,
            features=scoring.features,
            device=device,
            data_root=dataroot,
            seed=scoring.seed,
            progress=False,
        )
        if "real" in self._evaluator.sides:
            self._evaluator.read_real(_some(images, scoring) if scoring.real is None else scoring.real)

    def __call__(self, sampler: Sampler) -> dict[str, Score]:
        self._evaluator.reset()
        for batch in sampler.batches(self.scoring.n_samples, seed=self.scoring.seed):
            self._evaluator.update(batch, layout="NCHW")
        return self._evaluator.compute()


class ReconstructionScorer:
    """The reconstruction loss of held-out images, which are prepared like the training images."""

    def __init__(self, scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device):
        opened = open_images(scoring.real, data_root=dataroot)
        held_out = _some(Images(opened, images.size, images.channels), scoring)
        self._warnings = _seen_in_training(held_out, opened.name, images)
        for warning in self._warnings:
            click.echo(f"Warning: {warning}", err=True)
        self._reconstruction = gm.Reconstruction(
            held_out, method=scoring.method, seed=scoring.seed, device=device, progress=False
        )

    def __call__(self, sampler: Sampler) -> dict[str, Score]:
        score = self._reconstruction.compute(sampler)
        return {RECONSTRUCTION: score.with_(warnings=[*score.warnings, *self._warnings])}


def make_scorer(scoring: Scoring, images: Images, *, dataroot: str | None, device: torch.device) -> Scorer:
    """A scorer of all metrics of `scoring`; `images` are the training images. It returns scores by value name."""
    kinds = ([SampleScorer] if scoring.of_samples else []) + (
        [ReconstructionScorer] if RECONSTRUCTION in scoring.metrics else []
    )
    scorers = [kind(scoring, images, dataroot=dataroot, device=device) for kind in kinds]
    return lambda sampler: {name: score for scorer in scorers for name, score in scorer(sampler).items()}


def _seen_in_training(held_out: torch.Tensor, name: str, images: Images) -> list[str]:
    """A warning if some of the held-out images `(n, C, H, W)` are training images, compared after preparation.

    If the training images do not fit into memory, only the names of the sources are compared. Raises RecipeError if
    all held-out images are training images.
    """
    if not images.in_memory:
        text = f"--score-real: {name} and the training images {images.name} overlap; name some that are not trained on"
        return [text] if _overlap(name, images.name) else []
    held_out_keys, seen = keys_of(held_out), set[bytes]()
    for start in range(0, len(images), PART):
        seen.update(set(held_out_keys).intersection(keys_of(_part(images, start))))
    shared = sum(key in seen for key in held_out_keys)
    n = len(held_out_keys)
    text = f"--score-real: {shared} of {n} images are trained on, but a reconstruction loss needs others"
    if shared == n:
        raise RecipeError(f"{text}; name some that are held out, such as mnist:test[0:200]")
    return [text] if shared else []


def _overlap(one: str, other: str) -> bool:
    """Whether two names of sources, each perhaps with a slice, share an image."""
    (one_source, one_start, one_stop), (other_source, other_start, other_stop) = _sliced(one), _sliced(other)
    return one_source == other_source and max(one_start, other_start) < min(one_stop, other_stop)


def _sliced(name: str) -> tuple[str, float, float]:
    """(source, start, stop) of a name such as `mnist:test[0:200]`."""
    match = re.fullmatch(r"(.*)\[(\d+):(\d+)\]", name)
    return (match[1], int(match[2]), int(match[3])) if match else (name, 0, math.inf)


def _part(images: Images, start: int) -> torch.Tensor:
    return images.__getitems__(list(range(start, min(start + PART, len(images)))))


def _some(images: Images, scoring: Scoring) -> torch.Tensor:
    """At most `n_samples` of the images, chosen at random, uint8 `(n, C, H, W)`."""
    random = torch.Generator().manual_seed(scoring.seed)
    chosen = torch.randperm(len(images), generator=random)[: scoring.n_samples].sort().values
    return images.__getitems__(chosen.tolist())
