"""What counts as the class of an image, in `dataset.json` and in the items of datasets and loaders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Subset

from ganmetrics.images.items import CLASSES
from ganmetrics.printable import printable


def class_of(label: Any) -> str | None:
    """A class as text: of a name, a whole number, or a vector with a single 1 among zeros; None for anything else."""
    label = _plain(label)
    if isinstance(label, str):
        return printable(label) or None
    if isinstance(label, (int, float)):
        return str(int(label)) if math.isfinite(label) and label == int(label) else None
    if not isinstance(label, Sequence) or isinstance(label, bytes) or not len(label):
        return None
    if len(label) == 1:
        return class_of(label[0])
    ones = [i for i, value in enumerate(label) if value == 1]
    is_one_hot = len(ones) == 1 and all(isinstance(value, (int, float)) and value in (0, 1) for value in label)
    return str(ones[0]) if is_one_hot else None


def classes_of(labels: Any, n: int) -> tuple[str | None, ...]:
    """The class of each of n images of a batch, or of the one image of an item; empty unless each has a label."""
    labels = _plain(labels)
    if n == 1:
        return (class_of(labels),)
    if not isinstance(labels, Sequence) or isinstance(labels, (str, bytes)) or len(labels) != n:
        return ()
    return tuple(map(class_of, labels))


def _plain(label: Any) -> Any:
    return label.tolist() if isinstance(label, (Tensor, np.ndarray, np.generic)) else label


def names_of(dataset: Any) -> Sequence[str]:
    """The names of a dataset's classes, by number: `classes` of torchvision's, a `ClassLabel` of Hugging Face's.

    Empty if there are none, if a `target_transform` may have changed the numbers, or if each name begins with its
    number, as MNIST's "0 - zero".
    """
    while isinstance(dataset, (Subset, DataLoader)):
        dataset = dataset.dataset
    if isinstance(dataset, ConcatDataset):
        found = [names_of(part) for part in dataset.datasets]
        return found[0] if all(names == found[0] for names in found) else ()
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        keys = [key for key in CLASSES if key in features]
        names = getattr(features[keys[0]], "names", None) if len(keys) == 1 else None
    else:
        names = getattr(dataset, "classes", None)
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return ()
    if getattr(dataset, "target_transform", None) is not None or len(set(names)) < len(names):
        return ()
    is_numbered = all(name.startswith(f"{i} - ") for i, name in enumerate(names))
    return () if is_numbered else [printable(name) for name in names]


def named(labels: Sequence[str | None], names: Sequence[str]) -> tuple[str | None, ...]:
    """The labels with numbers replaced by the names that stand for them."""
    by_number = {str(i): name for i, name in enumerate(names)}
    return tuple(label if label is None else by_number.get(label, label) for label in labels)
