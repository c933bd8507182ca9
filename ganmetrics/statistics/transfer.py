"""Statistics sent from one process to another, which adds them behind its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples

ROWS = 4096
PIECE = 2**24  # numbers in one message
Statistic = Moments | Samples


def description(statistic: Statistic) -> dict[str, Any]:
    """What the receiver needs to know before the numbers arrive: counts, shapes, dtype."""
    if isinstance(statistic, Samples):
        return {
            "count": statistic.count, "dim": statistic.dim, "dtype": statistic.dtype, "divisor": statistic.divisor
        }  # fmt: skip
    return {"folded": statistic.folded, "shapes": {name: array.shape for name, array in statistic.arrays().items()}}


def contents(statistic: Statistic) -> Iterator[Tensor]:
    """The numbers that identify it: mean and covariance, or the vectors block by block."""
    if isinstance(statistic, Samples):
        yield from statistic.blocks(ROWS)
    else:
        yield from (statistic.mean(), statistic.covariance())


def give(statistic: Statistic, send: Callable[[Tensor], None]) -> None:
    """Send everything it holds, in pieces, by `send`."""
    arrays = statistic.kept(ROWS) if isinstance(statistic, Samples) else statistic.arrays().values()
    for array in arrays:
        for piece in array.cpu().contiguous().view(-1).split(PIECE):
            send(piece)


def take(statistic: Statistic, about: dict[str, Any], receive: Callable[[Tensor], None]) -> None:
    """Add what `give` sends in another process; `receive` fills a tensor with the next piece."""
    if isinstance(statistic, Samples):
        for start in range(0, about["count"], ROWS):
            rows = min(ROWS, about["count"] - start)
            statistic.update(_received((rows, about["dim"]), about["dtype"], receive), about["divisor"])
        return
    arrays = {name: _received(shape, torch.float64, receive) for name, shape in about["shapes"].items()}
    device = next((array.device for array in statistic.arrays().values()), torch.device("cpu"))
    statistic.merge(Moments.from_arrays(about["folded"], {name: array.to(device) for name, array in arrays.items()}))


def _received(shape: Any, dtype: torch.dtype, receive: Callable[[Tensor], None]) -> Tensor:
    whole = torch.empty(tuple(shape), dtype=dtype)
    for piece in whole.view(-1).split(PIECE):
        receive(piece)
    return whole
