"""Pictures for the page: read again from the source if possible, else thumbnails kept while the source was read."""

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
SHOWN = 96  # longest side of a picture stored in the page
LOSSLESS = 48 * 48  # pixels; larger pictures are stored as JPEG, others as PNG
ACROSS = 80  # longest side at which a picture is shown, about, in CSS pixels


@dataclass(frozen=True)
class Shown:
    """A picture on the page: data URI, width in CSS pixels, whether it is enlarged without smoothing, and alt text."""

    uri: str
    width: int
    pixelated: bool
    alt: str


class Thumbnails:
    """Pictures of a stream, in order, at most KEPT pixels a side, in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed with this object)
        self._places: list[tuple[int, tuple[int, ...]]] = []
        self._end = 0

    def __len__(self) -> int:
        return len(self._places)

    def watch(self, stack: Tensor) -> None:
        """Keep images `(b, C, H, W)`, uint8."""
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
    """Whether a second reading gives the same pixels. A Dataset does not count: its code may augment at random."""
    return isinstance(side.opened, IndexedSource) and side.opened.parallel


class Pictures:
    """The pictures of one side, by the index of their vectors."""

    def __init__(self, side: Side, thumbnails: Thumbnails | None, n_vectors: int):
        self._source = side.opened if can_be_read_again(side) else None
        self._thumbnails = thumbnails if thumbnails is not None and len(thumbnails) == n_vectors else None
        self.small = self._source is None
        left_out = set(side.summary.left_out)
        count = side.opened.n_images if side.opened and side.opened.n_images is not None else n_vectors + len(left_out)
        self._indices = [i for i in range(count) if i not in left_out]
        if self._source is not None and len(self._indices) != n_vectors:
            self._source = None  # the images changed after the statistics were cached

    @property
    def there(self) -> bool:
        return self._source is not None or self._thumbnails is not None

    def read(self, index: int) -> Tensor | None:
        """The image of vector `index`, uint8 `(C, H, W)`; None if it cannot be read (any more)."""
        if isinstance(self._source, IndexedSource):
            try:
                return self._source.read(self._indices[index]).pixels.cpu()
            except ImageError:
                return None
        return None if self._thumbnails is None else self._thumbnails.read(index)

    def name(self, index: int) -> str:
        """The name of the image on the page: its file name, or its number in the source."""
        number = self._indices[index] if index < len(self._indices) else index
        if isinstance(self._source, FileSource):
            return printable(self._source.entries[number].name)
        return f"#{number}"

    def shown(self, index: int, alt: str) -> Shown | None:
        """A single picture for the page, or None if it cannot be read."""
        pixels = self.read(index)
        return None if pixels is None else shown(pixels, alt)


def reduced(images: Tensor, longest: int) -> Tensor:
    """Images `(..., C, H, W)`, downscaled by averaging to at most `longest` pixels a side."""
    height, width = images.shape[-2:]
    if max(height, width) <= longest:
        return images
    scale = longest / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return adaptive_avg_pool2d(images.float(), size).round().to(torch.uint8)


def shown(pixels: Tensor, alt: str, across: int = ACROSS) -> Shown:
    """A picture uint8 `(C, H, W)` for the page; small ones are enlarged by a whole factor."""
    small = reduced(pixels, SHOWN)
    width = small.shape[2]
    factor = max(1, round(across / max(small.shape[1:])))
    return Shown(data_uri(small), width * factor, factor > 1, alt)


def grid(images: Sequence[Tensor], columns: int, alt: str) -> Shown | None:
    """Pictures in a grid, as one picture; each cell is as large as the largest of them."""
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
    """A picture uint8 `(C, H, W)` as a data URI: PNG up to LOSSLESS pixels, else JPEG."""
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
