"""A generator's own latents, and calls with a fixed number of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.generators.latents import in_full_batches, own_latents


class Uniform:
    """A generator with a prior of its own."""

    def __init__(self, width: int = 3):
        self.width = width

    def latents(self, indices: range, *, seed: int) -> Tensor:
        return torch.tensor([[float(seed + i)] * self.width for i in indices])


def test_its_own_by_number() -> None:
    found = own_latents(Uniform(), range(2, 5), 10, (3,))
    assert found is not None
    assert found[:, 0].tolist() == [12, 13, 14]
    assert own_latents(object(), range(2), 0, (3,)) is None


def test_another_shape_is_one_line() -> None:
    with pytest.raises(OptionError) as caught:
        own_latents(Uniform(2), range(4), 7, (3,), "g.py:G")
    assert str(caught.value).startswith(
        "generator g.py:G: expected its latents(range(0, 4), seed=7) to give samples of its prior, (4, 3); "
    )


@pytest.mark.parametrize("n", [1, 4, 5, 8, 11])
def test_every_call_has_the_full_number(n: int) -> None:
    calls = []

    def doubled(z: Tensor) -> Tensor:
        calls.append(len(z))
        return 2 * z

    z = torch.arange(2.0 * n).reshape(n, 2)
    assert torch.equal(in_full_batches(doubled, z, 4), 2 * z)
    assert calls == [4] * -(-n // 4)
