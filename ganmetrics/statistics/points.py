"""Sets of points `(N, D)` that are no images: taken as they are."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import SourceError


def as_points(source: Any) -> Tensor | None:
    """A set of points `(N, D)` as a tensor: a 2-D array, tensor or `.npy` file (memory-mapped); None for images."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if not path.lower().endswith(".npy") or not os.path.isfile(path):
            return None
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None  # the image side tells what is wrong with the file
    elif isinstance(source, (Tensor, np.ndarray)):
        array = source
    else:
        return None
    if array.ndim != 2:
        return None
    if isinstance(array, Tensor):
        return array.detach()
    if array.dtype.kind not in "fiu":
        raise SourceError(f"points: expected numbers, came {array.dtype}")
    native = array.astype(array.dtype.newbyteorder("=")) if not array.dtype.isnative else array
    unsigned = native.astype(np.int64) if native.dtype.kind == "u" and native.dtype.itemsize > 1 else native
    return torch.from_numpy(np.asarray(unsigned) if unsigned.flags.writeable else np.array(unsigned))
