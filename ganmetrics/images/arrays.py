"""Arrays and tensors to uint8 `(N, C, H, W)`: which axis is which, and floats to bytes by a stated range.

Nothing is guessed. A float batch without its range is an error, and so is a shape that can be read in two ways:
a wrong guess would give a plausible score (pytorch-fid#63, torchmetrics#1244).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import ImageError, SourceError
from ganmetrics.images.base import PixelRule, Stack, StreamSource
from ganmetrics.images.decode import ALPHA
from ganmetrics.images.fingerprint import mark_of_bytes, of_images
from ganmetrics.runtime.device import release_pages

CHANNELS = (1, 3, 4)
SLACK = 1e-3  # of the stated range: how far values may lie outside, by resampling and rounding
SLICE = 2**26  # bytes of an array that are hashed at a time


def to_uint8(
    images: Tensor | np.ndarray,
    *,
    value_range: tuple[float, float] | None = None,
    layout: str | None = None,
    quantize: str = "round",
    where: str = "images",
) -> Tensor:
    """One batch as uint8 `(N, C, H, W)`, C in {1, 3}, contiguous, on the same device.

    Args:
        images: uint8 in [0, 255], or floating point in `value_range`; `(N, C, H, W)` or `(N, H, W, C)` with C in
            {1, 3, 4}, or `(N, H, W)`. The fourth channel is alpha and is dropped. uint8 pixels are passed on as they
            are, whatever `value_range` says.
        value_range: `(low, high)` of floating-point images: (-1, 1) for a tanh, (0, 1) for a sigmoid.
        layout: "NCHW", "NHWC" or "NHW", for shapes that can be read in several ways. A 3-D array is one image under
            the first two, and a stack of grey images under the third.
        quantize: "round" is `floor(255 (x - low) / (high - low) + 0.5)`, the same bits as the `x * 127.5 + 128` of
            StyleGAN and EDM; "truncate" leaves out the half, the same bits as the `(x * 255).byte()` of torchmetrics.
        where: what to call the images in an error.

    Raises:
        SourceError: for a shape, dtype or range that cannot be read or can be read in two ways.
        ImageError: for NaN or infinite values; it names the first such image.
        OptionError: for a malformed option.
    """
    return to_stack(images, PixelRule.checked(value_range, layout, quantize), where).pixels


def to_stack(images: Any, rule: PixelRule, where: str) -> Stack:
    """`to_uint8` under a checked rule, with the notes about alpha."""
    tensor = as_batch(as_tensor(images, where), rule.layout, where)
    check_dtype(tensor.dtype, rule, where, tensor)
    pixels = quantized(tensor, rule, where) if tensor.is_floating_point() else tensor
    if pixels.shape[1] < 4:
        return Stack(pixels.contiguous())
    clear = int((pixels[:, 3] < 255).flatten(1).any(1).sum())
    return Stack(pixels[:, :3].contiguous(), ((ALPHA, clear),) if clear else ())


def as_tensor(images: Any, where: str) -> Tensor:
    """A tensor, in the same memory if possible."""
    if isinstance(images, Tensor):
        return images.detach()
    if not isinstance(images, np.ndarray):
        raise SourceError(f"{where}: expected a tensor or an array of images, got {type(images).__name__}")
    if not images.dtype.isnative:  # torch has only the native byte order
        images = images.astype(images.dtype.newbyteorder("="))
    # torch warns about read-only memory and refuses negative strides
    if not images.flags.writeable or any(stride < 0 for stride in images.strides):
        images = images.copy()
    try:
        return torch.from_numpy(images)
    except TypeError:
        raise SourceError(_dtype_message(str(images.dtype), "hand over pixels", where)) from None


def check_dtype(dtype: torch.dtype, rule: PixelRule, where: str, images: Any) -> None:
    """Raises SourceError unless the pixels are uint8, or floating point with a stated range; `images`: an example."""
    if dtype == torch.uint8:
        return
    if not dtype.is_floating_point:
        raise SourceError(_dtype_message(str(dtype).removeprefix("torch."), _way_to_uint8(images, dtype), where))
    if rule.value_range is None:
        raise SourceError(
            f"{where}: floating-point images need their range: value_range=(-1, 1) for a tanh output, "
            "value_range=(0, 1) for a sigmoid output (on the command line --value-range -1 1 or --value-range 0 1)"
        )


def _way_to_uint8(images: Any, dtype: torch.dtype) -> str:
    """How to convert; for integers by the values of the first SLICE bytes, because 12 bits are often kept in 16."""
    if dtype == torch.bool or dtype.is_complex:
        return "hand over pixels" if dtype.is_complex else "multiply by 255 and cast to uint8"
    part = images[: max(1, SLICE // (dtype.itemsize * max(1, math.prod(images.shape[1:]))))]
    values = part.cpu().numpy() if isinstance(part, Tensor) else part  # torch has no maximum of uint16
    least, largest = int(values.min(initial=0)), int(values.max(initial=0))
    if least < 0 or largest > 65535:
        return f"values from {least} to {largest}: hand over floating-point images and their value_range"
    if largest < 256:
        return "cast to uint8 if the values are 0 to 255"
    bits = next(bits for bits in (10, 12, 14, 16) if largest < 2**bits)
    return f"values up to {largest}: if they have {bits} bits keep the high 8, (x >> {bits - 8}), and cast to uint8"


def _dtype_message(dtype: str, way: str, where: str) -> str:
    return f"{where}: expected uint8 or floating-point images, got {dtype}; {way}"


def as_batch(images: Tensor, layout: str | None, where: str) -> Tensor:
    """A view `(N, C, H, W)` with C in {1, 3, 4}. Raises SourceError for a shape that is wrong or ambiguous."""
    shape = tuple(images.shape)
    if images.ndim not in (3, 4):
        raise SourceError(f"{where}: expected images of shape (N, C, H, W), (N, H, W, C) or (N, H, W), got {shape}")
    if 0 in shape[1:]:
        raise SourceError(f"{where}: images of shape {shape} have no pixel")
    if images.ndim == 3 and layout in ("NCHW", "NHWC"):
        images = images[None]
    elif images.ndim == 3:
        if layout is None and (shape[0] in CHANNELS or shape[-1] in CHANNELS):
            raise SourceError(
                f"{where}: the shape {shape} can be {shape[0]} grey images or one single image; say which with "
                'layout="NHW" for a stack of grey images, layout="NCHW" or layout="NHWC" for one image'
            )
        return images[:, None]
    elif layout == "NHW":
        raise SourceError(f'{where}: layout="NHW" expects 3 axes, got the shape {shape}')
    return images if _channels_first(tuple(images.shape), layout, where) else images.permute(0, 3, 1, 2)


def _channels_first(shape: tuple[int, ...], layout: str | None, where: str) -> bool:
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if layout is not None:
        if not (first if layout == "NCHW" else last):
            count = shape[1 if layout == "NCHW" else 3]
            raise SourceError(f"{where}: expected 1, 3 or 4 channels, got {count} in the shape {shape} as {layout}")
        return layout == "NCHW"
    if not first and not last:
        raise SourceError(f"{where}: no axis of the shape {shape} is 1, 3 or 4 channels (expected NCHW or NHWC)")
    if first and last and shape[1:] != (1, 1, 1):
        raise SourceError(
            f'{where}: the shape {shape} can be NHWC or NCHW; say which with layout="NHWC" or layout="NCHW"'
        )
    return first


def quantized(images: Tensor, rule: PixelRule, where: str) -> Tensor:
    """Floats `(N, ...)` in the stated range to uint8.

    One multiplication and one addition: bit by bit NVIDIA's `x * 127.5 + 128` for (-1, 1), and torchmetrics'
    `(x * 255).byte()` if truncated for (0, 1), in the floating-point type that these tools use.
    """
    low, high = rule.value_range or (0.0, 1.0)
    if not images.numel():
        return images.to(torch.uint8)
    _check_values(images, low, high, where)
    half = 0.5 if rule.quantize == "round" else 0.0
    # Truncation stays in half precision, as in torchmetrics; exact rounding needs float32.
    if half and images.dtype not in (torch.float32, torch.float64):
        images = images.float()
    scale = 255.0 / (high - low)
    scaled = images * scale
    if (offset := half - low * scale) != 0.0:
        scaled += offset
    return scaled.clamp_(0, 255).to(torch.uint8)


def _check_values(images: Tensor, low: float, high: float, where: str) -> None:
    least, most = (float(bound) for bound in torch.stack(torch.aminmax(images)).tolist())
    if not np.isfinite(least + most):
        index = int((~torch.isfinite(images).flatten(1).all(1)).nonzero()[0])
        raise ImageError(f"{where}[{index}]", "holds NaN or infinite values")
    slack = SLACK * (high - low)
    if least < low - slack or most > high + slack:
        raise SourceError(
            f"{where}: values from {least:.4g} to {most:.4g} do not fit the stated value_range=({low:g}, {high:g}); "
            "state the range that the images have"
        )


class ArraySource(StreamSource):
    """A whole array or tensor `(N, ...)`, read slice by slice; a memory-mapped one stays on disk."""

    def __init__(self, name: str, images: Any, rule: PixelRule):
        shape = tuple(images.shape)
        probe = as_tensor(images[:0], name) if len(shape) else as_tensor(images, name)
        layout = resolved_layout(shape, rule.layout, name)
        check_dtype(probe.dtype, rule, name, images)
        self._images = images if len(shape) == 4 or layout == "NHW" else images[None]
        if not len(self._images):
            raise SourceError(f"{name}: holds no image, its shape is {shape}")
        self._rule = PixelRule(rule.value_range, layout, rule.quantize)
        self._first = 0  # index of the first image in the whole array, if this is a part
        super().__init__(name, len(self._images))

    @property
    def rule(self) -> PixelRule:
        """How the array is read, with its layout."""
        return self._rule

    def fingerprint(self) -> str:
        """Over shape, dtype, the stated rule and the raw bytes, so that nothing has to be converted first."""
        whole = as_tensor(self._images[:0], self.name)
        stated = (self._rule.value_range, self._rule.quantize) if whole.is_floating_point() else None
        header = repr((str(whole.dtype), tuple(self._images.shape), self._rule.layout, stated))
        step = max(1, SLICE // (whole.element_size() * math.prod(whole.shape[1:])))
        return of_images([header.encode(), *map(self._mark, range(0, len(self._images), step), repeat(step))])

    def _mark(self, start: int, step: int) -> bytes:
        part = self._images[start : start + step]
        mark = mark_of_bytes(as_tensor(part, self.name).cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        release_pages(part)
        return mark

    def stacks(self, batch_size: int) -> Iterator[Stack]:
        """Slices of `batch_size`, in order."""
        for start in range(0, len(self._images), batch_size):
            part = self._images[start : start + batch_size]
            try:
                yield to_stack(part, self._rule, self.name)
            except ImageError as error:
                raise shifted(error, self.name, self._first + start) from None
            release_pages(part)

    def part(self, start: int, stop: int) -> ArraySource:
        """A slice of the same array."""
        part = copy(self)
        part._images, part._first = self._images[start:stop], self._first + start
        part.n_images, part.is_part = stop - start, True
        return part


def resolved_layout(shape: Sequence[int], layout: str | None, where: str) -> str:
    """The layout of a whole array, decided once. Raises SourceError as `to_uint8` does."""
    if not len(shape):
        raise SourceError(f"{where}: expected images (N, C, H, W) or points (N, D), got a single number")
    # an expanded tensor has the shape without the memory
    as_batch(torch.empty(1, dtype=torch.uint8).expand(tuple(shape)), layout, where)
    if layout is not None:
        return layout
    if len(shape) == 3:
        return "NHW"
    return "NCHW" if _channels_first(tuple(shape), layout, where) else "NHWC"


def shifted(error: ImageError, name: str, start: int) -> ImageError:
    """The same error, its index counted from the start of the source instead of the batch."""
    index = int(error.where[len(name) + 1 : -1])
    return ImageError(f"{name}[{start + index}]", error.reason)
