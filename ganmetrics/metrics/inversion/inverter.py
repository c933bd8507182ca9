"""Latent inversion: searches, for many images at once, the latent from which a generator makes the most similar image.

Xiang & Li 2017 (arXiv:1704.03971, section 4) for the measure and the method `xiang-li`; all methods are in
`search.METHODS`. The result for an image depends on the generator, the image and the settings, never on its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ganmetrics.errors import OptionError
from ganmetrics.features import load_extractor
from ganmetrics.features.extractor import Options
from ganmetrics.generators import OpenGenerator, open_generator
from ganmetrics.metrics.inversion.descent import Found
from ganmetrics.metrics.inversion.objective import Objective, OnPass, Passes, Perceptual, squared_errors
from ganmetrics.metrics.inversion.search import METHODS, Search
from ganmetrics.metrics.inversion.starts import Pool, best_start, samples, zero
from ganmetrics.metrics.inversion.targets import as_labels, as_targets, require_fit
from ganmetrics.runtime.device import bar_is_off

BATCH = 512  # images searched together by default


@dataclass(frozen=True)
class Inversion:
    """The result of `invert`.

    Attributes:
        latents: `(N, *latent_shape)`.
        errors: `(N,)` float64, mean squared error over pixels and channels, images in [0, 1].
        reconstructions: `(N, C, H, W)` uint8.
        steps: `(N,)` passes with gradient of each image, summed over restarts.
        converged: `(N,)` whether the loss had stopped falling in the best restart of the image.
        labels: `(N, n_classes)` class probabilities if labels were searched, else None.
        search: the settings, with defaults filled in.
        passes: number of images through the generator without and with gradient; `passes.gradient` is the sum of
            `steps`.
    """

    latents: Tensor
    errors: Tensor
    reconstructions: Tensor
    steps: Tensor
    converged: Tensor
    labels: Tensor | None
    search: Search
    passes: Passes


def invert(
    generator: Any,
    images: Any,
    *,
    search: Search | None = None,
    labels: Any = None,
    value_range: tuple[float, float] | None = None,
    generator_range: tuple[float, float] | None = None,
    device: str | torch.device | None = None,
    progress: bool = False,
    callback: OnPass | None = None,
    **options: Any,
) -> Inversion:
    """Search for the latent of each image.

    Args:
        generator: anything `open_generator` takes.
        images: `(N, C, H, W)` uint8, or floating point in `value_range`; an array or tensor of the generator's size.
        search: a Search; or give its fields as keywords (method, steps, restarts, prior_weight, bound, ...).
        labels: for a generator with `n_classes`: one class per image, or "optimise" to search them too, as a
            probability for each class.
        value_range: range of floating-point images, which are not rounded to bytes; uint8 is always 0 to 255.
        generator_range: range of the generator's images, if it does not state one.
        device: device of a generator that is given by name.
        progress: show a progress bar on stderr, if that is a terminal.
        callback: called after every pass with the indices of its images and their squared errors.
        **options: fields of `Search`.

    Raises:
        OptionError, StatisticsError, SourceError: one line with what was expected, what was given, and what to do.
    """
    settings = Search.of(search, options)
    opened = open_generator(generator, device, value_range=generator_range)
    targets = as_targets(images, value_range=value_range, like=opened.image_shape)
    require_fit(tuple(targets.shape[1:]), opened)
    class_labels, n_soft = as_labels(labels, opened, len(targets))
    with opened.measuring():
        return _Inverter(opened, settings.on(opened), n_soft, callback).all(targets, class_labels, progress)


class _Inverter:
    """Runs the `descend` of a method over batches and restarts."""

    def __init__(self, generator: OpenGenerator, search: Search, n_soft: int, callback: OnPass | None):
        self.generator, self.search, self.n_soft, self.callback = generator, search, n_soft, callback
        self.method = METHODS[search.method]
        self.passes = Passes()
        self.perceptual = _perceptual(search, generator)
        self._pool: Pool | None = None

    def all(self, targets: Tensor, labels: Tensor | None, progress: bool) -> Inversion:
        parts, start = [], 0
        self.bar = tqdm(total=len(targets), desc="inversion", unit="img", disable=bar_is_off(progress), leave=False)
        with self.bar as bar:
            for part in targets.split(self.search.batch_size or BATCH):
                part_labels = None if labels is None else labels[start : start + len(part)]
                try:
                    parts.append(self._batch(part, part_labels, start))
                except torch.OutOfMemoryError as error:
                    raise OptionError(
                        f"--block: {self.search.block} latents at once do not fit on {self.generator.device}; "
                        "use a smaller one, or a smaller --batch-size"
                    ) from error
                start += len(part)
                bar.update(len(part))
        joined = [torch.cat(column) for column in zip(*parts, strict=True)]
        x, errors, made, steps, converged = joined
        dim = self.generator.latent_dim
        soft = x[:, dim:].softmax(1) if self.n_soft else None
        z = x[:, :dim].unflatten(1, self.generator.latent_shape)
        return Inversion(z, errors, made, steps, converged, soft, self.search, self.passes)

    def _batch(self, targets: Tensor, labels: Tensor | None, first: int) -> tuple[Tensor, ...]:
        objective = self._objective(targets, labels, first)
        rows = torch.arange(len(targets), device=self.generator.device)
        best: Found | None = None
        steps = torch.zeros(len(targets), dtype=torch.long)
        for restart in range(self.search.restarts):
            start = self._start(objective, rows, restart)
            found = self.method.descend(objective, rows, start, self.search.limits)
            steps += found.steps
            best = found if best is None else _better(best, found)
        assert best is not None  # for the type checker: restarts is at least 1
        # Reported errors are of a pass without autocast.
        exact = self._objective(targets, labels, first, exact=True)
        made = exact.made(best.x, exact.labels).cpu()
        errors = squared_errors(made.double(), exact.targets.cpu().double())
        shown = (made * 255).round().clamp(0, 255).to(torch.uint8)
        return best.x.cpu(), errors, shown, steps, best.converged.cpu()

    def _objective(self, targets: Tensor, labels: Tensor | None, first: int, *, exact: bool = False) -> Objective:
        g = self.generator
        return Objective(
            g,
            as_unit(targets, g),
            labels=None if labels is None else labels.to(g.device),
            n_soft=self.n_soft,
            prior_weight=self.search.prior_weight,
            perceptual=self.perceptual,
            block=self.search.block or 1,
            autocast=self.search.dtype == "bfloat16" and not exact,
            on_pass=self._on_pass(first),
            passes=self.passes,
        )

    def _on_pass(self, first: int) -> OnPass | None:
        """Calls the callback and the bar, for a batch whose first image has this index."""
        if self.callback is None and self.bar.disable:
            return None

        def report(rows: Tensor, errors: Tensor) -> None:
            if self.callback is not None:
                self.callback(rows + first, errors)
            if not self.bar.disable:
                self.bar.set_postfix_str(f"{len(rows)} still searched", refresh=False)
                self.bar.update(0)

        return report

    def _start(self, objective: Objective, rows: Tensor, restart: int) -> Tensor:
        """Where a restart begins, `(n, dim)`."""
        if not self.method.pooled:
            if not restart:
                return zero(objective, len(rows))
            drawn, _ = samples(objective, self.search.pool, seed=self.search.seed, bound=self.search.bound)
            return drawn[restart].expand(len(rows), -1).clone()
        if self._pool is None:
            self._pool = Pool(objective, self.search.pool, seed=self.search.seed, bound=self.search.bound)
        return best_start(objective, self._pool, rows, restart)


def as_unit(targets: Tensor, generator: OpenGenerator) -> Tensor:
    """uint8 or [0, 1] on any device -> [0, 1] in the generator's dtype, on its device."""
    scale = 255 if targets.dtype == torch.uint8 else 1
    return targets.to(generator.device, generator.dtype) / scale


def _better(one: Found, other: Found) -> Found:
    lower = other.loss < one.loss
    return Found(
        torch.where(lower[:, None], other.x, one.x),
        torch.where(lower, other.loss, one.loss),
        other.steps,
        torch.where(lower, other.converged, one.converged),
    )


def _perceptual(search: Search, generator: OpenGenerator) -> Perceptual | None:
    if search.perceptual is None:
        return None
    extractor = load_extractor(search.perceptual, Options(device=generator.device, progress=False))
    return Perceptual(extractor, extractor.features_tap or extractor.taps[0], search.perceptual_weight)
