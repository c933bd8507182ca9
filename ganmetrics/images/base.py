"""The interface of image sources: a name, and images either by index or as a stream of stacks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ganmetrics.errors import ImageError, OptionError
from ganmetrics.images.classes import Classes
from ganmetrics.images.file_kinds import FileKind
from ganmetrics.images.fingerprint import of_images
from ganmetrics.images.names import extension
from ganmetrics.images.patterns import ALL
from ganmetrics.printable import brief

if TYPE_CHECKING:
    from ganmetrics.images.jpeg import JpegDecoder

LAYOUTS = ("NHWC", "NCHW", "NHW")
QUANTIZE = ("round", "truncate")


@dataclass(frozen=True)
class Picture:
    """One decoded image: `pixels` uint8 `(C, H, W)`, C in {1, 3}, notes on anything unusual, what its file tells.

    `label` is its class, if it came with the image.
    """

    pixels: Tensor
    notes: tuple[str, ...] = ()
    kind: FileKind | None = None
    label: str | None = None


@dataclass(frozen=True)
class Stack:
    """Images of one shape: `pixels` uint8 `(b, C, H, W)`, and for each note the number of images that it is about.

    `labels` are the classes of the images, None for one without; empty if none came with them.
    """

    pixels: Tensor
    notes: tuple[tuple[str, int], ...] = ()
    kinds: tuple[FileKind, ...] = ()
    labels: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class PixelRule:
    """How to read arrays, as stated by the caller: the range of floats, the order of axes, how floats become bytes."""

    value_range: tuple[float, float] | None = None
    layout: str | None = None
    quantize: str = "round"

    @classmethod
    def checked(cls, value_range: Any, layout: str | None, quantize: str) -> PixelRule:
        """A valid rule. Raises OptionError for a range that is not a pair low < high, an unknown layout or rounding."""
        if layout is not None and layout not in LAYOUTS:
            raise OptionError(f"layout: expected one of {', '.join(LAYOUTS)}, got {brief(layout)}")
        if quantize not in QUANTIZE:
            raise OptionError(f"quantize: expected one of {', '.join(QUANTIZE)}, got {brief(quantize)}")
        return cls(None if value_range is None else _pair(value_range), layout, quantize)


def _pair(value_range: Any) -> tuple[float, float]:
    try:
        low, high = (float(bound) for bound in value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise OptionError(f"value_range: expected two numbers, low < high, such as (-1, 1), got {brief(value_range)}")
    return low, high


@dataclass(frozen=True)
class Extent:
    """Images [start, stop) of an array that other sources may hold too; `of` identifies it."""

    of: Hashable
    start: int
    stop: int


class ImageSource:
    """Images under a printable `name`; `n_images` is their number, or None if it is only known after reading."""

    remarks: Sequence[str] = ()  # notes on the whole source, for the score
    about: Mapping[str, Any] | None = None  # what made the images, for the protocol of a score
    extents: Sequence[Extent] = ()  # the parts of arrays in files or of datasets that the images are
    selection = ALL  # which of its images were taken, by their names
    is_part = False  # of another source: whether that one gave enough images is checked elsewhere
    original: ImageSource | None = None  # the source whose images these are, prepared
    _classes: Classes | None = None

    def __init__(self, name: str, n_images: int | None):
        self.name = name
        self.n_images = n_images

    def __len__(self) -> int:
        if self.n_images is None:
            raise TypeError(f"{self.name}: the number of images is not known before they are read")
        return self.n_images

    @property
    def classes(self) -> Classes:
        """The class of every image, as far as it is known before the images are read."""
        if self.original is not None:
            return self.original.classes
        if self._classes is None:
            self._classes = self.find_classes()
        return self._classes

    @classes.setter
    def classes(self, found: Classes) -> None:
        self._classes = found

    def find_classes(self) -> Classes:
        """What `classes` is; called when it is first asked for."""
        return Classes()

    @property
    def labels(self) -> Sequence[str] | None:
        """The class of every image, in order; None if not known."""
        return self.classes.labels

    def may_bring_classes(self) -> bool:
        """Whether the images may come with classes when they are read, though none are known before."""
        return self.original is not None and self.original.may_bring_classes()

    def take_after(self, source: ImageSource) -> None:
        """Say the same of the images as the source whose images they are."""
        self.original, self.remarks, self.about = source, source.remarks, source.about
        self.selection = source.selection

    def __bool__(self) -> bool:
        return True  # Python would call `__len__`, which may raise

    def fingerprint(self) -> str | None:
        """Checksum of the contents of all images, in order: equal for equal images, wherever they are stored.

        None for a source that cannot be read twice, or may give other images the second time.
        """
        return None

    def part(self, start: int, stop: int) -> ImageSource | None:
        """Images [start, stop) under the same names; None where a slice cannot be read without reading everything."""
        return None


class IndexedSource(ImageSource, ABC):
    """Images that can be read in any order; `parallel`: whether several threads may read at the same time."""

    parallel = True
    problem: ImageError | None = None  # if one is known before any image is read
    jpeg: JpegDecoder | None = None  # decodes plain JPEG files instead of Pillow

    def __init__(self, name: str, n_images: int):
        super().__init__(name, n_images)
        self.count = n_images

    def where(self, index: int) -> str:
        """The name of image `index` in messages."""
        return f"{self.name}[{index}]"

    def naming(self) -> str:
        """Checksum of the extensions of all names, in order. A note says where one does not fit the file."""
        return of_images(extension(self.where(index)).encode() for index in range(self.count))

    @abstractmethod
    def read(self, index: int) -> Picture:
        """Image `index`, 0 <= index < n_images. Raises ImageError when it cannot be read."""

    def part(self, start: int, stop: int) -> IndexedSource:
        return _Part(self, start, stop)


class _Part(IndexedSource):
    """Some consecutive images of another source."""

    is_part = True

    def __init__(self, source: IndexedSource, start: int, stop: int):
        super().__init__(source.name, stop - start)
        self.parallel, self.remarks, self.problem = source.parallel, source.remarks, source.problem
        self._source, self._start = source, start

    def where(self, index: int) -> str:
        return self._source.where(self._start + index)

    def read(self, index: int) -> Picture:
        return self._source.read(self._start + index)


class StreamSource(ImageSource, ABC):
    """Images that can only be read in order, in stacks of any size."""

    @abstractmethod
    def stacks(self, batch_size: int) -> Iterator[Stack]:
        """All images once, in order; `batch_size` is the size of stack that the reader prefers."""
