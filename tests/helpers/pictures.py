"""Pictures for the tests of reading: one in grey and one in colour, as pixels, as files, and as they come back."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganmetrics.images import Summary, open_images, read_batches

_DRAWN = np.random.default_rng(3).integers(0, 256, (5, 7, 4), np.uint8)
GREY, RGB = np.ascontiguousarray(_DRAWN[..., 0]), np.ascontiguousarray(_DRAWN[..., 1:])
NO_IMAGE = "not an image, or cut off in its header (expected AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF or WebP)"


def chw(pixels: np.ndarray) -> Tensor:
    """`(H, W)` or `(H, W, C)` -> `(C, H, W)`."""
    return torch.from_numpy(np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)))


def png(pixels: np.ndarray = RGB) -> bytes:
    """A file of them."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(pixels: np.ndarray, colour_type: int, transparent: bytes = b"") -> bytes:
    """A 16-bit PNG by hand, of uint16 `(H, W)` or `(H, W, C)`: PIL writes none in colour."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    extra = png_chunk(b"tRNS", transparent) if transparent else b""
    data = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + extra + data


def read(source: Any, batch_size: int = 4, num_workers: int | None = None, **options: Any) -> Tensor:
    """All images of a source of one size; asserts that its batches are full and as many as it said."""
    opened = open_images(source, **options)
    batches = list(read_batches(opened, batch_size, num_workers=num_workers))
    sizes = [sum(map(len, batch)) for batch in batches]
    assert all(size == batch_size for size in sizes[:-1])
    assert opened.n_images in (None, sum(sizes))
    return torch.cat([stack for batch in batches for stack in batch])


def whole(source: Any, batch_size: int = 4, **options: Any) -> tuple[torch.Tensor, Summary]:
    """All images of a source as one stack, and the reader's summary."""
    reader = read_batches(open_images(source, **options), batch_size)
    return torch.cat([stack for batch in reader for stack in batch]), reader.summary
