"""A network small enough for tests, in the frame of an extractor."""

from __future__ import annotations

from typing import Any

import torch

from ganmetrics.features.extractor import NetworkExtractor, Options


class Pooled(torch.nn.Module):
    """A convolution, a ReLU and a mean; notes how float32 may be rounded while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.seen: list[Any] = []

    def forward(self, x: torch.Tensor, taps: Any) -> dict[str, torch.Tensor]:
        return {"features": self.conv(x).relu().mean((2, 3))}


def small(network: Any, **options: Any) -> NetworkExtractor:
    return NetworkExtractor(
        "small", network, taps=("features",), features_tap="features", logits_tap=None, default_taps=("features",),
        size=16, resize="bilinear", mean=[128.0], std=[128.0], weights_sha256="0" * 64,
        options=Options(**options),
    )  # fmt: skip
