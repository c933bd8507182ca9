"""Inner products by oneDNN are within rounding of those in float64, and are not used where they are wrong."""

from __future__ import annotations

import pytest
import torch

from ganmetrics.runtime import products
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.runtime.products import FLOAT32_PRODUCTS


@pytest.mark.parametrize(
    ("n", "m", "dim"), [(1, 1, 1), (1, 300, 7), (300, 1, 64), (513, 259, 2048), (0, 3, 4), (3, 0, 4)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_float64_within_rounding(n: int, m: int, dim: int, dtype: torch.dtype) -> None:
    x, y, added = (torch.randn(*shape, dtype=dtype) for shape in ((n, dim), (m, dim), (m,)))
    bound = dim * torch.finfo(dtype).eps * (x.double().abs() @ y.double().abs().T + added.double().abs())
    with exact_arithmetic(torch.device("cpu")):
        for term in (added, None):
            expected = x.double() @ y.double().T + (0 if term is None else term.double())
            found = products.inner_products(x, y, term)
            assert found.dtype == dtype
            assert bool(((found.double() - expected).abs() <= bound).all())
        for strided in (torch.randn(2 * m, dtype=dtype)[::2], torch.randn(1, dtype=dtype).expand(m)):
            torch.testing.assert_close(
                products.inner_products(x, y, strided), products.inner_products(x, y, strided.clone())
            )
        rows = torch.randn(2 * n, dim, dtype=dtype)[::2]
        torch.testing.assert_close(products.inner_products(rows, y), products.inner_products(rows.contiguous(), y))


def test_what_is_set_around_the_trial_does_not_matter() -> None:
    FLOAT32_PRODUCTS.forget()
    expected = FLOAT32_PRODUCTS.available()
    FLOAT32_PRODUCTS.forget()
    torch.set_default_dtype(torch.float64)
    try:
        assert FLOAT32_PRODUCTS.available() == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_operator_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(900, 50), torch.randn(400, 50)
    for wrong in (lambda work: work.x @ work.y.T, lambda work: work.neither):
        monkeypatch.setattr(FLOAT32_PRODUCTS, "private", wrong)
        FLOAT32_PRODUCTS.forget()
        assert not FLOAT32_PRODUCTS.available()
        torch.testing.assert_close(products.inner_products(x, y), x @ y.T)
    FLOAT32_PRODUCTS.forget()


def test_an_overflow_is_no_reason_to_refuse_the_operator() -> None:
    """The plain product overflows to the same infinities."""
    x, y = torch.rand(40, 64) + 1, torch.rand(50, 64) + 1
    before = FLOAT32_PRODUCTS.available()
    FLOAT32_PRODUCTS.forget()
    assert torch.isinf(products.inner_products(x * 1e25, y * 1e25)).all()
    assert FLOAT32_PRODUCTS.available() == before
    FLOAT32_PRODUCTS.forget()
