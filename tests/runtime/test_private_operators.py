"""Operators that are no public interface: right at every shape, and left alone as soon as they are wrong anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmetrics.features import packing
from ganmetrics.features.inception_network import BasicConv2d
from ganmetrics.metrics.parzen import log_likelihood
from ganmetrics.runtime import products
from ganmetrics.runtime.private_operators import PrivateOperator
from ganmetrics.runtime.products import FLOAT32_PRODUCTS, INT8_PRODUCTS, Bytes, Factors
from tests.helpers.operators import CONVOLUTIONS, needed, operators_afresh  # noqa: F401 - a fixture
from tests.metrics.test_parzen_density import reference

pytestmark = pytest.mark.usefixtures("operators_afresh")


def garbage(found: Tensor) -> Tensor:
    return torch.full_like(found, 77)


def last_row(found: Tensor) -> Tensor:
    """The rest of a division by the width of a vector."""
    return torch.cat([found[:-1], found[-1:] + 1])


def not_numbers(found: Tensor) -> Tensor:
    return found * torch.nan if found.is_floating_point() else found + 1


def another_shape(found: Tensor) -> Tensor:
    return found[:, :-1]


def raising(found: Tensor) -> Tensor:
    raise RuntimeError("could not create a primitive")


Wrong = Callable[[Tensor], Tensor]
WRONG = (garbage, last_row, not_numbers, another_shape, raising)


def make_wrong(
    monkeypatch: pytest.MonkeyPatch, operator: PrivateOperator[Any], wrong: Wrong, where: Callable[[Any], bool]
) -> list[Any]:
    """The operator gives something else for some work, which is what comes back."""
    right, met = operator.private, []

    def private(work: Any) -> Tensor:
        found = right(work)
        if not where(work):
            return found
        met.append(work)
        return wrong(found)

    monkeypatch.setattr(operator, "private", private)
    return met


def layer_and_batch() -> tuple[packing.PackedConv2d, Tensor]:
    conv = nn.Conv2d(16, 24, (3, 3)).to(memory_format=torch.channels_last)
    x = torch.randn(4, 16, 20, 21).to(memory_format=torch.channels_last)
    return packing.PackedConv2d(conv, tuple(x.shape), relu=True), x


def work_of(operator: PrivateOperator[Any], n: int = 201) -> Any:
    if operator is FLOAT32_PRODUCTS:
        return Factors(torch.randn(n, 100), torch.randn(300, 100), torch.randn(300))
    if operator is INT8_PRODUCTS:
        return Bytes(*(torch.randint(-128, 128, shape).to(torch.int8) for shape in ((n, 100), (100, 300))))
    layer, x = layer_and_batch()
    return layer, x[: n % 4 + 1]


OPERATORS = pytest.mark.parametrize(
    "operator", [FLOAT32_PRODUCTS, INT8_PRODUCTS, CONVOLUTIONS], ids=["float32", "int8", "convolution"]
)


@OPERATORS
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_in_any_one_trial(monkeypatch: pytest.MonkeyPatch, operator: PrivateOperator[Any], wrong: Wrong) -> None:
    needed(operator)
    work = work_of(operator)
    shapes = [operator.shape(trial) for trial in operator.trials()]
    for shape in dict.fromkeys(shapes):
        operator.forget()
        with monkeypatch.context() as patch:
            assert make_wrong(patch, operator, wrong, lambda work, shape=shape: operator.shape(work) == shape) == []
            assert not operator.available()
            assert torch.equal(operator(work), operator.plain(work))


@OPERATORS
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_on_real_work_alone(
    monkeypatch: pytest.MonkeyPatch, operator: PrivateOperator[Any], wrong: Wrong
) -> None:
    """The first answer is right already, and so is all that follows, by the plain operator."""
    needed(operator)
    work = work_of(operator)
    met = make_wrong(monkeypatch, operator, wrong, lambda other: operator.shape(other) == operator.shape(work))
    assert operator.available()
    expected = operator.plain(work)
    for _ in range(3):
        assert torch.equal(operator(work), expected)
    assert len(met) == 1
    assert not operator.available()


@OPERATORS
def test_wrong_for_a_later_shape(monkeypatch: pytest.MonkeyPatch, operator: PrivateOperator[Any]) -> None:
    needed(operator)
    first, second = work_of(operator), work_of(operator, 202)
    assert operator.shape(first) != operator.shape(second)
    make_wrong(monkeypatch, operator, last_row, lambda work: operator.shape(work) == operator.shape(second))
    operator(first)
    assert operator.available()
    assert torch.equal(operator(second), operator.plain(second))
    assert not operator.available()


@OPERATORS
def test_right_work_is_checked_once(monkeypatch: pytest.MonkeyPatch, operator: PrivateOperator[Any]) -> None:
    """And comes from the operator, bit for bit."""
    needed(operator)
    work, agrees, checked = work_of(operator), operator.agrees, []
    expected = operator.private(work)
    monkeypatch.setattr(operator, "agrees", lambda *given: checked.append(given) or agrees(*given))
    for _ in range(3):
        assert torch.equal(operator(work), expected)
    assert len(checked) == 1
    assert operator.available()


@pytest.mark.parametrize("n", [0, 1, 15])
def test_few_bytes_and_few_dimensions_never_reach_it(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    needed(INT8_PRODUCTS)
    met = make_wrong(monkeypatch, INT8_PRODUCTS, garbage, lambda work: True)
    for shape in ((n, 40, 50), (40, n, 50), (40, 50, n)):
        a, b = torch.randint(-128, 128, shape[:2]), torch.randint(-128, 128, shape[1:])
        assert torch.equal(products.byte_products(a.to(torch.int8), b.to(torch.int8)).long(), a @ b)
    assert not met


@pytest.mark.parametrize(
    ("n", "m", "dim"), [(0, 9, 100), (9, 0, 100), (9, 9, 0), (9, 9, 16), (900, 900, 1), (900, 900, 15)]
)
def test_few_vectors_and_few_dimensions_never_reach_it(
    monkeypatch: pytest.MonkeyPatch, n: int, m: int, dim: int
) -> None:
    met = make_wrong(monkeypatch, FLOAT32_PRODUCTS, garbage, lambda work: True)
    x, y = torch.randn(n, dim), torch.randn(m, dim)
    assert torch.equal(products.inner_products(x, y), F.linear(x, y))
    assert not met


@pytest.mark.parametrize("wrong", WRONG)
def test_a_parzen_window_of_bytes_by_a_wrong_operator(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, wrong: Wrong
) -> None:
    needed(INT8_PRODUCTS)
    samples, x = (torch.from_numpy(rng.integers(0, 256, (n, 90), dtype=np.uint8)) for n in (300, 50))
    make_wrong(monkeypatch, INT8_PRODUCTS, wrong, lambda work: work.a.shape[1] == 90)
    assert INT8_PRODUCTS.available()
    expected = reference(x.double().numpy() / 255, samples.double().numpy() / 255, 0.2)
    np.testing.assert_allclose(log_likelihood(x, samples, 0.2), expected, rtol=1e-12, atol=1e-3)
    assert not INT8_PRODUCTS.available()


def small_network() -> nn.Module:
    layers = (BasicConv2d(3, 24, (3, 3), 2, (1, 1)), BasicConv2d(24, 33, (1, 5), 1, (0, 2)), nn.Conv2d(33, 9, 1))
    for layer in layers[:2]:
        layer.bn = nn.Identity()
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_network_becomes_plain_where_a_layer_is_wrong(
    monkeypatch: pytest.MonkeyPatch, wrong: Wrong, place: int
) -> None:
    needed(CONVOLUTIONS)
    torch.manual_seed(0)
    plain_network = small_network()
    torch.manual_seed(0)
    x = torch.randn(4, 3, 37, 41).to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    network = packing.packed(small_network(), BasicConv2d, torch.zeros(1, 3, 37, 41), 4)
    layers = [module for module in network.modules() if isinstance(module, packing.PackedConv2d)]
    assert all(layer.weight.is_mkldnn for layer in layers)
    make_wrong(monkeypatch, CONVOLUTIONS, wrong, lambda work: work[0] is layers[place])
    expected = plain_network(x)
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(network(x), expected)
    assert not any(layer.weight.is_mkldnn for layer in layers)


def test_weights_that_do_not_come_back_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    needed(CONVOLUTIONS)
    layer, x = layer_and_batch()
    expected = CONVOLUTIONS.plain((layer, x))
    reorder = torch.ops.aten.mkldnn_reorder_conv2d_weight
    wrong = (lambda weight, *rest: reorder((2 * weight.to_dense()).to_mkldnn(), *rest), lambda *given: raising(x))
    for broken in wrong:
        monkeypatch.setattr(torch.ops.aten, "mkldnn_reorder_conv2d_weight", broken)
        torch.manual_seed(1)
        conv = nn.Conv2d(16, 24, (3, 3)).to(memory_format=torch.channels_last)
        unpacked = packing.PackedConv2d(conv, tuple(x.shape), relu=True)
        assert not unpacked.weight.is_mkldnn
        assert torch.equal(unpacked(x), F.relu(conv(x)))
    assert torch.equal(layer(x), CONVOLUTIONS.private((layer, x)))
    torch.testing.assert_close(layer(x), expected)
