"""Checks of the images to reproduce and their labels: they must fit the generator's size, channels and classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import OptionError, SourceError
from ganmetrics.generators.opened import OpenGenerator
from ganmetrics.images import to_uint8
from ganmetrics.images.base import PixelRule
from ganmetrics.printable import brief

OPTIMISE = "optimise"
KINDS = {1: "grey", 3: "RGB"}  # by channels


def as_targets(
    images: Any, *, value_range: tuple[float, float] | None = None, like: tuple[int, int, int] | None = None
) -> Tensor:
    """`(N, C, H, W)` uint8, or floating point in [0, 1], not rounded to bytes.

    like: the generator's image shape (C, H, W); an array of that shape is read as NCHW.

    Raises SourceError and ImageError for what is not a batch of images, has no stated range, or a value outside of it.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        images = torch.from_numpy(np.ascontiguousarray(images))
    layout = "NCHW" if tuple(getattr(images, "shape", ()))[1:] == like else None
    pixels = to_uint8(images, value_range=value_range, layout=layout, where="test images")  # also for its checks
    if not len(pixels):
        raise SourceError("test images: expected at least one, got 0")
    if not (isinstance(images, Tensor) and images.is_floating_point() and images.shape == pixels.shape):
        return pixels
    low, high = PixelRule.checked(value_range, None, "round").value_range or (0.0, 1.0)
    return (images.detach() - low) / (high - low)


def require_fit(shape: tuple[int, ...], generator: OpenGenerator) -> None:
    """Raises OptionError if targets have another size or other channels than the generator's images.

    Targets are always grey or RGB, so a generator with other channels fits no target.
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
    """(labels `(n,)` int64 or None, number of classes if labels are searched, else 0).

    Raises OptionError if labels are missing, of a wrong number, no known class, or not used by the generator.
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
            raise OptionError(f'labels: expected a class, one an image, or "optimise", got {brief(labels)}')
        return None, classes
    try:
        values = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        values = torch.zeros(0)
    values = values.expand(n) if values.ndim == 0 else values
    whole = not values.is_floating_point() and values.shape == (n,)
    if not whole or int(values.min()) < 0 or int(values.max()) >= classes:
        raise OptionError(f"labels: expected {n} whole numbers from 0 to {classes - 1}, got {brief(labels)}")
    return values.long(), 0
