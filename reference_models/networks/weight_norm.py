"""Strict weight normalisation, and the translated PReLU that makes up for the scale and bias it leaves out.

Xiang & Li 2017 (arXiv:1704.03971, Sections 3.1 to 3.3; the authors' code is stormraiser/GAN-weight-norm). A strict
layer has neither scale nor bias, so that the norm of its weights has no effect:

    y = w.x / sqrt(|w|^2 + 1e-6),    for a transposed convolution of stride s   y = w.x / sqrt(|w|^2 / (s_h s_w) + 1e-6)

where w is all weights of one output channel. In a transposed convolution each output pixel uses only one part in
s_h s_w of them. Differs: the weights are divided instead of the output, which is mathematically equal. Weights are
initialised as in the code, uniform on +-1 / sqrt(inputs of one output channel).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6  # under the square root, against a division by zero


def strict(weight: Tensor, out_dim: int = 0, spread: int = 1) -> Tensor:
    """Weights of any shape, each output channel (along `out_dim`) divided by sqrt(|w|^2 / spread + EPS)."""
    input_dims = [dim for dim in range(weight.dim()) if dim != out_dim]
    return weight / (weight.square().sum(input_dims, keepdim=True) / spread + EPS).sqrt()


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Initialise weights, and biases of layers without normalisation, in place.

    They are uniform on +-1 / sqrt(inputs of one output channel).
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            inputs = layer.weight.shape[0 if isinstance(layer, nn.ConvTranspose2d) else 1]  # transposed: (in, out, ...)
            bound = 1 / math.sqrt(inputs * math.prod(layer.weight.shape[2:]))
            layer.weight.uniform_(-bound, bound)
            if layer.bias is not None and getattr(layer, "scale", None) is None:
                layer.bias.uniform_(-bound, bound)


class StrictLinear(nn.Linear):
    """`(N, in)` -> `(N, out)`: every output is the input's component along a unit vector."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, strict(self.weight))


class StrictConv2d(nn.Conv2d):
    """`(N, in, H, W)` -> `(N, out, H', W')`; `affine` adds a scale (initially 1) and a bias (0) per output channel."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0,
                 *, affine: bool = False):  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=affine)
        self.scale = _scale(self, affine)

    def forward(self, input: Tensor) -> Tensor:
        weight = strict(self.weight)
        weight = weight if self.scale is None else weight * self.scale[:, None, None, None]
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


class StrictConvTranspose2d(nn.ConvTranspose2d):
    """`(N, in, H, W)` -> `(N, out, H', W')`; `affine` as for a convolution."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0,
                 *, affine: bool = False):  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=affine)
        self.scale = _scale(self, affine)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        weight = strict(self.weight, out_dim=1, spread=self.stride[0] * self.stride[1])
        weight = weight if self.scale is None else weight * self.scale[:, None, None]
        return F.conv_transpose2d(input, weight, self.bias, self.stride, tuple(map(int, self.padding)))


def _scale(layer: nn.Conv2d | nn.ConvTranspose2d, affine: bool) -> nn.Parameter | None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return nn.Parameter(torch.ones(layer.out_channels)) if affine else None


class TPReLU(nn.Module):
    """PReLU(x - b; a) + b per channel of `(N, channels, ...)` (Section 3.3); initially b = 0 and a = 0.25."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: Tensor) -> Tensor:
        bias = self.bias.view(-1, *[1] * (input.dim() - 2))
        # prelu needs both of one type, and under mixed precision the input is bfloat16
        return F.prelu(input - bias, self.weight.to(input.dtype)) + bias


@torch.no_grad()
def clamp_slopes(module: nn.Module) -> None:
    """Clamp every slope of PReLU and TPReLU to [0, 1], so that it is monotonic and never amplifies.

    Call it after each step of the optimiser.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.PReLU, TPReLU)):
            layer.weight.clamp_(0, 1)
