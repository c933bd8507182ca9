"""Gathered vectors are those that came, in order, in few pieces, and nobody else's memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganmetrics.statistics import rows as module
from ganmetrics.statistics.rows import Rows

CPU = torch.device("cpu")


@pytest.mark.parametrize("piece", [1, 300, 4 * 2**20])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_all_that_came_in_order(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, piece: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    batches = [torch.from_numpy(rng.integers(0, 256, (n, 5))).to(dtype) for n in rng.integers(0, 9, 40)]
    gathered = Rows()
    for batch in batches:
        own = batch.clone()
        gathered.add(own, dtype, CPU)
        own.zero_()
    assert gathered.count == sum(map(len, batches))
    whole = gathered.whole()
    assert whole is not None
    assert whole.dtype == dtype
    torch.testing.assert_close(whole, torch.cat(batches), rtol=0, atol=0)


def test_few_pieces_and_little_room_to_spare() -> None:
    gathered = Rows()
    for _ in range(1000):
        gathered.add(torch.ones(4, 2), torch.float64, CPU)
    assert len(gathered.pieces()) < 12
    room = sum(piece.untyped_storage().nbytes() for piece in gathered.pieces())
    assert room <= 2 * 4000 * 2 * 8
    assert Rows().whole() is None
    assert Rows(torch.ones(3, 2)).count == 3
