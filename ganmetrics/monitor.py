"""`gm.Monitor`: scores of a generator every so many steps of its training, which goes on as if nobody had looked."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ganmetrics.errors import OptionError
from ganmetrics.generators.latents import own_latents
from ganmetrics.history import History, Scored, standing
from ganmetrics.runtime.guards import (
    evaluating,
    modules_of,
    no_traces_of_autocast,
    refusing_training_mode,
    restored_random,
)
from ganmetrics.score import Score
from ganmetrics.streaming import Evaluator
from ganmetrics.validation import whole

# Of a score's protocol, what another way of measuring need not change, or what the images themselves do.
INCIDENTAL = frozenset(
    ("cached", "device", "torch", "confidence", "resamples", "resampling_seed", "memorisation_distance", "per_class")
)


class Monitor:
    """Called at every step, it measures at those that `every` divides, step 0 included.

    Every time the generator is given the same random numbers, hence the same latents, so that scores differ by what
    was learned alone. The global random numbers of Python, NumPy and torch (every CUDA device), the training flag of
    every module, gradients, autocast and TF32 are as before afterwards: training ends on the same bits as without.

    Args:
        real: any source or statistics file, read once, now; None where no metric compares.
        metrics: as `gm.evaluate` takes them; one may be named alone.
        every: steps between two measurements.
        n_samples: images to draw for each.
        best: the value that tells the best step, "fid" or "recall"; None is the first value of the first metric.
        history: file that a line of JSON is appended to for each measured step, see `gm.read_history`. One that is
            there already is gone on with, its best step included, as far as it was measured in the same way.
        on_best: called with the step and the scores when they are the best so far.
        batch_size_samples: images to draw at once.
        **options: see `ganmetrics.Settings`. `value_range` is that of float images; `seed` is of the samples as well
            (0 where none is given).

    Attributes:
        is_best: whether the last call measured, and found the best so far.

    Raises OptionError, SourceError and their kin for what cannot be measured, before anything is read where possible.
    """

    def __init__(
        self,
        real: Any = None,
        metrics: str | Sequence[str] = ("fid",),
        *,
        every: int = 500,
        n_samples: int = 1000,
        best: str | None = None,
        history: str | os.PathLike[str] | None = None,
        on_best: Callable[[int, dict[str, Score]], Any] | None = None,
        batch_size_samples: int = 64,
        **options: Any,
    ):
        self.every = whole("every", every, 1)
        self.n_samples = whole("n_samples", n_samples, 2)
        self._batch_size = whole("batch_size_samples", batch_size_samples, 1)
        self._evaluator = Evaluator(metrics, **options)
        self._seed = self._evaluator.settings.seed or 0
        self._evaluator.require_counts({"fake": self.n_samples})
        values = self._evaluator.values
        self._best_by = next(iter(values)) if best is None else best
        if self._best_by not in values:
            raise OptionError(f"best: expected one of {', '.join(values)}, got {best!r}")
        self._lower = values[self._best_by] == "lower"
        if real is None and "real" in self._evaluator.sides:
            asked = ", ".join(self._evaluator.metrics)
            raise OptionError(f"real: {asked} compares with real images, got none; name a source of them")
        self._history = None if history is None else History(history)
        self._lines = [] if self._history is None else self._history.lines
        self._on_best = on_best
        self.is_best = False
        if real is not None:
            self._evaluator.read_real(real)
        self._real = None if self._history is None else self._evaluator.reference()  # all lines but a file's share it

    @property
    def best(self) -> tuple[int, float] | None:
        """The best step so far and its value, of those measured as the last one was; the earlier of equal ones."""
        scored = [line for line in self._lines if self._best_by in line.scores]
        ways = [_way(line, self._best_by) for line in scored]
        alike = [line for line, way in zip(scored, ways, strict=True) if way == ways[-1]]
        found = {line.step: line.scores[self._best_by].value for line in alike}
        if not found:
            return None
        step = (min if self._lower else max)(found, key=lambda step: found[step])
        return step, found[step]

    def __call__(
        self, step: int, sampler: Any, *, generator: nn.Module | Iterable[nn.Module] | None = None
    ) -> dict[str, Score] | None:
        """The scores by name where `step` is a multiple of `every`, else None. See `measure`."""
        if whole("step", step, 0) % self.every == 0:
            return self.measure(step, sampler, generator=generator)
        self.is_best = False
        return None

    def measure(
        self, step: int, sampler: Any, *, generator: nn.Module | Iterable[nn.Module] | None = None
    ) -> dict[str, Score]:
        """The scores, whatever the step; for the end of training.

        Args:
            step: of training; one that goes back takes the place of those measured from it on.
            sampler: called with a number of images, gives so many `(n, C, H, W)`: uint8, or floating point in
                `value_range`; or `(images, labels)` for metrics over classes. Or a generator with `latent_shape` and
                `value_range` that is called with latents.
            generator: the network or networks that sample, to be in evaluation mode meanwhile; a sampler that is a
                network, a method of one or holds one needs none. An empty list leaves every mode as it is.

        Raises OptionError, SourceError for a sampler that does not do so, StatisticsError for what has no score; where
        that is one metric of several, PartialError with the scores of the others. Nothing of such a step is kept.
        """
        step, started, self.is_best = whole("step", step, 0), time.perf_counter(), False
        if not callable(sampler):
            raise OptionError(f"sampler: expected a function of a number of images, got {type(sampler).__name__}")
        networks = modules_of(sampler) if generator is None else _networks(generator)
        looking = refusing_training_mode if generator is None else nullcontext
        self._evaluator.reset()
        with restored_random(self._seed):
            for start in range(0, self.n_samples, self._batch_size):
                with evaluating(networks), no_traces_of_autocast(), looking():
                    images, labels = self._draw(sampler, networks, start)
                self._evaluator.update(images, value_range=_range(sampler), labels=labels)
            scores = self._evaluator.compute()
        seconds = round(time.perf_counter() - started, 3)
        return self._keep(step, {name: score.with_(seconds=seconds) for name, score in scores.items()}, seconds)

    def _draw(self, sampler: Any, networks: Sequence[nn.Module], start: int) -> tuple[Any, Any]:
        """Images `start` to at most `start + batch_size_samples`, and their labels or None."""
        n = min(self._batch_size, self.n_samples - start)
        if hasattr(sampler, "latent_shape"):
            images, labels = self._of_latents(sampler, networks, start, n)
        else:
            made = sampler(n)
            images, labels = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if getattr(images, "ndim", 0) and len(images) != n:
            raise OptionError(f"sampler: asked for {n} images, it gave {tuple(images.shape)}")
        return images, labels

    def _of_latents(self, sampler: Any, networks: Sequence[nn.Module], start: int, n: int) -> tuple[Any, Any]:
        weights = (p for network in networks for p in network.parameters() if p.is_floating_point())
        like = next(weights, torch.empty(0, device=getattr(sampler, "device", None) or "cpu"))
        shape = tuple(sampler.latent_shape)
        own = own_latents(sampler, range(start, start + n), self._seed, shape)
        z = (torch.randn(n, *shape, device="cpu") if own is None else own).to(like.device, like.dtype)
        if (n_classes := getattr(sampler, "n_classes", None)) is None:
            return sampler(z), None
        labels = torch.arange(start, start + n, device=like.device) % n_classes
        return sampler(z, labels), labels

    def _keep(self, step: int, scores: dict[str, Score], seconds: float) -> dict[str, Score]:
        line = Scored(step, scores, False, seconds, self._real, self._seed)
        self._lines = standing([*self._lines, line])
        self.is_best = self.best is not None and self.best[0] == step
        if self._history is not None:
            self._history.append(replace(line, best=self.is_best))
        if self.is_best and self._on_best is not None:
            self._on_best(step, scores)
        return scores


def _networks(given: nn.Module | Iterable[nn.Module]) -> list[nn.Module]:
    networks = [given] if isinstance(given, nn.Module) or not isinstance(given, Iterable) else list(given)
    for one in networks:
        if not isinstance(one, nn.Module):
            raise OptionError(f"generator: expected a torch.nn.Module or several, got {type(one).__name__}")
    return networks


def _range(sampler: Any) -> tuple[float, float] | None:
    """What a generator says of its images; a function says nothing."""
    return getattr(sampler, "value_range", None) if hasattr(sampler, "latent_shape") else None


def _way(line: Scored, name: str) -> str:
    """How a score was measured, as far as scores of two runs have to agree to be compared."""
    score = line.scores[name]
    protocol = {key: value for key, value in score.protocol.items() if key not in INCIDENTAL}
    return json.dumps([score.metric, score.n_real, score.n_fake, line.real, line.seed, protocol], sort_keys=True)
