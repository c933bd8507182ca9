"""What a file tells of its image beside the pixels: format, lossy compression, quality of a JPEG file, 16 bits.

The quality is on the scale of the Independent JPEG Group's libjpeg, 1 to 100: the one whose quantisation steps for
luminance are nearest to the file's, by the sum of absolute differences. For files by libjpeg, which Pillow uses too, it
is the quality that was asked for; for tables of other programs it is about that.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from ganmetrics.images.names import extension

# ITU-T T.81, table K.1: quantisation steps of luminance, row by row; libjpeg's at quality 50
STEPS = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
LOSSLESS = frozenset(("BMP", "PCX", "PNG", "PPM", "QOI", "SGI", "SUN", "TGA", "TIFF"))
IN_TIFF = {"jpeg": "JPEG", "tiff_jpeg": "JPEG", "webp": "WEBP"}  # Pillow's names of what compressed a TIFF
PALETTE = "palette"  # at most 256 colours
MOST_CHUNKS = 1000  # of a WebP file that are looked at
BY_EXTENSION = {
    ".avif": "AVIF", ".bmp": "BMP", ".gif": "GIF", ".jpeg": "JPEG", ".jpg": "JPEG", ".pgm": "PPM", ".png": "PNG",
    ".ppm": "PPM", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip


class FileKind(NamedTuple):
    """What one file tells of its image.

    Attributes:
        format: Pillow's name of the format; None for an image that comes from no file.
        coding: what changed the pixels when they were saved ("JPEG", "GIF", "palette", ...); None if nothing did.
        quality: of a JPEG file, 1 to 100, estimated.
        peak: of an image saved with 16 bits a channel, the high byte of its largest value; None for other images.
    """

    format: str | None
    coding: str | None = None
    quality: int | None = None
    peak: int | None = None


def kind_of(image: Image.Image, stream: BinaryIO | None = None, peak: int | None = None) -> FileKind | None:
    """The kind of an opened image; None if it comes from no file. `stream`: its file, if known."""
    name = "JPEG" if image.format == "MPO" else image.format
    if name is None:
        return None if peak is None else FileKind(None, peak=peak)
    return FileKind(name, _coding(image, name, stream), _quality(image), peak)


def _coding(image: Image.Image, name: str, stream: BinaryIO | None) -> str | None:
    if name == "WEBP":
        return None if stream is not None and is_lossless_webp(stream) else name
    if name not in LOSSLESS:
        return name
    inside = IN_TIFF.get(image.info.get("compression", "")) if name == "TIFF" else None
    return inside or (PALETTE if image.mode in ("P", "PA") else None)


def _quality(image: Image.Image) -> int | None:
    tables: dict[int, Any] = getattr(image, "quantization", None) or {}
    return nearest_quality(tuple(tables[min(tables)])) if tables else None


@lru_cache(maxsize=1024)
def nearest_quality(steps: tuple[int, ...]) -> int | None:
    """The quality, 1 to 100, whose 64 steps of luminance are nearest to these; None for a malformed table."""
    return int(np.abs(_tables() - np.array(steps)).sum(1).argmin()) + 1 if len(steps) == len(STEPS) else None


@cache
def _tables() -> np.ndarray:
    """The steps of every quality from 1 to 100, `(100, 64)`: `jpeg_quality_scaling` of libjpeg."""
    quality = np.arange(1, 101)[:, None]
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((np.array(STEPS) * percent + 50) // 100, 1, 255)


def is_lossless_webp(stream: BinaryIO) -> bool:
    """Whether the first picture of a WebP file is coded without loss (RFC 9649). Moves the stream."""
    position = 12
    for _ in range(MOST_CHUNKS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8 or head[:4] in (b"VP8 ", b"VP8L"):
            return head[:4] == b"VP8L"
        size = int.from_bytes(head[4:], "little")
        # a frame of an animation has 16 bytes of its own, then chunks like those of a file
        position += 8 + (16 if head[:4] == b"ANMF" else size + size % 2)
    return False


def states_16_bits(image: Image.Image) -> bool:
    """Whether an image is stored with 16 bits a channel; of one that is loaded, that is known only if it is grey."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    args = tiles[0][3]
    rawmode, *more = args if isinstance(args, tuple) else (args,)
    return ";16" in str(rawmode) or (image.format == "PPM" and more[:1] == [65535])


def peak_of(image: Image.Image, pixels: Tensor) -> int:
    """The high byte of the largest value of a 16-bit image, from its uint8 pixels."""
    largest = int(pixels.max())
    # Pillow rounds v / 257 for a PPM in colour; this is the smallest high byte that gives that
    return max(0, largest * 257 - 128) >> 8 if image.format == "PPM" and len(pixels) > 1 else largest


def misnamed(name: str, kind: FileKind) -> str | None:
    """A note if the extension of a file promises another format than the file has."""
    end = extension(name)
    promised = BY_EXTENSION.get(end)
    if kind.format is None or promised in (None, kind.format):
        return None
    return f"{kind.format} in a file named {end}: read by its contents"
