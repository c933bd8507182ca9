"""Packed convolutions give what plain ones give, for batches they were made for and for others; or are not used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganmetrics as gm
from ganmetrics.errors import StatisticsError, WeightsError
from ganmetrics.features import packing
from ganmetrics.features.extractor import Options
from ganmetrics.features.inception import build
from ganmetrics.features.inception_network import BasicConv2d, InceptionV3

needed = pytest.mark.skipif(not packing.available(torch.float32), reason="this torch or processor has no such operator")


def drawn(conv: nn.Conv2d, *shape: int) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    return x.to(conv.weight.dtype, memory_format=torch.channels_last)


@needed
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 2, 0), ((1, 7), 1, (0, 3)), (5, 1, 2)])
def test_a_convolution(kernel: int, stride: int, padding: int, bias: bool, relu: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 20, kernel, stride, padding, bias=bias).to(memory_format=torch.channels_last)
    one = packing.PackedConv2d(conv, (8, 8, 23, 21), relu=relu)
    for n, size in ((8, (23, 21)), (1, (23, 21)), (3, (40, 17))):
        x = drawn(conv, n, 8, *size)
        with torch.no_grad():
            own_bias = None if conv.bias is None else conv.bias.double()
            expected = F.conv2d(x.double(), conv.weight.double(), own_bias, conv.stride, conv.padding)
            expected = F.relu(expected) if relu else expected
        torch.testing.assert_close(one(x).double(), expected, rtol=1e-5, atol=1e-5)


def noisy() -> InceptionV3:
    torch.manual_seed(0)
    network = InceptionV3()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.fold_batch_norm(torch.float32).to(memory_format=torch.channels_last).requires_grad_(False)


@needed
def test_the_network() -> None:
    plain, packed = noisy(), packing.packed(noisy(), BasicConv2d, torch.zeros(1, 3, 299, 299), 2)
    assert not [module for module in packed.modules() if isinstance(module, nn.Conv2d)]
    for n in (2, 1):
        x = torch.randn(n, 3, 299, 299).to(memory_format=torch.channels_last)
        for tap, vectors in packed(x, ("64", "768", "2048")).items():
            expected = plain(x, (tap,))[tap]
            assert float((vectors - expected).norm() / expected.norm()) < 1e-5, tap


def test_float32_is_within_1e_5_of_the_plain_network(synthetic_weights: Path, images: Tensor) -> None:
    """Batch norm folded, pools behind convolutions, convolutions packed: against none of that."""
    plain = InceptionV3().eval()
    plain.load_state_dict(torch.load(synthetic_weights))
    ours = build("", Options(weights=synthetic_weights))
    x = ours.prepare([images[:4]])
    with torch.no_grad():
        found, expected = (network(x, ("64", "192", "768", "2048")) for network in (ours.network, plain))
    for tap, vectors in found.items():
        assert float((vectors - expected[tap]).norm() / expected[tap].norm()) < 1e-5, tap


@needed
def test_what_is_set_around_the_trial_does_not_matter() -> None:
    packing.packed_convolution(torch.float32).forget()
    with torch.autocast("cpu", torch.bfloat16):
        assert packing.available(torch.float32)


@needed
def test_a_network_that_overflows_is_not_packed_and_ends_in_an_error(
    synthetic_weights: Path, tmp_path: Path, images: Tensor
) -> None:
    """The packed ReLU would make 0 of NaN, and the score a number."""
    state = torch.load(synthetic_weights)
    state["Conv2d_2a_3x3.bn.weight"] *= 1e37
    torch.save(state, tmp_path / "overflows.pth")
    options = {"weights": tmp_path / "overflows.pth", "device": "cpu", "progress": False, "cache": False}
    for dtype in ("float32", "bfloat16"):
        with pytest.raises(StatisticsError, match="NaN or infinity"):
            gm.fid(images[:4], images[4:8], dtype=dtype, **options)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(synthetic_weights: Path, tmp_path: Path, value: float) -> None:
    state = torch.load(synthetic_weights)
    state["Mixed_6b.branch1x1.conv.weight"][0, 0] = value
    torch.save(state, tmp_path / "spoiled.pth")
    with pytest.raises(WeightsError, match=r"NaN or infinity in Mixed_6b.branch1x1.conv.weight; fetch or save"):
        build("", Options(weights=tmp_path / "spoiled.pth"))


def test_without_the_operators_the_network_is_plain(synthetic_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "available", lambda dtype: False)
    network = build("", Options(weights=synthetic_weights)).network
    assert [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_operators_that_are_wrong_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = packing.packed_convolution(torch.float32)
    for wrong in (lambda work: 2 * work[1], lambda work: work.neither):
        monkeypatch.setattr(operator, "private", wrong)
        operator.forget()
        assert not packing.available(torch.float32)
    operator.forget()
