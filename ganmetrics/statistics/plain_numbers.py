"""Whether an array of vectors holds finite real numbers that float64 has exactly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganmetrics.statistics.samples import Samples, with_start

EXACT = 2**53  # whole numbers up to here are float64


def fault_of(array: np.ndarray | Tensor) -> str:
    """What is wrong with vectors `(N, D)`; empty if they are dense, finite, real numbers that float64 holds exactly."""
    if isinstance(array, Tensor) and array.layout != torch.strided:
        return "expected a dense tensor, got a sparse one; call its to_dense()"
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        return "holds masked entries, which have no value; fill them, or leave their rows out"
    dtype = str(array.dtype).removeprefix("torch.")
    real = array.dtype.kind in "fiu" if isinstance(array, np.ndarray) else not (array.is_complex() or dtype == "bool")
    if not real or dtype in ("float128", "longdouble"):
        return f"expected vectors of real numbers (float16 to float64, or integers), got {dtype}"
    if 0 in array.shape:
        return "holds no vector"
    whole = "int" in dtype and dtype.endswith(("32", "64"))
    for start, block in with_start(Samples.over(array).blocks()):
        if not bool(torch.isfinite(block).all()):
            return f"NaN or infinity in row {start + int((~torch.isfinite(block).all(dim=1)).nonzero()[0])}"
        if whole and float(block.abs().max()) > EXACT:
            return f"{dtype} beyond 2^53, which float64 does not hold exactly; scale the vectors"
    return ""
