"""Resize images and convert their channels as a generator needs them: for its training, and for test images.

The shorter side is resized by antialiased bilinear, then the centre is cut out, both as in pytorch/examples. An image
of the right size is left alone. Checkpoints of reference_models state this rule by the value of RESIZE.
"""

from __future__ import annotations

from torch import Tensor

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
