"""`gm.Monitor`: scores of a generator at regular steps of its training, without any effect on the training."""

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
from ganmetrics.printable import brief
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

# Protocol keys that scores may differ in and still be compared: they depend on the machine or on the images measured.
INCIDENTAL = frozenset(
    ("cached", "device", "torch", "confidence", "resamples", "resampling_seed", "memorisation_distance", "per_class")
)


class Monitor:
    """Called at every step, it measures at the multiples of `every`, including step 0.

    The generator gets the same random numbers, hence the same latents, at every measurement, so scores differ only by
    what was learned. Each call restores the random states of Python, NumPy and torch (every CUDA device), the training
    flag of every module, gradients, autocast and TF32: training gives the same result, to the last bit, as without.

    Args:
        real: any source or statistics file, read once, now; None if no metric uses real images.
        metrics: as in `gm.evaluate`; a string is one metric.
        every: steps between two measurements.
        n_samples: images to draw for each measurement.
        best: the value that decides the best step, such as "fid" or "recall"; None is the first value of the first
            metric.
        history: file to which each measured step appends a line of JSON, see `gm.read_history`. An existing file is
            continued; its steps count for the best step if they were measured in the same way.
        on_best: called as `on_best(step, scores)` at every best step so far.
        batch_size_samples: images to draw at once.
        **options: see `ganmetrics.Settings`. `value_range` is the range of float images. `seed` also seeds the
            samples; None is 0.

    Attributes:
        is_best: whether the last call measured the best step so far.

    Raises OptionError, SourceError or another GanMetricsError for what cannot be measured, before reading if possible.
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
            raise OptionError(f"best: expected one of {', '.join(values)}, got {brief(best)}")
        self._lower = values[self._best_by] == "lower"
        if real is None and "real" in self._evaluator.sides:
            names = ", ".join(self._evaluator.metrics)
            raise OptionError(f"real: {names} compares with real images, got none; name a source of them")
        self._history = None if history is None else History(history)
        self._lines = [] if self._history is None else self._history.lines
        self._on_best = on_best
        self.is_best = False
        if real is not None:
            self._evaluator.read_real(real)
        # Only lines of a history file can have another real side; the checksum reads all images again.
        self._real = None if self._history is None else self._evaluator.reference()

    @property
    def best(self) -> tuple[int, float] | None:
        """The best step so far and its value, the earlier of equal ones, among steps measured like the last one."""
        scored = [line for line in self._lines if self._best_by in line.scores]
        conditions = [_conditions(line, self._best_by) for line in scored]
        comparable = [line for line, own in zip(scored, conditions, strict=True) if own == conditions[-1]]
        values = {line.step: line.scores[self._best_by].value for line in comparable}
        if not values:
            return None
        step = (min if self._lower else max)(values, key=lambda step: values[step])
        return step, values[step]

    def __call__(
        self, step: int, sampler: Any, *, generator: nn.Module | Iterable[nn.Module] | None = None
    ) -> dict[str, Score] | None:
        """The scores by name if `step` is a multiple of `every`, else None. See `measure`."""
        if whole("step", step, 0) % self.every == 0:
            return self.measure(step, sampler, generator=generator)
        self.is_best = False
        return None

    def measure(
        self, step: int, sampler: Any, *, generator: nn.Module | Iterable[nn.Module] | None = None
    ) -> dict[str, Score]:
        """The scores by name at any step, for example at the end of training.

        Args:
            step: of training. It replaces all measured steps from it on, as after resuming an earlier checkpoint.
            sampler: a function of n that returns n images `(n, C, H, W)`: uint8, or floating point in `value_range`;
                for metrics over classes `(images, labels)`. Or a generator with `latent_shape` and `value_range`,
                which is called with latents.
            generator: the network or networks that sample; they are in evaluation mode meanwhile. Not needed if the
                sampler is a network, a method of one or an object that holds one. An empty list changes no mode.

        Raises OptionError or SourceError for a sampler that returns anything else, and StatisticsError if there is no
        score; if only some of several metrics fail, PartialError with the scores of the others. A step that raises is
        not recorded.
        """
        step, started, self.is_best = whole("step", step, 0), time.perf_counter(), False
        if not callable(sampler):
            raise OptionError(f"sampler: expected a function of a number of images, got {type(sampler).__name__}")
        networks = modules_of(sampler) if generator is None else _networks(generator)
        mode_check = refusing_training_mode if generator is None else nullcontext
        self._evaluator.reset()
        with restored_random(self._seed):
            for start in range(0, self.n_samples, self._batch_size):
                with evaluating(networks), no_traces_of_autocast(), mode_check():
                    images, labels = self._draw(sampler, networks, start)
                self._evaluator.update(images, value_range=_range(sampler), labels=labels)
            scores = self._evaluator.compute()
        seconds = round(time.perf_counter() - started, 3)
        return self._record(step, {name: score.with_(seconds=seconds) for name, score in scores.items()}, seconds)

    def _draw(self, sampler: Any, networks: Sequence[nn.Module], start: int) -> tuple[Any, Any]:
        """The next batch of images, from number `start`, and their labels or None."""
        n = min(self._batch_size, self.n_samples - start)
        if hasattr(sampler, "latent_shape"):
            images, labels = self._from_latents(sampler, networks, start, n)
        else:
            output = sampler(n)
            images, labels = output if isinstance(output, tuple) and len(output) == 2 else (output, None)
        if getattr(images, "ndim", 0) and len(images) != n:
            raise OptionError(f"sampler: asked for {n} images, it gave {tuple(images.shape)}")
        return images, labels

    def _from_latents(self, sampler: Any, networks: Sequence[nn.Module], start: int, n: int) -> tuple[Any, Any]:
        weights = (p for network in networks for p in network.parameters() if p.is_floating_point())
        like = next(weights, torch.empty(0, device=getattr(sampler, "device", None) or "cpu"))
        shape = tuple(sampler.latent_shape)
        own = own_latents(sampler, range(start, start + n), self._seed, shape)
        # Drawn on the CPU: the same seed gives the same latents on every device.
        z = (torch.randn(n, *shape, device="cpu") if own is None else own).to(like.device, like.dtype)
        if (n_classes := getattr(sampler, "n_classes", None)) is None:
            return sampler(z), None
        labels = torch.arange(start, start + n, device=like.device) % n_classes
        return sampler(z, labels), labels

    def _record(self, step: int, scores: dict[str, Score], seconds: float) -> dict[str, Score]:
        line = Scored(step, scores, False, seconds, self._real, self._seed)
        self._lines = standing([*self._lines, line])
        self.is_best = self.best is not None and self.best[0] == step
        if self._history is not None:
            self._history.append(replace(line, best=self.is_best))
        if self.is_best and self._on_best is not None:
            self._on_best(step, scores)
        return scores


def _networks(generator: nn.Module | Iterable[nn.Module]) -> list[nn.Module]:
    if isinstance(generator, nn.Module) or not isinstance(generator, Iterable):
        networks = [generator]
    else:
        networks = list(generator)
    for network in networks:
        if not isinstance(network, nn.Module):
            raise OptionError(f"generator: expected a torch.nn.Module or several, got {type(network).__name__}")
    return networks


def _range(sampler: Any) -> tuple[float, float] | None:
    """The value range that a generator states; None for a function."""
    return getattr(sampler, "value_range", None) if hasattr(sampler, "latent_shape") else None


def _conditions(line: Scored, name: str) -> str:
    """How a score was measured, as text; scores can be compared if it is equal."""
    score = line.scores[name]
    protocol = {key: value for key, value in score.protocol.items() if key not in INCIDENTAL}
    return json.dumps([score.metric, score.n_real, score.n_fake, line.real, line.seed, protocol], sort_keys=True)
