"""Inner products of many float32 vectors, on a CPU by oneDNN: MKL, behind `@`, is slow on other makers' processors.

The operator is the one that `torch.compile` puts in the place of a linear layer. It is no public interface: where this
torch lacks it, or it does not give what the plain one gives, the plain one is used.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmetrics.runtime.device import exact_arithmetic


def inner_products(x: Tensor, y: Tensor, added: Tensor | None = None) -> Tensor:
    """All x'y + added of `(n, D)`, `(m, D)` and `(m,)`: `(n, m)`. No gradient goes through."""
    if x.device.type == "cpu" and x.dtype == torch.float32 and len(x) and len(y) and available():
        return _by_onednn(x, y, None if added is None else added.contiguous())
    return F.linear(x, y, added)


def _by_onednn(x: Tensor, y: Tensor, added: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, y, added, "none", [], "")


@cache
def available() -> bool:
    """Whether this torch on this processor has the operator and it is right, tried once on a small case."""
    if not torch.backends.mkldnn.is_available():
        return False
    draw = torch.Generator().manual_seed(0)
    with exact_arithmetic(torch.device("cpu")):  # whatever is set around us now
        x, y, added = (
            torch.randn(*shape, generator=draw, dtype=torch.float32) for shape in ((37, 129), (53, 129), (53,))
        )
        expected = F.linear(x.double(), y.double(), added.double())
        try:
            found = _by_onednn(x, y, added).double()
        except (RuntimeError, AttributeError, TypeError, NotImplementedError):
            return False
    tolerance = x.shape[1] * torch.finfo(torch.float32).eps * float(expected.abs().max())
    return found.shape == expected.shape and float((found - expected).abs().max()) <= tolerance
