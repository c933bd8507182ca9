"""The resize rules, each named after what it reproduces; four tools resize in four ways and get four FIDs.

All take images `(N, C, H, W)` in [0, 255], bytes or floats, and return `(N, C, size, size)` in the same range and in
the given float dtype, as one batch on the same device.

- `tf1-bilinear`: TensorFlow 1's `resize_bilinear(align_corners=False)`, as the 2015 Inception graph runs it and
  torch-fidelity and StyleGAN repeat it: source position `i * in / out` (no half-pixel centres), upper neighbour
  clamped, along x before y. Reads only four pixels, so it aliases when it shrinks.
- `bilinear`: `torch.nn.functional.interpolate(align_corners=False)`, half-pixel centres, no antialiasing (pytorch-fid).
- `bilinear-antialias`: the same with `antialias=True` (torchmetrics >= 1.8).
- `pil-bicubic`: Pillow's `resize(BICUBIC)` on one float channel at a time, clipped to [0, 255], not rounded
  (clean-fid; Parmar, Zhang & Zhu 2022, arXiv:2104.11222).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

CUDA_SHRINKS = 12  # largest reduction factor that CUDA's antialiasing kernel can do


def tf1_bilinear(x: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """TensorFlow 1 bilinear. TensorFlow computes the scale in float32 for every dtype, and so does this."""
    rows, top, bottom, y_weight = _tf1_positions(x.shape[2], size, dtype, x.device)
    columns, left, right, x_weight = _tf1_positions(x.shape[3], size, dtype, x.device)
    if len(rows) < x.shape[2]:  # the result does not depend on the other rows
        x = x.index_select(2, rows)
    lower, upper = (x.index_select(3, columns[side]).to(dtype) for side in (left, right))
    across = upper.sub_(lower).mul_(x_weight).add_(lower)
    lower, upper = (across.index_select(2, side) for side in (top, bottom))
    return upper.sub_(lower).mul_(y_weight[:, None]).add_(lower)


@lru_cache(maxsize=64)
def _tf1_positions(n_in: int, n_out: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """The source positions read; for each output, indices of its lower and upper one among them; the upper's weight."""
    scale = torch.tensor(n_in / n_out, dtype=torch.float32)
    position = torch.arange(n_out, dtype=dtype) * scale
    low = position.long()
    high = (low + 1).clamp(max=n_in - 1)
    read, places = torch.unique(torch.stack((low, high)), return_inverse=True)
    return tuple(t.to(device) for t in (read, *places, position - low))


def bilinear(x: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return F.interpolate(x.to(dtype), size=(size, size), mode="bilinear", align_corners=False)


def bilinear_antialias(x: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return F.interpolate(x.to(dtype), size=(size, size), mode="bilinear", align_corners=False, antialias=True)


def pil_bicubic(x: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Pillow's separable bicubic: weights and sums in double, float32 between the passes, as `Resample.c` does it.

    PyTorch's antialiased bicubic has Pillow's kernel (Keys, a = -0.5) and support.
    """
    home = x.device
    if home.type == "mps" or (home.type == "cuda" and max(x.shape[2:]) > CUDA_SHRINKS * size):
        x = x.cpu()  # MPS has no float64
    across = F.interpolate(x.double(), size=(x.shape[2], size), mode="bicubic", antialias=True)
    across = across.to(dtype).double()  # Pillow stores float32 between the passes
    return F.interpolate(across, size=(size, size), mode="bicubic", antialias=True).clamp_(0, 255).to(home, dtype)


RESIZES: dict[str, Callable[[Tensor, int, torch.dtype], Tensor]] = {
    "tf1-bilinear": tf1_bilinear,
    "bilinear": bilinear,
    "bilinear-antialias": bilinear_antialias,
    "pil-bicubic": pil_bicubic,
}
