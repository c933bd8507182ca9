"""Reconstruction loss of any generator on any source, as a call and for training loops.

The search for the latents is in metrics/inversion/.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.generators import OpenGenerator, open_generator
from ganmetrics.held_out import READING, TestImages, read_test_images, reading, require_disjoint, resized
from ganmetrics.measurement.settings import Settings
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.inversion.inverter import Inversion, invert
from ganmetrics.metrics.inversion.search import METHODS, Search
from ganmetrics.metrics.inversion.targets import require_fit
from ganmetrics.metrics.reconstruction import summarised
from ganmetrics.score import Score
from ganmetrics.validation import whole

SLOW = 0.1  # warn if a larger share of the images was still improving at the last step


@dataclass(frozen=True)
class Reconstructed:
    """A score with its targets and inversion, from which a picture can be drawn."""

    score: Score
    targets: Tensor
    inversion: Inversion = field(repr=False)


def reconstruction_loss(generator: Any, images: Any, **options: Any) -> Score:
    """Mean over test images of the mean squared error per pixel in [0, 1] when the latent is optimised for each.

    Args:
        generator: anything that `ganmetrics.generators.open_generator` accepts.
        images: any source of test images, not seen in training, with the generator's size and channels.
        **options: those of `reconstruct`.

    Returns: Score; spread is the standard error of the mean. Raises a subclass of GanMetricsError.
    """
    return reconstruct(generator, images, **options).score


def reconstruct(
    generator: Any,
    images: Any,
    *,
    labels: Any = None,
    generator_range: tuple[float, float] | None = None,
    resize: bool = False,
    n_images: int | None = None,
    **options: Any,
) -> Reconstructed:
    """`reconstruction_loss`, which also returns targets and inversion.

    Args:
        generator: as for `reconstruction_loss`.
        images: as for `reconstruction_loss`.
        labels: for a generator with `n_classes`: one class for all images, one per image, or "optimise".
        generator_range: the value range of the generator's images, if it does not state one.
        resize: prepare the images by the rule that the generator's checkpoint states.
        n_images: use only the first `n_images`.
        **options: fields of `Search` (method, steps, restarts, ...), and how images are read (value_range, layout,
            data_root, num_workers, on_error, n_samples, include, exclude, device, progress).
    """
    started = time.perf_counter()
    search, settings = _options(options)
    opened = open_generator(generator, settings.device, value_range=generator_range)
    test = read_test_images(images, opened, settings, resize=resize, n_images=n_images)
    return _measured(opened, test, search, labels, settings.progress, started)


def _measured(
    generator: OpenGenerator, test: TestImages, search: Search, labels: Any, progress: bool, started: float
) -> Reconstructed:
    inversion = invert(generator, test.pixels, search=search, labels=labels, value_range=(0, 1), progress=progress)
    score = _score(generator, test, inversion, search.bound, _label_counts(labels))
    return Reconstructed(score.with_(seconds=round(time.perf_counter() - started, 3)), test.pixels, inversion)


class Reconstruction:
    """Reconstruction loss in a training loop, on a fixed set: `if (score := watch.at(step, G)) is not None: ...`.

    Args:
        images: the running set, any source; 200 images in the published protocol.
        final: the set for the final number. It may share no image with the running set, because that set has chosen
            the best checkpoint.
        every: steps between two measurements, 1,000 in the published protocol.
        **options: those of `reconstruct` except n_images. With resize=True the images are prepared for each generator
            by the rule that its checkpoint states.
    """

    def __init__(self, images: Any, *, final: Any = None, every: int = 1000, **options: Any):
        self.every = whole("every", every, 1)
        self._labels, self._range = options.pop("labels", None), options.pop("generator_range", None)
        self._resize = bool(options.pop("resize", False))
        self._search, settings = _options(options)
        self.images = read_test_images(images, None, settings, resize=self._resize)
        self.final_images = None if final is None else read_test_images(final, None, settings, resize=self._resize)
        self._device, self._progress = settings.device, settings.progress
        if self.final_images is not None:
            require_disjoint(self.images.pixels, self.final_images.pixels)

    def at(self, step: int, generator: Any) -> Score | None:
        """The score of the running set if `step` is a multiple of `every`, else None."""
        return self.compute(generator) if whole("step", step, 0) % self.every == 0 else None

    def compute(self, generator: Any) -> Score:
        """The score of the running set."""
        return self._measure(self.images, generator)

    def compute_final(self, generator: Any) -> Score:
        """The score of the final set. Raises OptionError if none was given."""
        if self.final_images is None:
            raise OptionError("Reconstruction: expected final images, got none; give final= beside the running ones")
        return self._measure(self.final_images, generator)

    def _measure(self, test: TestImages, generator: Any) -> Score:
        started = time.perf_counter()
        opened = open_generator(generator, self._device, value_range=self._range)
        if self._resize:
            test = resized(test, opened)
        require_fit(tuple(test.pixels.shape[1:]), opened)
        return _measured(opened, test, self._search, self._labels, self._progress, started).score


def _options(options: dict[str, Any]) -> tuple[Search, Settings]:
    """The search, and how images are read, from keywords. Raises OptionError for an unknown keyword."""
    search = options.pop("search", None)
    chosen = Search.of(search, {name: value for name, value in options.items() if name not in READING})
    return chosen, reading({name: value for name, value in options.items() if name in READING})


def _label_counts(labels: Any) -> Any:
    """Labels for the protocol: the single label of all images, or the number of images of each."""
    if labels is None or isinstance(labels, str):
        return labels
    values, counts = torch.as_tensor(labels).unique(return_counts=True)
    if len(values) == 1:
        return int(values[0])
    return {str(value): count for value, count in zip(values.tolist(), counts.tolist(), strict=True)}


def _score(generator: OpenGenerator, test: TestImages, inversion: Inversion, bound: float | None, labels: Any) -> Score:
    """The score of an inversion; `bound` is the user's option, None if not stated."""
    result, entry, search = summarised(inversion.errors), METRICS["reconstruction"], inversion.search
    # Left out of the protocol: options without effect on this search.
    hidden = {"batch_size", *(() if search.perceptual else ("perceptual_weight",))}
    hidden |= set() if METHODS[search.method].pooled else {"pool"}
    searched = {field.name: getattr(search, field.name) for field in fields(search) if field.name not in hidden}
    perceptual = search.perceptual if isinstance(search.perceptual, (str, type(None))) else "own"
    improving = int((~inversion.converged).sum())
    count = len(inversion.errors)
    warnings = [*test.warnings, *generator.warnings]
    # xiang-li is published with a fixed number of steps, after which images still improve.
    if METHODS[search.method].tolerance and improving > SLOW * count and search.method != "xiang-li":
        warnings.append(
            f"{improving} of {count} images were still improving after {search.steps} steps; give --steps more"
        )
    own = generator.latent_bound
    if bound is not None and own not in (None, bound):
        warnings.append(
            f"the latents were searched in [-{bound:g}, {bound:g}], and the generator says [-{own:g}, {own:g}]; "
            "leave --bound out"
        )
    return Score(
        entry.name,
        result.value,
        entry.better,
        spread=result.spread,
        n_real=count,
        protocol={
            "features": "pixels",
            "resize": test.resize,
            **{option: {"test": patterns} for option, patterns in test.choice.items()},
            **generator.describe(),
            **searched,
            "perceptual": perceptual,
            "labels": labels,
            **result.protocol,
            "n_converged": count - improving,
            "passes_forward": inversion.passes.forward,
            "passes_gradient": inversion.passes.gradient,
            "device": str(generator.device),
            "torch": torch.__version__,
        },
        warnings=warnings,
        skipped=test.skipped,
        raw=result.value,
    )
