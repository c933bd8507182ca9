"""Held-out images for reconstruction: reading, resizing to the generator, and splitting into disjoint sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.features.pixels import Pixels
from ganmetrics.generators import OpenGenerator
from ganmetrics.generators.preparation import RULES, rule_of
from ganmetrics.images import read_batches
from ganmetrics.measurement.remarks import summary_remarks
from ganmetrics.measurement.settings import Settings
from ganmetrics.metrics.inversion.targets import as_targets, require_fit
from ganmetrics.validation import whole

READING = {"value_range", "layout", "data_root", "num_workers", "on_error", "n_samples", "device", "progress",
           "include", "exclude"}  # fmt: skip


@dataclass(frozen=True)
class TestImages:
    """Images to reconstruct, with warnings and skipped images from reading.

    Attributes:
        pixels: `(N, C, H, W)`, uint8, or floating point in [0, 1].
        resize: the rule by which they were resized, or None.
        choice: the patterns by which they were chosen, by option, "include" or "exclude".
    """

    __test__ = False  # pytest would collect a class of this name
    pixels: Tensor
    resize: str | None = None
    warnings: Sequence[str] = ()
    skipped: Sequence[Mapping[str, str]] = ()
    choice: Mapping[str, Sequence[str]] = field(default_factory=dict)


def reading(options: Mapping[str, Any]) -> Settings:
    """Settings for reading, from the keywords in READING. Raises OptionError for any other keyword."""
    if unknown := sorted(set(options) - READING):
        raise OptionError(f"unknown option {unknown[0]!r}; expected some of {', '.join(sorted(READING))}")
    return Settings.of(None, {**options, "features": Pixels(torch.device("cpu"))})


def read_test_images(
    source: Any,
    generator: OpenGenerator | None,
    settings: Settings,
    *,
    resize: bool = False,
    n_images: int | None = None,
) -> TestImages:
    """Read a source as images to reconstruct. Floating-point arrays keep their exact values unless `resize` is set.

    Without a generator nothing is resized; call `resized` later.

    Raises OptionError for images of another shape than the generator's, SourceError and ImageError for unreadable ones.
    """
    n_images = None if n_images is None else whole("--n-images", n_images, 1)
    rule = rule_of(generator) if resize and generator is not None else None
    if isinstance(source, (Tensor, np.ndarray)) and not resize and settings.layout is None:
        shape = None if generator is None else generator.image_shape
        pixels = as_targets(source, value_range=settings.value_range, like=shape)[:n_images]
        settings.refuse_selection(None, "is an array")
        if generator is not None:
            require_fit(tuple(pixels.shape[1:]), generator)
        return TestImages(pixels)
    opened, parts, count = settings.open(source), [], 0
    reader = read_batches(opened, 256, num_workers=settings.num_workers, on_error=settings.on_error)
    for stack in (stack for batch in reader for stack in batch):
        if rule is not None and generator is not None:
            stack = RULES[rule](stack, generator.image_shape)
        elif generator is not None:
            require_fit(tuple(stack.shape[1:]), generator)
        parts.append(stack.cpu())
        count += len(stack)
        if n_images is not None and count >= n_images:
            break
    remarks = summary_remarks(reader.summary, "test images")
    how = rule or settings.preparation.get("prepare")
    return TestImages(_one_size(parts)[:n_images], how, remarks, reader.summary.skipped, opened.selection.to_dict())


def resized(images: TestImages, generator: OpenGenerator) -> TestImages:
    """The images resized by the rule that the generator's checkpoint states. Raises OptionError if it states none."""
    rule = rule_of(generator)
    return replace(images, pixels=RULES[rule](images.pixels, generator.image_shape), resize=rule)


def running_and_final(
    source: Any, *, n_running: int = 200, n_final: int = 2000, seed: int = 0, **options: Any
) -> tuple[Tensor, Tensor]:
    """Two disjoint sets `(n, C, H, W)` of one source, shuffled by `seed`; duplicate images are used once.

    options: how images are read, the keywords in READING.
    Raises OptionError if the source has too few different images.
    """
    sizes = whole("n_running", n_running, 1), whole("n_final", n_final, 1)
    pixels = read_test_images(source, None, reading(options)).pixels
    # Reversed, so that each image keeps the index of its first copy.
    first = {key: i for i, key in reversed(list(enumerate(keys_of(pixels))))}
    different = pixels[sorted(first.values())]
    if len(different) < sum(sizes):
        raise OptionError(
            f"running_and_final: expected at least {sum(sizes)} different images ({sizes[0]} running, {sizes[1]} "
            f"final), got {len(different)}; ask for fewer"
        )
    shuffled = different[torch.randperm(len(different), generator=torch.Generator().manual_seed(seed))]
    return shuffled[: sizes[0]], shuffled[sizes[0] : sum(sizes)]


def require_disjoint(running: Tensor, final: Tensor) -> None:
    """Raises OptionError if two sets of images share an image."""
    shared = len(set(keys_of(running)) & set(keys_of(final)))
    if shared:
        raise OptionError(
            f"running and final images: {shared} are the same, and the running ones choose the checkpoint that the "
            "final ones judge; give disjoint sets (running_and_final makes them of one source)"
        )


def _one_size(parts: Sequence[Tensor]) -> Tensor:
    """The parts as one tensor. Raises OptionError for images of several sizes."""
    shapes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(shapes) > 1:
        raise OptionError(f"test images: expected one size and one number of channels, got {shapes[0]}, {shapes[1]}")
    return torch.cat(list(parts))


def keys_of(pixels: Tensor) -> list[bytes]:
    """The bytes of each image of `(N, ...)`, to find equal images."""
    return [image.numpy().tobytes() for image in pixels.contiguous()]
