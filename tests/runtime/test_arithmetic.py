"""Inner products by oneDNN are within rounding of those in float64, and are not used where they are wrong."""

from __future__ import annotations

import pytest
import torch

from ganmetrics.runtime import arithmetic
from ganmetrics.runtime.arithmetic import exact_arithmetic


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
            found = arithmetic.inner_products(x, y, term)
            assert found.dtype == dtype
            assert bool(((found.double() - expected).abs() <= bound).all())
        for strided in (torch.randn(2 * m, dtype=dtype)[::2], torch.randn(1, dtype=dtype).expand(m)):
            torch.testing.assert_close(
                arithmetic.inner_products(x, y, strided), arithmetic.inner_products(x, y, strided.clone())
            )
        rows = torch.randn(2 * n, dim, dtype=dtype)[::2]
        torch.testing.assert_close(arithmetic.inner_products(rows, y), arithmetic.inner_products(rows.contiguous(), y))


def test_what_is_set_around_the_trial_does_not_matter() -> None:
    arithmetic.available.cache_clear()
    expected = arithmetic.available()
    arithmetic.available.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        assert arithmetic.available() == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_operator_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(9, 5), torch.randn(4, 5)
    for wrong in (lambda x, y, added: x @ y.T, lambda x, y, added: x.neither):
        monkeypatch.setattr(arithmetic, "_by_onednn", wrong)
        arithmetic.available.cache_clear()
        assert not arithmetic.available()
        torch.testing.assert_close(arithmetic.inner_products(x, y), x @ y.T)
    arithmetic.available.cache_clear()
