"""`pixels`: the image itself, flattened, in [0, 1]; grey images stay one channel, nothing is resized.

Its vectors are the bytes, undivided: value / 255 has no exact binary form, and distances that are equal between bytes
would differ by rounding. `divisor` says what is still to be done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features.extractor import Extractor, Options


class Pixels(Extractor):
    """Bytes `(N, C * H * W)`, uint8, which stand for value / 255; all images must have one shape."""

    name = "pixels"
    taps = ("features",)
    features_tap = "features"
    default_taps = ("features",)
    dtype = "float32"  # of the values; a metric that compares bytes says so
    divisor = 255
    batch_size = 256

    def __init__(self, device: torch.device):
        self.device = device
        self.shape: torch.Size | None = None

    def extract(self, stacks: Sequence[Tensor], taps: Collection[str]) -> Mapping[str, Tensor]:
        for stack in stacks:
            self.require(stack.shape[1:])
        return {"features": self.read(torch.cat([stack.to(self.device).flatten(1) for stack in stacks]))}

    def require(self, shape: torch.Size) -> None:
        """Raises StatisticsError for images of another shape `(C, H, W)` than those before."""
        self.shape = self.shape or shape
        if shape != self.shape:
            raise StatisticsError(
                "features pixels: expected images of one size and one number of channels, got "
                f"{_shape(self.shape)} and {_shape(shape)}; resize them first"
            )

    def read(self, values: Tensor) -> Tensor:
        """Bytes `(N, D)` -> vectors `(N, D)`."""
        return values

    def describe(self, tap: str) -> dict[str, Any]:
        return {
            "features": "pixels",
            "tap": tap,
            "weights_sha256": None,
            "resize": None,
            "size": None,
            "dtype": self.dtype,
        }


class PixelBytes(Pixels):
    """The bytes as features of their own, for a metric that computes with them; a byte stands for value / 255."""

    dtype = "uint8"
    divisor = 1


class DequantizedPixels(Pixels):
    """(value + u) / 256 with u uniform in [0, 1): discrete pixels made continuous (Theis et al. 2016, section 3.1).

    The noise is drawn in the order of the images, so it does not depend on the batch size.
    """

    divisor = 1

    def __init__(self, device: torch.device, seed: int = 0):
        super().__init__(device)
        self._generator = torch.Generator().manual_seed(seed)

    def read(self, values: Tensor) -> Tensor:
        noise = torch.rand(values.shape, generator=self._generator, dtype=torch.float64).to(values.device)
        return ((values + noise) / 256).float()


def _shape(shape: torch.Size | None) -> str:
    channels, height, width = shape or (0, 0, 0)
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"


def build(argument: str, options: Options) -> Pixels:
    """`pixels` on the device of the options. Raises OptionError for a tap or weights, which it does not have."""
    if argument or options.weights:
        raise OptionError(
            f"--features pixels has no {'taps' if argument else 'weights'}: leave out "
            f"{':' + argument if argument else '--weights'}"
        )
    return Pixels(options.device)
