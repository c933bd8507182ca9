"""Resize images and convert their channels as a generator needs them: for its training, and for test images.

The shorter side is resized by antialiased bilinear, then the centre is cut out, both as in pytorch/examples. An image
of the right size is left alone. Checkpoints of reference_models state this rule by the value of RESIZE.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from ganmetrics.images.base import ImageSource, IndexedSource, Picture, Stack, StreamSource

RESIZE = "shorter side by antialiased bilinear, centre cut out"


def sized(pixels: Tensor, height: int, width: int) -> Tensor:
    """uint8 `(..., C, H, W)` as `(..., C, height, width)`."""
    from torchvision.transforms.v2 import functional as transforms

    if tuple(pixels.shape[-2:]) == (height, width):
        return pixels
    resized = transforms.resize(pixels, [min(height, width)], antialias=True)
    return transforms.center_crop(resized, [height, width])


def coloured(pixels: Tensor, channels: int) -> Tensor:
    """uint8 `(..., C, H, W)` with 1 or 3 channels: grey is repeated, RGB becomes its luma."""
    from torchvision.transforms.v2 import functional as transforms

    if pixels.shape[-3] == channels:
        return pixels
    if channels == 1:
        return transforms.rgb_to_grayscale(pixels)
    return pixels.expand(*pixels.shape[:-3], channels, -1, -1)


def prepared(pixels: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """uint8 `(..., C, H, W)` as images of the shape (channels, height, width)."""
    return coloured(sized(pixels, *shape[1:]), shape[0])


def prepared_source(source: ImageSource, size: int) -> ImageSource:
    """The same images as squares of `size` pixels; each is prepared when it is read, in the reader's threads."""
    return Prepared(source, size) if isinstance(source, IndexedSource) else PreparedStream(source, size)


class Prepared(IndexedSource):
    """Images that can be read in any order, prepared."""

    def __init__(self, source: IndexedSource, size: int):
        super().__init__(source.name, source.count)
        self.parallel, self.problem, self.is_part = source.parallel, source.problem, source.is_part
        self.take_after(source)
        self._source, self._size = source, size

    def where(self, index: int) -> str:
        return self._source.where(index)

    def read(self, index: int) -> Picture:
        picture = self._source.read(index)
        return replace(picture, pixels=sized(picture.pixels, self._size, self._size))

    def fingerprint(self) -> str | None:
        """Of the images before they are prepared; the size is part of the protocol."""
        return self._source.fingerprint()

    def part(self, start: int, stop: int) -> IndexedSource:
        return Prepared(self._source.part(start, stop), self._size)


class PreparedStream(StreamSource):
    """Images that can only be read in order, prepared."""

    def __init__(self, source: ImageSource, size: int):
        super().__init__(source.name, source.n_images)
        self.take_after(source)
        self._source, self._size = source, size

    def stacks(self, batch_size: int) -> Iterator[Stack]:
        assert isinstance(self._source, StreamSource)
        for stack in self._source.stacks(batch_size):
            yield replace(stack, pixels=sized(stack.pixels, self._size, self._size))

    def fingerprint(self) -> str | None:
        return self._source.fingerprint()

    def part(self, start: int, stop: int) -> ImageSource | None:
        part = self._source.part(start, stop)
        return None if part is None else prepared_source(part, self._size)
