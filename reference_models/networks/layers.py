"""DCGAN's initialisation, and three ways to double the height and width of features.

Radford et al. 2015 (arXiv:1511.06434) and pytorch/examples for the initialisation and the transposed convolution;
Odena et al. 2016 (doi:10.23915/distill.00003) for resize and convolve; Shi et al. 2016 (arXiv:1609.05158) for the
pixel shuffle, which is initialised to a nearest-neighbour resize (ICNR, Aitken et al. 2017, arXiv:1707.02937). A
transposed convolution overlaps evenly if its kernel size is a multiple of the stride; any other, such as 3x3 at stride
2, produces a checkerboard pattern.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

STD = 0.02  # Radford et al. 2015, Section 4


class PixelShuffleUpsample(nn.Module):
    """`(N, in, H, W)` -> `(N, out, 2 H, 2 W)`: a 3x3 convolution to four values per pixel, arranged as 2x2 pixels."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4 * out_channels, 3, padding=1, bias=bias)
        self.shuffle = nn.PixelShuffle(2)
        self.start_as_nearest()

    @torch.no_grad()
    def start_as_nearest(self) -> None:
        """Give the four kernels of each output channel the values of the first one (ICNR)."""
        for parameter in self.conv.parameters():
            parameter.copy_(parameter[::4].repeat_interleave(4, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.conv(x))


def transposed(in_channels: int, out_channels: int, bias: bool) -> nn.Module:
    """4x4 with stride 2: each output pixel depends on 2x2 input pixels, so the overlap is even."""
    return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)


def nearest(in_channels: int, out_channels: int, bias: bool) -> nn.Module:
    """Resize, then a 3x3 convolution at the new resolution."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolution)


UPSAMPLINGS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "transposed": transposed,
    "nearest": nearest,
    "pixel-shuffle": PixelShuffleUpsample,
}


def initialise_dcgan(module: nn.Module) -> None:
    """Initialise all of `module` in place: weights N(0, .02), batch-norm weights N(1, .02), biases 0."""
    module.apply(_initialise)  # children first: a pixel shuffle needs its convolution already initialised


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    if isinstance(module, PixelShuffleUpsample):
        module.start_as_nearest()
        return
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    if is_norm or isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        for name, parameter in module.named_parameters(recurse=False):
            if name == "weight":
                parameter.normal_(1.0 if is_norm else 0.0, STD)
            else:
                parameter.zero_()
