"""Reconstruction loss of any generator on any source, and its training-loop form, around `metrics/inversion.py`."""

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

SLOW = 0.1  # share of the images still improving that is worth a sentence


@dataclass(frozen=True)
class Reconstructed:
    """A score with what it is of: targets and inversion, for a picture."""

    score: Score
    targets: Tensor
    inversion: Inversion = field(repr=False)


def reconstruction_loss(generator: Any, images: Any, **options: Any) -> Score:
    """Mean over test images of the mean squared error per pixel in [0, 1] when the latent is optimised for each.

    Args:
        generator: anything `ganmetrics.generators.open_generator` takes.
        images: any source, of the generator's size and channels; test images, never those it was trained on.
        **options: those of `reconstruct`.

    Returns: Score; spread is the standard error of the mean. Raises GanMetricsError in one of its kinds.
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
    """The score, with targets and inversion.

    Args:
        generator: as above.
        images: as above.
        labels: for a generator of `n_classes`: one of them for all, one an image, or "optimise".
        generator_range: of the generator's images, where it does not say.
        resize: prepare the images by the rule that the generator's checkpoint states.
        n_images: use the first so many.
        **options: fields of `Search` (method, steps, restarts, ...), and how images are read (value_range, layout,
            data_root, num_workers, on_error, n_samples, device, progress).
    """
    started = time.perf_counter()
    search, settings = _options(options)
    opened = open_generator(generator, settings.device, value_range=generator_range)
    test = read_test_images(images, opened, settings, resize=resize, n_images=n_images)
    return _measured(opened, test, search, labels, settings.progress, started)


def _measured(
    generator: OpenGenerator, test: TestImages, search: Search, labels: Any, progress: bool, started: float
) -> Reconstructed:
    found = invert(generator, test.pixels, search=search, labels=labels, value_range=(0, 1), progress=progress)
    score = _score(generator, test, found, search.bound, _counted(labels))
    return Reconstructed(score.with_(seconds=round(time.perf_counter() - started, 3)), test.pixels, found)


class Reconstruction:
    """The measure inside a training loop, on a fixed running set: `if (score := watch.at(step, G)) is not None: ...`.

    Args:
        images: the running set, any source; 200 images in the published protocol.
        final: the set for the final number; refused where it shares an image with the running one, which the
            choice of the best checkpoint has seen.
        every: steps between two measurements, 1,000 in the published protocol.
        **options: those of `reconstruct` but n_images. With resize=True every generator gets the images by the rule
            that its own checkpoint states.
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
        """The score where `step` is a multiple of `every`, else None."""
        return self.compute(generator) if whole("step", step, 0) % self.every == 0 else None

    def compute(self, generator: Any) -> Score:
        """The score of the running set."""
        return self._of(self.images, generator)

    def compute_final(self, generator: Any) -> Score:
        """The score of the final set. Raises OptionError where there is none."""
        if self.final_images is None:
            raise OptionError("Reconstruction: expected final images, got none; give final= beside the running ones")
        return self._of(self.final_images, generator)

    def _of(self, test: TestImages, generator: Any) -> Score:
        started = time.perf_counter()
        opened = open_generator(generator, self._device, value_range=self._range)
        if self._resize:
            test = resized(test, opened)
        require_fit(tuple(test.pixels.shape[1:]), opened)
        return _measured(opened, test, self._search, self._labels, self._progress, started).score


def _options(options: dict[str, Any]) -> tuple[Search, Settings]:
    """The search, and how images are read. Raises OptionError for a keyword of neither."""
    search = options.pop("search", None)
    asked = Search.of(search, {name: value for name, value in options.items() if name not in READING})
    return asked, reading({name: value for name, value in options.items() if name in READING})


def _counted(labels: Any) -> Any:
    """Labels as a protocol keeps them: the one of all images, or how many images each has."""
    if labels is None or isinstance(labels, str):
        return labels
    values, counts = torch.as_tensor(labels).unique(return_counts=True)
    if len(values) == 1:
        return int(values[0])
    return {str(value): count for value, count in zip(values.tolist(), counts.tolist(), strict=True)}


def _score(generator: OpenGenerator, test: TestImages, found: Inversion, bound: float | None, labels: Any) -> Score:
    """Of what was found; `bound` is what the user asked for."""
    result, entry, search = summarised(found.errors), METRICS["reconstruction"], found.search
    hidden = {"batch_size", *(() if search.perceptual else ("perceptual_weight",))}
    hidden |= set() if METHODS[search.method].pooled else {"pool"}
    asked = {name.name: getattr(search, name.name) for name in fields(search) if name.name not in hidden}
    perceptual = search.perceptual if isinstance(search.perceptual, (str, type(None))) else "own"
    falling = int((~found.converged).sum())
    slow = METHODS[search.method].tolerance and falling > SLOW * len(found.errors) and search.method != "xiang-li"
    told = f"{falling} of {len(found.errors)} images were still improving after {search.steps} steps; give --steps more"
    own = generator.latent_bound
    wide = f"the latents were searched in [-{bound:g}, {bound:g}], and the generator says " if bound is not None else ""
    apart = [f"{wide}[-{own:g}, {own:g}]; leave --bound out"] if wide and own not in (None, bound) else []
    return Score(
        entry.name,
        result.value,
        entry.better,
        spread=result.spread,
        n_real=len(found.errors),
        protocol={
            "features": "pixels",
            "resize": test.resize,
            **generator.describe(),
            **asked,
            "perceptual": perceptual,
            "labels": labels,
            **result.protocol,
            "n_converged": len(found.errors) - falling,
            "passes_forward": found.passes.forward,
            "passes_gradient": found.passes.gradient,
            "device": str(generator.device),
            "torch": torch.__version__,
        },
        warnings=[*test.warnings, *generator.warnings, *([told] if slow else []), *apart],
        skipped=test.skipped,
        raw=result.value,
    )
