"""Pictures for the page: read again where a source allows it, else kept small while it was read; PNG or JPEG inside."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganmetrics.errors import ImageError
from ganmetrics.images.base import IndexedSource
from ganmetrics.images.files import FileSource
from ganmetrics.measurement.side import Side
from ganmetrics.printable import printable

KEPT = 48  # longest side of a picture kept from a stream
SHOWN = 96  # and of one on the page, in its own pixels
LOSSLESS = 48 * 48  # pixels up to which a picture is a PNG
ACROSS = 80  # about how wide a single picture is shown, in CSS pixels


@dataclass(frozen=True)
class Shown:
    """A picture on the page: its data, the width in CSS pixels, whether pixels stay squares, and its words."""

    uri: str
    width: int
    pixelated: bool
    alt: str


class Thumbnails:
    """Pictures of a stream, in order, at most 48 pixels a side; on disk, in a file that is gone with the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the store)
        self._places: list[tuple[int, tuple[int, ...]]] = []
        self._end = 0

    def __len__(self) -> int:
        return len(self._places)

    def watch(self, stack: Tensor) -> None:
        """Take in images `(b, C, H, W)`, uint8."""
        small = reduced(stack, KEPT).cpu().numpy()
        self._file.seek(self._end)
        self._file.write(small.tobytes())
        for image in small:
            self._places.append((self._end, image.shape))
            self._end += image.nbytes

    def read(self, index: int) -> Tensor:
        """Picture `index`, uint8 `(C, H, W)`."""
        at, shape = self._places[index]
        self._file.seek(at)
        return torch.from_numpy(np.frombuffer(self._file.read(int(np.prod(shape))), np.uint8).reshape(shape).copy())


def can_be_read_again(side: Side) -> bool:
    """Whether the same pixels come a second time; a Dataset is somebody's own code and may draw at random."""
    return isinstance(side.opened, IndexedSource) and side.opened.parallel


class Pictures:
    """The pictures of one side, by the place of their vectors."""

    def __init__(self, side: Side, thumbnails: Thumbnails | None, n_vectors: int):
        self._source = side.opened if can_be_read_again(side) else None
        self._thumbnails = thumbnails if thumbnails is not None and len(thumbnails) == n_vectors else None
        self.small = self._source is None
        left_out = set(side.summary.left_out)
        count = side.opened.n_images if side.opened and side.opened.n_images is not None else n_vectors + len(left_out)
        self._places = [i for i in range(count) if i not in left_out]
        if self._source is not None and len(self._places) != n_vectors:
            self._source = None  # statistics of before, and images of now

    @property
    def there(self) -> bool:
        return self._source is not None or self._thumbnails is not None

    def read(self, index: int) -> Tensor | None:
        """uint8 `(C, H, W)` of vector `index`; None where it cannot be had (any more)."""
        if isinstance(self._source, IndexedSource):
            try:
                return self._source.read(self._places[index]).pixels.cpu()
            except ImageError:
                return None
        return None if self._thumbnails is None else self._thumbnails.read(index)

    def name(self, index: int) -> str:
        """What to call it: the file's name, or its number in the source."""
        place = self._places[index] if index < len(self._places) else index
        if isinstance(self._source, FileSource):
            return printable(self._source.entries[place].name)
        return f"#{place}"

    def shown(self, index: int, alt: str) -> Shown | None:
        """One picture alone, for the page."""
        pixels = self.read(index)
        return None if pixels is None else shown(pixels, alt)


def reduced(images: Tensor, longest: int) -> Tensor:
    """Images `(..., C, H, W)` averaged down to `longest` a side; smaller ones stay as they are."""
    height, width = images.shape[-2:]
    if max(height, width) <= longest:
        return images
    share = longest / max(height, width)
    size = max(1, round(height * share)), max(1, round(width * share))
    return adaptive_avg_pool2d(images.float(), size).round().to(torch.uint8)


def shown(pixels: Tensor, alt: str, across: int = ACROSS) -> Shown:
    """A picture uint8 `(C, H, W)`, small ones in whole multiples of their size."""
    small = reduced(pixels, SHOWN)
    width = small.shape[2]
    factor = max(1, round(across / max(small.shape[1:])))
    return Shown(data_uri(small), width * factor, factor > 1, alt)


def grid(images: Sequence[Tensor], columns: int, alt: str) -> Shown | None:
    """Pictures side by side as one, each in a cell as large as the largest of them."""
    small = [reduced(image, SHOWN if len(images) <= 16 else 64) for image in images]
    if not small:
        return None
    height, width = (max(image.shape[axis] for image in small) for axis in (1, 2))
    gap = max(1, round(max(height, width) / 16))
    columns = min(columns, len(small))
    rows = -(-len(small) // columns)
    page = torch.zeros(rows * (height + gap) - gap, columns * (width + gap) - gap, 4, dtype=torch.uint8)
    for i, image in enumerate(small):
        top = i // columns * (height + gap) + (height - image.shape[1]) // 2
        left = i % columns * (width + gap) + (width - image.shape[2]) // 2
        cell = page[top : top + image.shape[1], left : left + image.shape[2]]
        cell[..., :3], cell[..., 3] = image.expand(3, -1, -1).permute(1, 2, 0), 255
    factor = max(1, round(480 / page.shape[1]))
    exact = height * width <= LOSSLESS // 2 or not features.check("webp")
    uri = _uri(Image.fromarray(page.numpy()), "PNG" if exact else "WEBP")
    return Shown(uri, page.shape[1] * factor, factor > 1, alt)


def data_uri(pixels: Tensor) -> str:
    """uint8 `(C, H, W)` as a data URI: exact where it is small, JPEG where it is not."""
    array = pixels.permute(1, 2, 0).numpy()
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    return _uri(image, "PNG" if array.shape[0] * array.shape[1] <= LOSSLESS else "JPEG")


def _uri(image: Image.Image, form: str) -> str:
    stream = io.BytesIO()
    if form == "PNG":
        image.save(stream, form, optimize=True)
    else:
        image.save(stream, form, quality=90)
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
