"""Sets of points `(N, D)` that are not images: used directly, without a network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import SourceError
from ganmetrics.runtime.device import release_pages
from ganmetrics.statistics.samples import Samples

Points = np.ndarray | Tensor
BYTE = 1 / 255  # maps bytes to [0, 1]


def as_points(source: Any) -> Points | None:
    """A set of points `(N, D)`: a 2-D array, tensor or `.npy` file (memory-mapped); None for images.

    Raises SourceError for a 2-D array that does not hold real numbers.
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.path.expanduser(os.fspath(source))
        if not path.lower().endswith(".npy") or not os.path.isfile(path):
            return None
        try:
            source = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None  # the image reader then reports what is wrong with the file
    if not isinstance(source, (Tensor, np.ndarray)) or source.ndim != 2:
        return None
    if isinstance(source, np.ndarray) and source.dtype.kind not in "fiu":
        raise SourceError(f"points: expected numbers, got {source.dtype}")
    return source.detach() if isinstance(source, Tensor) else source


def point_blocks(points: Points, rows: int = 16_384) -> Iterator[Tensor]:
    """The points in floating point, block by block. Integers become float64; pages of a mapped file are released."""
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        if isinstance(part, Tensor):
            yield part if part.is_floating_point() else part.double()
        else:
            wide = part.dtype.kind != "f" or part.dtype.itemsize > 4
            yield torch.from_numpy(part.astype(np.float64 if wide else np.float32))
            release_pages(part)


def rows_of(*stores: Samples) -> list[set[bytes]]:
    """The points of each store as bytes, equal for equal points: of float64 if all are, else of float32 values."""
    dtype = torch.float64 if all(store.dtype == torch.float64 for store in stores) else torch.float32
    return [{row.tobytes() for block in store.blocks() for row in _numbers(block, dtype)} for store in stores]


def _numbers(block: Tensor, dtype: torch.dtype) -> np.ndarray:
    scale = BYTE if block.dtype == torch.uint8 else 1.0
    return ((block.double() * scale).to(dtype) + 0.0).numpy()  # + 0.0 turns -0.0 into 0.0, whose bytes differ


def range_of(store: Samples) -> tuple[float, float]:
    """Smallest and largest value of all points; bytes stand for value / 255."""
    lows, highs = zip(*((float(block.min()), float(block.max())) for block in store.blocks()), strict=True)
    factor = BYTE if store.dtype == torch.uint8 else 1.0
    return min(lows) * factor, max(highs) * factor
