"""Images in `.npy` and `.npz` files: one array, or parts such as `samples_*.npz` that are one source together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ganmetrics.errors import SourceError
from ganmetrics.images import fingerprint, npy
from ganmetrics.images.arrays import ArraySource
from ganmetrics.images.base import Extent, PixelRule, Stack, StreamSource
from ganmetrics.images.classes import Classes
from ganmetrics.images.names import some
from ganmetrics.images.patterns import Selection
from ganmetrics.printable import printable

STATISTICS = {"mu", "sigma"}
ARRAYS = (".npy", ".npz")
KEYED = re.compile(r"(?P<path>.*\.npz):(?P<key>.*)", re.IGNORECASE | re.DOTALL)
# How arrays of images and of their classes are called side by side: guided-diffusion, MedMNIST, Keras and others.
PAIRS = (("arr_0", "arr_1"), ("images", "labels"), ("image", "label"), ("samples", "labels"), ("x", "y"), ("X", "y"))


def split_key(text: str) -> tuple[str, str | None]:
    """`data.npz:train_images` as path and key; any other text, or the name of a file, is a path without key."""
    match = KEYED.fullmatch(text)
    return (text, None) if match is None or os.path.exists(text) else (match["path"], match["key"])


@dataclass(frozen=True)
class ArrayFile:
    """An array of images in a file: that of an `.npy`, or one of an `.npz` with its key. Nothing is read but headers.

    Attributes:
        labels: the array beside it with the class of each image, if there is one.
    """

    name: str
    path: str
    key: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    labels: str | None = None

    def load(self) -> np.ndarray:
        """The array, memory-mapped unless it is compressed. Raises SourceError."""
        return npy.mapped_npy(self.path) if self.key is None else npy.array_in(self.path, self.key)

    def images(self, rule: PixelRule) -> ArraySource:
        """The images alone. Raises SourceError."""
        return ArraySource(self.name, self.load(), rule)

    def extent(self, start: int, stop: int) -> Extent:
        """Images of this array, by its place on disk."""
        status = os.stat(self.path)
        return Extent((status.st_dev, status.st_ino, self.key), start, stop)

    def classes(self) -> Classes:
        """From the array beside the images."""
        if self.labels is None:
            return Classes()
        names = npy.array_in(self.path, self.labels).reshape(-1).tolist()
        return Classes([printable(str(name)) for name in names], f"array {printable(self.labels)}")


def find_array(path: str, key: str | None = None) -> ArrayFile:
    """The array of images of a file; of an `.npz` without a key its `arr_0`, or its only array with 3 or 4 axes.

    Raises SourceError if there is no such array or several, for a file of statistics, and if pickle is needed.
    """
    name = printable(path)
    if not path.lower().endswith(".npz"):
        shape, _, dtype = npy.npy_header(path)
        npy.refuse_pickle(dtype, name)
        return ArrayFile(name, path, None, shape, dtype)
    headers = {key: header for key, header in npy.headers_in(path).items() if header is not None}
    chosen = _choose({key: header[0] for key, header in headers.items()}, name) if key is None else key
    if chosen not in headers:
        raise SourceError(f"{name}: has no array {printable(chosen)!r}; it holds {_listed(headers)}")
    shape, _, dtype = headers[chosen]
    if len(shape) not in (3, 4):
        raise SourceError(
            f"{name}: array {printable(chosen)!r} has the shape {shape}, and images have 3 or 4 axes; it holds "
            f"{_listed(headers)}"
        )
    npy.refuse_pickle(dtype, f"{name}: array {printable(chosen)!r}")
    stated = name if key is None else f"{name}:{printable(key)}"
    return ArrayFile(stated, path, chosen, shape, dtype, _labels(chosen, headers))


def _choose(shapes: dict[str, tuple[int, ...]], name: str) -> str:
    candidates = [key for key, shape in shapes.items() if len(shape) in (3, 4)]
    if "arr_0" in candidates:
        return "arr_0"
    if len(candidates) == 1:
        return candidates[0]
    if not candidates and shapes.keys() >= STATISTICS:
        raise SourceError(f"{name}: holds statistics (mu and sigma), not images; this use needs the images themselves")
    keys = some([f"{key} {shape}" for key, shape in shapes.items()], limit=12) or "no array"
    way = "save them again with numpy.savez(file, images)"
    if candidates:
        way = f"name one, as in {name}:{printable(candidates[0])}"
    raise SourceError(
        f"{name}: expected images in an array arr_0, or in the only array with 3 or 4 axes; found {keys}; {way}"
    )


def _listed(headers: dict[str, npy.Header]) -> str:
    return some([f"{key} {header[0]}" for key, header in headers.items()], limit=12) or "no array"


def _labels(key: str, headers: dict[str, npy.Header]) -> str | None:
    """The array with the class of each image: numbers or names, under the name that goes with that of the images."""
    n = headers[key][0][0]
    for images, labels in PAIRS:
        beside = [key.removesuffix(images) + labels] if key.endswith(images) else []
        beside += [labels + key.removeprefix(images)] if key.startswith(images) else []
        for other in beside:
            if other in headers and headers[other][0] in ((n,), (n, 1)) and headers[other][2].kind in "iuU":
                return other
    return None


def open_array(path: str, rule: PixelRule, key: str | None = None) -> ArraySource:
    """The images of one `.npy` or `.npz`. Raises SourceError."""
    file = find_array(path, key)
    source = file.images(rule)
    source.classes, source.extents = file.classes(), [file.extent(0, source.n_images or 0)]
    return source


def open_parts(name: str, paths: Sequence[str], rule: PixelRule, selection: Selection, folder: str = "") -> Parts:
    """Files as one source, in order; their names, below `folder`, are what a selection chooses by.

    paths: `data.npz:key` takes an array of an `.npz` by its key.
    Raises SourceError.
    """
    taken, notes = selection.chosen([os.path.relpath(path, folder) if folder else path for path in paths], name)
    parts = Parts(name, [find_array(*split_key(paths[index])) for index in taken], rule)
    parts.selection, parts.remarks = selection, notes
    return parts


class Parts(StreamSource):
    """Images of several array files, in order, as one source; each file is opened when its images are read.

    slices: of each file the images that are taken, (start, stop); None takes all.
    Raises SourceError unless all have one shape and type.
    """

    def __init__(
        self,
        name: str,
        files: Sequence[ArrayFile],
        rule: PixelRule,
        slices: Sequence[tuple[int, int]] | None = None,
    ):
        first = files[0]
        single = len(first.shape) == 3 and rule.layout in ("NCHW", "NHWC")  # each file is one image
        for file in files:
            _require_alike(name, first, file, skip=0 if single else 1)
        self._slices = slices or [(0, 1 if single else file.shape[0]) for file in files]
        n = sum(stop - start for start, stop in self._slices)
        # The layout is that of all parts together: three grey images alone could be one image of three channels.
        shape = (n, *first.shape) if single else (n, *first.shape[1:])
        layout = ArraySource(name, np.broadcast_to(np.empty((), first.dtype), shape), rule).rule.layout
        self._files, self._rule = list(files), replace(rule, layout=layout)
        super().__init__(name, n)
        self.extents = [file.extent(*own) for file, own in zip(self._files, self._slices, strict=True)]

    def find_classes(self) -> Classes:
        """Those of all parts, if each has some."""
        found = [file.classes() for file in self._files]
        slices = zip(found, self._slices, strict=True)
        labels = [label for one, (start, stop) in slices for label in (one.labels or ())[start:stop]]
        return Classes(labels, found[0].origin) if len(labels) == self.n_images else Classes()

    def fingerprint(self) -> str:
        """Over those of all files, in order."""
        return fingerprint.of_images(file.images(self._rule).fingerprint().encode() for file in self._files)

    def stacks(self, batch_size: int) -> Iterator[Stack]:
        """Slices of the files, in order."""
        for file, (start, stop) in zip(self._files, self._slices, strict=True):
            yield from file.images(self._rule).part(start, stop).stacks(batch_size)

    def part(self, start: int, stop: int) -> Parts:
        """Slices of the same files."""
        taken, before = [], 0
        for file, (low, high) in zip(self._files, self._slices, strict=True):
            own = max(low, start - before + low), min(high, stop - before + low)
            before += high - low
            if own[0] < own[1]:
                taken.append((file, own))
        part = Parts(self.name, [file for file, _ in taken], self._rule, [own for _, own in taken])
        part.is_part = True
        return part


def _require_alike(name: str, first: ArrayFile, other: ArrayFile, *, skip: int) -> None:
    """Raises SourceError unless the images of two files have one shape and type; `skip` axes do not count."""
    kinds = [(len(file.shape), file.shape[skip:], file.dtype.newbyteorder("=")) for file in (first, other)]
    if not all(file.shape for file in (first, other)) or kinds[0] != kinds[1]:
        raise SourceError(
            f"{name}: expected parts of one shape and type, got {first.shape} {first.dtype} in {first.name} and "
            f"{other.shape} {other.dtype} in {other.name}"
        )
    if 0 in other.shape:
        raise SourceError(f"{other.name}: holds no image, its shape is {other.shape}")
