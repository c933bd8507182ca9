"""The resize rules, each named after what it reproduces; four tools resize in four ways and get four FIDs.

All take float images `(N, C, H, W)` in [0, 255] and return `(N, C, size, size)` in the same range and dtype, batched
on the device the images are on.

- `tf1-bilinear`: TensorFlow 1's `resize_bilinear(align_corners=False)`, as the 2015 Inception graph runs it and
  torch-fidelity and StyleGAN repeat it: source position `i * in / out` (no half-pixel centres), upper neighbour
  clamped, along x before y. Reads only four pixels, so it aliases when it shrinks.
- `bilinear`: `torch.nn.functional.interpolate(align_corners=False)`, half-pixel centres, no antialiasing (pytorch-fid).
- `bilinear-antialias`: the same with `antialias=True` (torchmetrics >= 1.8).
- `pil-bicubic`: Pillow's `resize(BICUBIC)` on one float channel at a time, clipped to [0, 255], not rounded
  (clean-fid; Parmar, Zhang & Zhu 2022, arXiv:2104.11222).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def tf1_bilinear(x: Tensor, size: int) -> Tensor:
    """TensorFlow 1 bilinear. The scale is a float32 there, whatever the images are, and so it is here."""
    x_low, x_high, x_weight = _tf1_positions(x.shape[3], size, x)
    left, right = x[..., x_low], x[..., x_high]
    rows = left + (right - left) * x_weight
    y_low, y_high, y_weight = _tf1_positions(x.shape[2], size, x)
    top, bottom = rows[:, :, y_low], rows[:, :, y_high]
    return top + (bottom - top) * y_weight[:, None]


def _tf1_positions(n_in: int, n_out: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scale = torch.tensor(n_in / n_out, dtype=torch.float32)
    position = torch.arange(n_out, dtype=like.dtype) * scale
    low = position.long()
    high = (low + 1).clamp(max=n_in - 1)
    device = like.device
    return low.to(device), high.to(device), (position - low).to(device)


def bilinear(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


def bilinear_antialias(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=True)


def pil_bicubic(x: Tensor, size: int) -> Tensor:
    """Pillow's separable bicubic: weights and sums in double, float32 between the passes, as `Resample.c` does it."""
    work = torch.float32 if x.device.type == "mps" else torch.float64  # MPS has no float64
    between = torch.float64 if x.dtype == torch.float64 else torch.float32
    across = _pil_matrix(x.shape[3], size).to(x.device, work)
    down = _pil_matrix(x.shape[2], size).to(x.device, work)
    rows = (x.to(work) @ across.T).to(between).to(work)
    return (down @ rows).clamp(0, 255).to(x.dtype)


@lru_cache(maxsize=64)
def _pil_matrix(n_in: int, n_out: int) -> Tensor:
    """Pillow's resampling weights as a dense `(n_out, n_in)` float64 matrix (`precompute_coeffs` in Resample.c)."""
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    matrix = torch.zeros(n_out, n_in, dtype=torch.float64)
    for i in range(n_out):
        centre = (i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), n_in)
        weights = [_keys_cubic((j - centre + 0.5) / stretch) for j in range(first, last)]
        matrix[i, first:last] = torch.tensor(weights, dtype=torch.float64) / math.fsum(weights)
    return matrix


def _keys_cubic(t: float, a: float = -0.5) -> float:
    """Keys' cubic convolution kernel with a = -0.5, which is Pillow's BICUBIC."""
    t = abs(t)
    if t < 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    if t < 2:
        return (((t - 5) * t + 8) * t - 4) * a
    return 0.0


RESIZES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "tf1-bilinear": tf1_bilinear,
    "bilinear": bilinear,
    "bilinear-antialias": bilinear_antialias,
    "pil-bicubic": pil_bicubic,
}
