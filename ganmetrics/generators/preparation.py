"""Test images prepared as a generator's training images were, where its checkpoint says how, and only when asked."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.generators.opened import OpenGenerator


def centre_square(pixels: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """uint8 `(N, C, H, W)`: shorter side to the size by antialiased bilinear, centre cut; grey repeated, or luma."""
    from torchvision.transforms.v2 import functional as transforms

    channels, height, width = shape
    if pixels.shape[2:] != (height, width):
        resized = transforms.resize(pixels, [min(height, width)], antialias=True)
        pixels = transforms.center_crop(resized, [height, width])
    if pixels.shape[1] == channels:
        return pixels
    return transforms.rgb_to_grayscale(pixels) if channels == 1 else pixels.expand(-1, channels, -1, -1)


RULES: dict[str, Callable[[Tensor, tuple[int, int, int]], Tensor]] = {
    "shorter side by antialiased bilinear, centre cut out": centre_square,  # as reference_models writes it
}


def rule_of(generator: OpenGenerator) -> str:
    """The rule that the generator's checkpoint states (`config["data"]["resize"]`). Raises OptionError for none."""
    try:
        rule = generator.generator.config["data"]["resize"]
    except (AttributeError, KeyError, TypeError):
        rule = None
    if rule not in RULES:
        raise OptionError(
            f"--resize: generator {generator.name} does not say how its training images were prepared; "
            "prepare the test images yourself and leave it out"
        )
    return rule
