"""Images at the size and with the channels of a generator: how training images are prepared, and test images for it.

The shorter side to the size by antialiased bilinear, the centre cut out, both as in pytorch/examples; an image of that
size is left alone. Checkpoints of reference_models keep the rule under the name RESIZE.
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
    """uint8 `(..., C, H, W)` as images of a shape (channels, height, width)."""
    return coloured(sized(pixels, *shape[1:]), shape[0])
