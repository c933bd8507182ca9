"""Products and packed convolutions over odd shapes and layouts, against exact or float64 references."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmetrics.features import packing
from ganmetrics.runtime import products
from ganmetrics.runtime.products import FLOAT32_PRODUCTS, INT8_PRODUCTS
from tests.helpers.operators import CONVOLUTIONS, needed, operators_afresh  # noqa: F401 - a fixture

SIZES = (0, 1, 2, 3, 15, 16, 17, 31, 33, 63, 65)
pytestmark = pytest.mark.usefixtures("operators_afresh")


def plain(x: Tensor) -> Tensor:
    return x


def transposed(x: Tensor) -> Tensor:
    return x.T.contiguous().T


def every_other_row(x: Tensor) -> Tensor:
    return torch.stack([x, torch.zeros_like(x)], dim=1)[:, 0]


def odd_strides(x: Tensor) -> Tensor:
    """Strides that nobody looks at, since there is one of these rows or columns."""
    strides = [7 if size == 1 else stride for size, stride in zip(x.shape, x.stride(), strict=True)]
    return torch.empty_strided(x.shape, strides, dtype=x.dtype).copy_(x)


LAYOUTS = (plain, transposed, every_other_row, odd_strides)
Layout = Callable[[Tensor], Tensor]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float32_products_of_every_shape(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    """The smallest that pay are made to, so that they reach the operator."""
    monkeypatch.setattr(products, "SMALLEST", 0)
    monkeypatch.setattr(FLOAT32_PRODUCTS, "checks", 0)
    for n, m, dim in product(SIZES, repeat=3):
        x, y, added = torch.randn(n, dim), torch.randn(m, dim), torch.randn(m)
        exact = x.double() @ y.double().T + added.double()
        bound = (dim + 1) * torch.finfo(torch.float32).eps * (x.abs() @ y.abs().T + added.abs())
        found = products.inner_products(layout(x), layout(y), added)
        assert found.shape == (n, m)
        assert bool(((found.double() - exact).abs() <= bound).all()), (n, m, dim)


@pytest.mark.parametrize("kind", [torch.int8, torch.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_byte_products_of_every_shape(monkeypatch: pytest.MonkeyPatch, layout: Layout, kind: torch.dtype) -> None:
    monkeypatch.setattr(INT8_PRODUCTS, "checks", 0)
    for n, m, dim in product((*SIZES, 1030), SIZES, SIZES):
        a, b = torch.randint(-128, 128, (n, dim)), torch.randint(-128, 128, (dim, m))
        found = products.byte_products(layout(a.to(kind)), layout(b.to(kind)))
        assert found.dtype == torch.int32
        assert torch.equal(found.long(), a @ b), (n, m, dim)


@pytest.mark.parametrize("kind", [torch.int8, torch.float32])
@pytest.mark.parametrize(("n", "m"), [(3, 5), (20, 5000), (40, 17)])
def test_byte_products_that_float32_would_round(kind: torch.dtype, n: int, m: int) -> None:
    """All at the ends of the range, so that a sum over all dimensions takes 28 bits."""
    a, b = torch.full((n, 12_288), -128), torch.full((12_288, m), -128)
    b[0], a[-1] = 127, 127
    assert torch.equal(products.byte_products(a.to(kind), b.to(kind)).double(), a.double() @ b.double())


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (1, 17), (3, 16), (15, 33), (17, 15), (33, 1)])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 3), (17, 17)])
def test_packed_convolutions_of_every_shape(n_in: int, n_out: int, size: tuple[int, int]) -> None:
    """On the batch they are made for and on others, however it lies."""
    needed(CONVOLUTIONS)
    for kernel, relu in product(((1, 1), (3, 3), (1, 7)), (True, False)):
        conv = nn.Conv2d(n_in, n_out, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        layer = packing.PackedConv2d(conv.to(memory_format=torch.channels_last), (4, n_in, *size), relu=relu)
        assert layer.weight.is_mkldnn
        for n in (4, 1, 3, 0):
            x = torch.randn(2 * n, n_in, *size)[::2]
            exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=conv.padding)
            exact = F.relu(exact) if relu else exact
            for lying in (x, x.contiguous(), x.to(memory_format=torch.channels_last)):
                torch.testing.assert_close(layer(lying).double(), exact, rtol=1e-5, atol=1e-5)
    assert CONVOLUTIONS.available()
