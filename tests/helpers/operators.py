"""What the tests of private operators share: operators that are tried anew, and a skip where there are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ganmetrics.features import packing
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.runtime.private_operators import PrivateOperator
from ganmetrics.runtime.products import FLOAT32_PRODUCTS, INT8_PRODUCTS

CONVOLUTIONS = packing.packed_convolution(torch.float32)


@pytest.fixture
def operators_afresh(seeded: None) -> Iterator[None]:
    """Every operator tried and checked again, before and after; as while a score is measured."""
    operators: tuple[PrivateOperator[Any], ...] = FLOAT32_PRODUCTS, INT8_PRODUCTS, CONVOLUTIONS
    for operator in operators:
        operator.forget()
    with exact_arithmetic(torch.device("cpu")):
        yield
    for operator in operators:
        operator.forget()


def needed(operator: PrivateOperator[Any]) -> None:
    """Skips a test of an operator that is not there."""
    if not operator.available():
        pytest.skip("this torch or processor has no such operator")
