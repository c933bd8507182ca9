"""What an item of a dataset, a loader or an iterable holds: images, and perhaps their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ganmetrics.errors import SourceError
from ganmetrics.printable import name_of

IMAGES = ("image", "images", "img", "pixel_values", "jpg", "jpeg", "png", "webp", "x")  # usual keys in a mapping
CLASSES = ("label", "labels", "cls", "y")


@dataclass(frozen=True)
class Taken:
    """The images of an item as they are, and their classes or None.

    `note` says which keys were used, and `problem` why there are no classes though there may be.
    """

    images: Any
    classes: Any = None
    note: str | None = None
    problem: str = ""


def is_array(item: Any) -> bool:
    """Whether an object is a tensor or a NumPy array."""
    return isinstance(item, Tensor | np.ndarray)


def taken(item: Any, where: str) -> Taken:
    """The images of an item that may carry classes: `(images, classes)`, or a mapping with images under a usual key.

    Raises SourceError for a mapping without images, or with images under several of these keys.
    """
    if isinstance(item, Mapping):
        return _of_mapping(item, where)
    if isinstance(item, tuple | list) and len(item):
        return Taken(item[0], item[1] if len(item) == 2 else None)
    return Taken(item)


def _of_mapping(item: Mapping[Any, Any], where: str) -> Taken:
    present = [key for key in IMAGES if key in item]
    keys = [key for key in present if _looks_like_images(item[key])]
    keys = keys or [key for key in present if key != "x"][:1]  # "x" may be anything
    if not keys:
        known, there = ", ".join(IMAGES), ", ".join(map(name_of, item)) or "nothing"
        raise SourceError(f"{where}: expected a dict with the images under one of {known}; it has {there}")
    if len(keys) > 1:
        raise SourceError(
            f"{where}: holds images under {' and '.join(keys)}; say which are meant by handing over those alone, "
            f"such as [(item[{keys[0]!r}], item['label']) for item in dataset]"
        )
    images, classes = item[keys[0]], [key for key in CLASSES if key in item]
    note = f"taken from {keys[0]!r}, "
    if len(classes) > 1:
        problem = f"{' and '.join(map(repr, classes))} may hold them"
        return Taken(images, note=f"{note}no classes: {problem}", problem=problem)
    if not classes:
        return Taken(images, note=f"{note}no classes")
    return Taken(images, item[classes[0]], f"{note}classes from {classes[0]!r}")


def _looks_like_images(value: Any) -> bool:
    if isinstance(value, tuple | list) and len(value):
        value = value[0]
    return isinstance(value, Image.Image) or (is_array(value) and value.ndim > 1)
