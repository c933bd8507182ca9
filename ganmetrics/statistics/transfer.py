"""Statistics on their way between processes: sent by one, taken in behind its own by another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples

ROWS = 4096
PIECE = 2**24  # numbers on the way at a time
Statistic = Moments | Samples


def description(statistic: Statistic) -> dict[str, Any]:
    """What the other side has to know before the numbers come."""
    if isinstance(statistic, Samples):
        return {"count": statistic.count, "dim": statistic.dim, "dtype": statistic.dtype}
    return {"folded": statistic.folded, "shapes": {name: held.shape for name, held in statistic.arrays().items()}}


def give(statistic: Statistic, send: Callable[[Tensor], None]) -> None:
    """Everything it holds, in pieces that `send` passes on."""
    whole = statistic.blocks(ROWS) if isinstance(statistic, Samples) else statistic.arrays().values()
    for held in whole:
        for piece in held.cpu().contiguous().view(-1).split(PIECE):
            send(piece)


def take(statistic: Statistic, about: dict[str, Any], receive: Callable[[Tensor], None]) -> None:
    """Add what `give` sends elsewhere; `receive` fills the tensor that it is given."""
    if isinstance(statistic, Samples):
        for start in range(0, about["count"], ROWS):
            rows = min(ROWS, about["count"] - start)
            statistic.update(_received((rows, about["dim"]), about["dtype"], receive))
        return
    arrays = {name: _received(shape, torch.float64, receive) for name, shape in about["shapes"].items()}
    home = next((held.device for held in statistic.arrays().values()), torch.device("cpu"))
    statistic.merge(Moments.from_arrays(about["folded"], {name: held.to(home) for name, held in arrays.items()}))


def _received(shape: Any, dtype: torch.dtype, receive: Callable[[Tensor], None]) -> Tensor:
    whole = torch.empty(tuple(shape), dtype=dtype)
    for piece in whole.view(-1).split(PIECE):
        receive(piece)
    return whole
