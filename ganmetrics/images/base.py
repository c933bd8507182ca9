"""What a source of images is: something with a name that gives images one by one, or in a stream of stacks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ganmetrics.errors import ImageError, OptionError

if TYPE_CHECKING:
    from ganmetrics.images.jpeg import JpegDecoder

LAYOUTS = ("NHWC", "NCHW", "NHW")
QUANTIZE = ("round", "truncate")


@dataclass(frozen=True)
class Picture:
    """One decoded image: `pixels` uint8 `(C, H, W)` with C in {1, 3}, what was odd about it, and its file format."""

    pixels: Tensor
    notes: tuple[str, ...] = ()
    format: str | None = None


@dataclass(frozen=True)
class Stack:
    """Images that came together: `pixels` uint8 `(b, C, H, W)`, and for each note how many images it is about."""

    pixels: Tensor
    notes: tuple[tuple[str, int], ...] = ()
    formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class PixelRule:
    """What the caller states about arrays: the range of floats, the order of axes, how floats become bytes."""

    value_range: tuple[float, float] | None = None
    layout: str | None = None
    quantize: str = "round"

    @classmethod
    def checked(cls, value_range: Any, layout: str | None, quantize: str) -> PixelRule:
        """Raises OptionError for a range that is no pair low < high, and for an unknown layout or rounding."""
        if layout is not None and layout not in LAYOUTS:
            raise OptionError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
        if quantize not in QUANTIZE:
            raise OptionError(f"quantize: expected one of {', '.join(QUANTIZE)}, got {quantize!r}")
        return cls(None if value_range is None else _pair(value_range), layout, quantize)


def _pair(value_range: Any) -> tuple[float, float]:
    try:
        low, high = (float(bound) for bound in value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise OptionError(f"value_range: expected two numbers, low < high, such as (-1, 1), got {value_range!r}")
    return low, high


class ImageSource:
    """Images under a printable `name`; `n_images` is their count, or None where only the end of a stream tells."""

    remark: str | None = None  # what the score should say of the source as a whole
    labels: Sequence[str] | None = None  # the class of every image, in order, where the source knows them
    is_part = False  # of another source, whose reader is to judge the whole

    def __init__(self, name: str, n_images: int | None):
        self.name = name
        self.n_images = n_images

    def __len__(self) -> int:
        if self.n_images is None:
            raise TypeError(f"{self.name}: the number of images is not known before they are read")
        return self.n_images

    def __bool__(self) -> bool:
        return True

    def fingerprint(self) -> str | None:
        """Checksum of what all images are made of, in order: equal for equal images, wherever they lie.

        None for what cannot be read twice, or need not give the same images twice.
        """
        return None

    def part(self, start: int, stop: int) -> ImageSource | None:
        """Its images from `start` to before `stop`, called as they are here; None where all are to be read for some."""
        return None


class IndexedSource(ImageSource, ABC):
    """Images that can be read in any order. `parallel` says whether several threads may read at once."""

    parallel = True
    problem: ImageError | None = None  # one that is known before any image is read
    jpeg: JpegDecoder | None = None  # what decodes plain JPEG files in Pillow's place

    def __init__(self, name: str, n_images: int):
        super().__init__(name, n_images)
        self.count = n_images

    def where(self, index: int) -> str:
        """What to call image `index` in a message."""
        return f"{self.name}[{index}]"

    @abstractmethod
    def read(self, index: int) -> Picture:
        """Image `index`, 0 <= index < n_images. Raises ImageError when it cannot be read."""

    def part(self, start: int, stop: int) -> IndexedSource:
        return _Part(self, start, stop)


class _Part(IndexedSource):
    """Some consecutive images of another source."""

    is_part = True

    def __init__(self, of: IndexedSource, start: int, stop: int):
        super().__init__(of.name, stop - start)
        self.parallel, self.remark, self.problem = of.parallel, of.remark, of.problem
        self._of, self._start = of, start

    def where(self, index: int) -> str:
        return self._of.where(self._start + index)

    def read(self, index: int) -> Picture:
        return self._of.read(self._start + index)


class StreamSource(ImageSource, ABC):
    """Images that come in an order of their own, in stacks of any size."""

    @abstractmethod
    def stacks(self, batch_size: int) -> Iterator[Stack]:
        """All images once, in order; `batch_size` is how many the reader would like at a time."""
