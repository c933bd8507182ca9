"""Slices of well-known datasets by name: `digits[0:100]`, `mnist:test`, `cifar10:train[0:5000]`.

They are read by scikit-learn and torchvision, and never downloaded. torchvision unpickles the files of CIFAR after
it has checked the MD5 sum of each; nothing else is unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganmetrics.errors import SourceError
from ganmetrics.images.arrays import ArraySource
from ganmetrics.images.base import Extent, PixelRule
from ganmetrics.images.classes import Classes
from ganmetrics.printable import printable

ENVIRONMENT = "GANMETRICS_DATA"
SYNTAX = re.compile(r"(?P<name>[a-z0-9-]+)(:(?P<split>[a-z]+))?(\[(?P<start>\d*):(?P<stop>\d*)\])?", re.ASCII)


Loaded = tuple[Any, list[str], list[str]]


@dataclass(frozen=True)
class Known:
    """A dataset: `load(root, split)` returns pixels, classes and the names of classes by number, empty without names.

    Then its layout, splits and the folder of its files. Classes are names, or numbers as text.
    """

    load: Callable[[str, str], Loaded]
    layout: str
    splits: tuple[str, ...] = ("train", "test")
    files: str = ""


def _digits(root: str, split: str) -> Loaded:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.floor(digits.images * (255 / 16) + 0.5).astype(np.uint8)  # scans of 8 x 8 pixels in [0, 16]
    return pixels, [str(i) for i in digits.target], []


def _torchvision(
    kind: str, by_split: bool = False, targets: str = "targets", named: bool = False
) -> Callable[[str, str], Loaded]:
    def load(root: str, split: str) -> Loaded:
        from torchvision import datasets

        part = {"split": split} if by_split else {"train": split == "train"}
        dataset = getattr(datasets, kind)(root, download=False, **part)
        numbers = np.asarray(getattr(dataset, targets)).tolist()
        names = list(dataset.classes) if named else []
        return dataset.data, [names[i] if names else str(i) for i in numbers], names

    return load


DATASETS = {
    "digits": Known(_digits, "NHW", splits=()),
    "mnist": Known(_torchvision("MNIST"), "NHW", files="MNIST/raw"),
    "fashion-mnist": Known(_torchvision("FashionMNIST", named=True), "NHW", files="FashionMNIST/raw"),
    "cifar10": Known(_torchvision("CIFAR10", named=True), "NHWC", files="cifar-10-batches-py"),
    "cifar100": Known(_torchvision("CIFAR100", named=True), "NHWC", files="cifar-100-python"),
    "svhn": Known(_torchvision("SVHN", by_split=True, targets="labels"), "NCHW", files="train_32x32.mat"),
}


def is_dataset_name(text: str) -> bool:
    """Whether the text starts with the name of a dataset; what follows may be malformed."""
    return re.split(r"[:\[]", text.lower(), maxsplit=1)[0] in DATASETS


def open_dataset(text: str, rule: PixelRule, data_root: str | os.PathLike[str] | None = None) -> ArraySource:
    """The images of NAME, NAME:train, NAME:test, each with an optional [start:stop]; NAME alone is the training part.

    Raises SourceError for a malformed name, a slice that is empty or past the end, and data that is absent.
    """
    match = SYNTAX.fullmatch(text.lower())
    if match is None or match["name"] not in DATASETS:
        raise SourceError(
            f"{printable(text)}: expected NAME, NAME:train or NAME:test with an optional slice, "
            f"such as mnist:test[0:1000]; NAME is one of {', '.join(DATASETS)}"
        )
    dataset = DATASETS[match["name"]]
    split = _split(match, dataset)
    name = f"{match['name']}:{split}" if split else match["name"]
    images, labels, names = _load(name, dataset, split, data_root)
    start, stop = _bounds(match, len(images), name)
    name = name if (start, stop) == (0, len(images)) else f"{name}[{start}:{stop}]"
    source = ArraySource(name, images[start:stop], PixelRule(rule.value_range, dataset.layout, rule.quantize))
    source.extents = [Extent((match["name"], split), start, stop)]
    source.classes = Classes(labels[start:stop], "the dataset", names=names)
    return source


def _split(match: re.Match[str], dataset: Known) -> str:
    split = match["split"]
    if split is None:
        return dataset.splits[0] if dataset.splits else ""
    if split not in dataset.splits:
        parts = "the parts " + " and ".join(dataset.splits) if dataset.splits else "no parts, only slices"
        raise SourceError(f"{match['name']}:{split}: {match['name']} has {parts}; got {split}")
    return split


def _bounds(match: re.Match[str], count: int, name: str) -> tuple[int, int]:
    start, stop = int(match["start"] or 0), int(match["stop"] or count)
    if not start < stop <= count:
        raise SourceError(f"{name}[{start}:{stop}]: expected 0 <= start < stop <= {count}, the number of images")
    return start, stop


def _load(name: str, dataset: Known, split: str, data_root: str | os.PathLike[str] | None) -> Loaded:
    root = data_root if data_root is not None else os.environ.get(ENVIRONMENT)
    if dataset.files and not root:
        raise SourceError(f"{name}: say where its files lie with --data-root FOLDER (data_root=, or {ENVIRONMENT})")
    folder = os.path.expanduser(os.fspath(root or ""))
    try:
        return dataset.load(folder, split)
    except Exception as error:  # torchvision raises many kinds for absent or damaged files, even AssertionError
        expected = printable(os.path.join(os.path.abspath(folder), dataset.files))
        reason = " ".join(str(error).split("You can use")[0].split()) or type(error).__name__
        raise SourceError(
            f"{name}: not found or not readable at {expected} ({printable(reason)}); name the folder that torchvision "
            f"filled with --data-root (data_root=, or {ENVIRONMENT})"
        ) from error
