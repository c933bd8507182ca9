"""The images to reproduce, and their labels: of the generator's size, channels and kinds, or one clear line."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import OptionError, SourceError
from ganmetrics.generators.opened import OpenGenerator
from ganmetrics.images import to_uint8
from ganmetrics.images.base import PixelRule

OPTIMISE = "optimise"
KINDS = {1: "grey", 3: "RGB"}  # by channels


def as_targets(
    images: Any, *, value_range: tuple[float, float] | None = None, like: tuple[int, int, int] | None = None
) -> Tensor:
    """`(N, C, H, W)` uint8, or [0, 1] in floating point without any rounding to bytes; `like` is the shape hoped for.

    Raises SourceError and ImageError for what is no image batch, has no stated range or a value outside of it.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        images = torch.from_numpy(np.ascontiguousarray(images))
    layout = "NCHW" if tuple(getattr(images, "shape", ()))[1:] == like else None
    pixels = to_uint8(images, value_range=value_range, layout=layout, where="test images")  # its checks, too
    if not len(pixels):
        raise SourceError("test images: expected at least one, got 0")
    if not (isinstance(images, Tensor) and images.is_floating_point() and images.shape == pixels.shape):
        return pixels
    low, high = PixelRule.checked(value_range, None, "round").value_range or (0.0, 1.0)
    return (images.detach() - low) / (high - low)


def require_fit(shape: tuple[int, ...], generator: OpenGenerator) -> None:
    """Raises OptionError for targets of another size or other channels than the generator makes.

    Targets are grey or RGB, as every source gives them, so a generator of other channels fits none.
    """
    (channels, height, width), (own, own_height, own_width) = shape, generator.image_shape
    if own not in KINDS:
        raise OptionError(
            f"generator {generator.name}: expected images of 1 channel (grey) or 3 (RGB), as test images are read, it "
            f"makes {own} channels; give one whose forward returns grey or RGB alone"
        )
    if (channels, height, width) != generator.image_shape:
        raise OptionError(
            f"test images are {width}x{height} {KINDS[channels]}, and generator {generator.name} makes "
            f"{own_width}x{own_height} {KINDS[own]}: prepare them as its training images were (--resize where the "
            "generator's checkpoint says how)"
        )


def as_labels(labels: Any, generator: OpenGenerator, n: int) -> tuple[Tensor | None, int]:
    """Labels `(n,)` int64, and the number of classes where they are to be searched instead.

    Raises OptionError for labels that are missing, too many, of no such class, or for a generator that takes none.
    """
    classes = generator.n_classes
    if classes is None:
        if labels is not None:
            raise OptionError(f"labels: generator {generator.name} says no n_classes, so it takes none; leave them out")
        return None, 0
    if labels is None:
        raise OptionError(
            f'generator {generator.name}: needs labels of {classes} classes; give labels= (one an image), or "optimise"'
        )
    if isinstance(labels, str):
        if labels != OPTIMISE:
            raise OptionError(f'labels: expected a class, one an image, or "optimise", got {labels!r}')
        return None, classes
    try:
        given = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        given = torch.zeros(0)
    given = given.expand(n) if given.ndim == 0 else given
    if given.is_floating_point() or given.shape != (n,) or int(given.min()) < 0 or int(given.max()) >= classes:
        raise OptionError(f"labels: expected {n} whole numbers from 0 to {classes - 1}, got {labels!r:.60}")
    return given.long(), 0
