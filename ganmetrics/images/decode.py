"""Bytes to pixels, and the policy for unusual files; the table is in docs/images.md.

The rule behind the table: do what other tools do, which is `PIL.Image.open(...).convert("RGB")`, and add a note where
that loses something. Differences: grey stays one channel (a third of the memory; the extractors repeat it), 16-bit
grey keeps its high byte as 16-bit RGB does (PIL's conversion clips everything above 255 to white), and pixels that PIL
would turn into a plausible but wrong picture (32-bit integers, floats) are refused.
"""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np
import torch
from PIL import (  # noqa: F401 - registers the plug-ins before any thread needs them
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from torch import Tensor

from ganmetrics.images.base import Picture
from ganmetrics.images.file_kinds import kind_of, peak_of, states_16_bits
from ganmetrics.images.jpeg import JpegDecoder
from ganmetrics.images.png_text import without_large_texts

MAX_PIXELS = 178_956_970  # where PIL itself raises, 2 * 2^28 / 3; applied even if the user changed PIL's limit
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Read where Pillow or a plug-in of the user's can. Not here: what runs other programs (EPS), holds several pictures
# (ICO, PSD), or is told from anything else by too little.
OTHER_FORMATS = ("AVIF", "DDS", "HEIF", "JPEG2000", "JXL", "PCX", "QOI", "SGI", "SUN", "TGA")
TGA_END = b"TRUEVISION-XFILE.\0"  # without it, nearly any bytes can be a TGA file
NEEDING_MORE = {
    b"ftypavif": "AVIF",
    b"ftypavis": "AVIF",
    b"ftypheic": "HEIF",
    b"ftypmif1": "HEIF",
    b"JXL \r\n\x87\n": "JPEG XL",
}  # by bytes 4 to 12

ALPHA = "alpha ignored, as PIL's convert('RGB') does; some pixels are not opaque"
ANIMATED = "animated or many pages: the first frame is read"
CMYK = "CMYK turned into RGB by PIL, without a colour profile"
DEEP = "16 bits a channel: the high byte is kept"
ROTATED = "EXIF orientation not applied"

GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
NOT_UPRIGHT = range(2, 9)  # values of ORIENTATION
ORIENTATION = 0x0112  # EXIF tag
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags


class BadImageError(Exception):
    """Why one image cannot be read; the message does not name the file."""


def decode(stream: BinaryIO, jpeg: JpegDecoder | None = None) -> Picture:
    """Read one image file.

    Args:
        stream: the file, seekable, at its start.
        jpeg: decodes plain JPEG files instead of Pillow; None for Pillow.

    Returns:
        Picture with uint8 pixels `(C, H, W)`, C = 1 for grey and 3 for everything else.

    Raises:
        BadImageError: for anything that is wrong with the file.
    """
    try:
        with _opened(stream) as image:
            return (_plain_jpeg(stream, image, jpeg) if jpeg is not None else None) or from_pil(image, stream)
    except (BadImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise BadImageError(f"more than {MAX_PIXELS:,} pixels: refused as a decompression bomb") from None
    except Exception as error:  # decoders raise almost any kind for broken bytes: struct, zlib, Syntax, Index, ...
        if (smaller := without_large_texts(stream)) is not None:
            return decode(smaller, jpeg)
        if isinstance(error, UnidentifiedImageError):
            raise BadImageError(_unidentified(stream)) from None
        raise BadImageError(_damage(error)) from error


def _opened(stream: BinaryIO) -> Image.Image:
    try:
        return Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        Image.init()
        return Image.open(stream, formats=_other_formats(stream))


def _other_formats(stream: BinaryIO) -> list[str]:
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - len(TGA_END)))
    is_tga = stream.read() == TGA_END
    return [name for name in OTHER_FORMATS if name in Image.OPEN and (name != "TGA" or is_tga)]


def _plain_jpeg(stream: BinaryIO, image: Image.Image, jpeg: JpegDecoder) -> Picture | None:
    """None if Pillow must read it."""
    if image.format != "JPEG" or _is_rotated(image):
        return None
    _require_size(image)
    stream.seek(0)
    pixels = jpeg.pixels(stream.read(), image)
    stream.seek(0)
    return None if pixels is None else Picture(pixels, (), kind_of(image))


def _require_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImageError(f"{width} x {height} is more than {MAX_PIXELS:,} pixels: refused as a decompression bomb")
    if not width or not height:
        raise BadImageError(f"{width} x {height} pixels")


def from_pil(image: Image.Image, stream: BinaryIO | None = None) -> Picture:
    """The same policy for an image that PIL has already opened, of the file `stream` if that is known.

    Raises BadImageError, or what PIL raises.
    """
    _require_size(image)
    # an MPO file is a JPEG photograph of a camera with more pictures, often a preview, and no animation
    animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
    notes = [ANIMATED] if animated else []
    is_deep = states_16_bits(image)
    image.load()
    pixels = _pixels(image, notes)
    if _is_rotated(image):
        notes.append(ROTATED)
    return Picture(pixels, tuple(notes), kind_of(image, stream, peak_of(image, pixels) if is_deep else None))


def _pixels(image: Image.Image, notes: list[str]) -> Tensor:
    mode = image.mode
    if mode in DEEP_MODES or (mode == "I" and image.format in ("PNG", "PPM")):
        notes.append(DEEP)
        return _high_byte(image, notes)
    if mode in ("I", "F") or mode.startswith(("I;", "F;")):
        kind = "floating point" if mode.startswith("F") else "more than 16-bit or signed integer"
        raise BadImageError(f"{kind} pixels have no range to scale by; save it with 8 bits a channel")
    if _some_transparent(image):
        notes.append(ALPHA)
    if mode == "CMYK":
        notes.append(CMYK)
    if mode in GREY_MODES:
        return torch.from_numpy(np.array(image if mode == "L" else _opaque(image).convert("L")))[None]
    rgb = image if mode == "RGB" else _opaque(image).convert("RGB")
    return torch.from_numpy(np.array(np.asarray(rgb).transpose(2, 0, 1), order="C"))


def _high_byte(image: Image.Image, notes: list[str]) -> Tensor:
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC) == 0:
        raise BadImageError("16-bit TIFF that stores white as zero; save it with black as zero or with 8 bits")
    if isinstance(transparent := image.info.get("transparency"), int) and bool((values == transparent).any()):
        notes.append(ALPHA)
    # a TIFF may store fewer than 16 bits, such as 12
    shift = tags.get(BITS_PER_SAMPLE, (16,))[0] - 8
    return torch.from_numpy((values >> shift).astype(np.uint8))[None]


def _opaque(image: Image.Image) -> Image.Image:
    image.info.pop("transparency", None)  # else PIL warns and searches for that colour; the pixels are the same
    return image


def _some_transparent(image: Image.Image) -> bool:
    if image.mode in ("LA", "RGBA", "La", "RGBa", "PA"):
        return image.getchannel(len(image.getbands()) - 1).getextrema() != (255, 255)
    if "transparency" not in image.info or image.mode not in ("1", "L", "P", "RGB"):
        return False
    return image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _is_rotated(image: Image.Image) -> bool:
    """Whether EXIF asks for a rotation. Not for TIFF, which PIL itself rotates, in the other tools too."""
    if image.format == "TIFF" or not {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"} & image.info.keys():
        return False
    try:
        return image.getexif().get(ORIENTATION) in NOT_UPRIGHT
    except Exception:  # a broken EXIF block says nothing about the pixels
        return False


def _unidentified(stream: BinaryIO) -> str:
    stream.seek(0)
    head = stream.read(12)
    if not head:
        return "empty file (0 bytes)"
    if (kind := NEEDING_MORE.get(head[4:])) is not None:
        return f"{kind}, which this Pillow cannot read; upgrade it, add a plug-in, or save the image as PNG"
    return "not an image, or cut off in its header (expected AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF or WebP)"


def _damage(error: Exception) -> str:
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, Warning):
        return f"refused, because warnings are turned into errors ({message})"
    if isinstance(error, EOFError) or "truncated" in message.lower() or "premature" in message.lower():
        return "truncated file"
    return f"damaged file ({message})"
