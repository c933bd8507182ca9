"""The pixels of images that are compared as pictures, by a metric that needs their height and width."""

from __future__ import annotations

import torch

from ganmetrics.errors import StatisticsError
from ganmetrics.features.pixels import PixelBytes


class WholeImages(PixelBytes):
    """Bytes of images of one shape, each at least `smallest` pixels high and wide; `asking` is who needs them."""

    batch_size = 16

    def __init__(self, device: torch.device, smallest: int, asking: str):
        super().__init__(device)
        self.smallest, self.asking = smallest, asking

    def require(self, shape: torch.Size) -> None:
        """Raises StatisticsError for smaller images, and for another shape `(C, H, W)` than those before."""
        height, width = shape[1:]
        if min(height, width) < self.smallest:
            raise StatisticsError(
                f"{self.asking}: expected images of at least {self.smallest}x{self.smallest} pixels, got "
                f"{width}x{height}; it resizes nothing: give larger images, or --prepare {self.smallest}"
            )
        super().require(shape)
