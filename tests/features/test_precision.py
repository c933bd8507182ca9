"""What the network runs in: dtypes and TF32, the latter with a stand-in for the device. See `test_gpu.py`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import ganmetrics as gm
from ganmetrics.commands.options import EXTRACTING
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.measurement import reference_cache, settings
from ganmetrics.measurement.measurement import configured
from ganmetrics.protocols import DTYPES
from ganmetrics.runtime import arithmetic, device
from ganmetrics.statistics import files
from tests.helpers.commands import run_cli
from tests.helpers.small_network import Pooled, small

CPU = torch.device("cpu")
LITE = {"features": "efficientnet-lite0", "device": "cpu", "progress": False}


def test_one_list_of_dtypes() -> None:
    (choice,) = (p.type for o in EXTRACTING for p in o(lambda: None).__click_params__ if p.name == "dtype")
    assert tuple(choice.choices) == DTYPES
    assert [device.resolve_dtype(name) for name in DTYPES] == [getattr(torch, name) for name in DTYPES]
    with pytest.raises(OptionError, match="--dtype: expected one of float32, float64, bfloat16, float16, got 'half'"):
        device.resolve_dtype("half")


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_is_near_float64(name: str, images: torch.Tensor) -> None:
    """Off by a few roundings of the dtype, and not by none: it did run in it."""
    dtype = getattr(torch, name)
    torch.manual_seed(0)
    network = Pooled()
    found = {
        d: small(copy.deepcopy(network).to(d), dtype=d)([images], ["features"])["features"]
        for d in (torch.float64, dtype)
    }
    off = (found[dtype].double() - found[torch.float64]).abs().max() / found[torch.float64].abs().max()
    assert found[dtype].dtype == dtype
    assert 0 < off < 4 * torch.finfo(dtype).eps
    assert small(network, dtype=dtype).describe("features")["dtype"] == name


def test_float16_in_a_score(images: torch.Tensor) -> None:
    other = (images.float() * 0.6).byte()
    network = Pooled()
    by_dtype = [small(copy.deepcopy(network).to(dtype), dtype=dtype) for dtype in (torch.float32, torch.float16)]
    exact, short = (gm.fid(images, other, features=extractor, progress=False) for extractor in by_dtype)
    assert short.protocol["dtype"] == "float16"
    assert short.value != exact.value
    assert short.value == pytest.approx(exact.value, rel=0.01)


def test_float16_that_overflows_is_an_error(images: torch.Tensor) -> None:
    network = Pooled()
    torch.nn.init.constant_(network.conv.weight, 60000.0)
    bright = torch.full_like(images, 255)
    with pytest.raises(StatisticsError, match="features small: NaN or infinity in the features vectors"):
        small(network.half(), dtype=torch.float16)([bright], ["features"])


def test_an_operator_that_a_dtype_lacks_is_an_error_of_one_line(images: torch.Tensor) -> None:
    def network(x: torch.Tensor, taps: Any) -> dict[str, torch.Tensor]:
        raise NotImplementedError("\"max_pool2d\" not implemented for 'Half'\nmore")

    expected = r"^--dtype float16: torch \S+ cannot run small in it on cpu \(.*'Half'\); use --dtype float32$"
    with pytest.raises(OptionError, match=expected):
        small(network, dtype=torch.float16)([images], ["features"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_parzen_takes_no_half_precision(dtype: str, images: torch.Tensor) -> None:
    with pytest.raises(OptionError, match=f"expected float32 or float64, of a Parzen window's .*, got {dtype}"):
        gm.Parzen(images[:3], images[3:6], dtype=dtype)


# TF32


@pytest.fixture
def cuda_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks for a device is told CUDA, and the networks run on the CPU: only then is a name of it stated."""
    monkeypatch.setattr(settings, "resolve_device", lambda device: CPU)
    monkeypatch.setattr(settings, "require_tf32", lambda device, dtype: None)


def knobs() -> list[Any]:
    return [getattr(owner, name) for owner, name, _ in arithmetic._fp32_knobs(torch.device("cuda"), tf32=False)]


def test_tf32_is_on_within_and_off_again() -> None:
    cuda, before = torch.device("cuda"), knobs()
    with arithmetic.exact_arithmetic(cuda):
        exact = knobs()
        with arithmetic.exact_arithmetic(cuda, tf32=True):
            shortened = knobs()
        assert knobs() == exact
    assert knobs() == before
    assert set(exact) <= {"ieee", "highest", False}
    assert set(shortened) <= {"tf32", "high", True}


def test_tf32_reaches_the_network_alone(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    real = arithmetic.exact_arithmetic
    monkeypatch.setattr(
        "ganmetrics.features.extractor.exact_arithmetic",
        lambda device, *, tf32=False: (asked.append(("in", tf32)), real(device, tf32=tf32))[1],
    )
    network = Pooled()
    shortened = small(lambda x, taps: (asked.append(("network", True)), network(x, taps))[1], tf32=True)
    shortened.prepare([images])
    assert asked == []
    vectors = shortened([images], ["features"])
    assert asked == [("in", True), ("network", True)]
    assert torch.equal(vectors["features"], small(network)([images], ["features"])["features"])  # a CPU has none
    assert shortened.describe("features")["dtype"] == "tf32"


def test_tf32_where_there_is_none_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"^--allow-tf32: expected a CUDA device, which alone has TF32, got cpu; "):
        gm.Settings(allow_tf32=True, device="cpu")
    for dtype in set(DTYPES) - {"float32"}:
        with pytest.raises(OptionError, match=f"expected --dtype float32, whose products it shortens, got {dtype}"):
            device.require_tf32(torch.device("cuda"), getattr(torch, dtype))
    found = run_cli("fid", "digits[0:5]", "digits[5:9]", "--allow-tf32", "--device", "cpu", check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("Error: --allow-tf32: expected a CUDA device")


@pytest.mark.usefixtures("cuda_on_paper")
@pytest.mark.parametrize("features", ["pixels", lambda x: x.float().mean((2, 3))])
def test_tf32_is_for_networks(features: Any) -> None:
    with pytest.raises(OptionError, match="is no network that --dtype applies to; leave it out"):
        _ = gm.Settings(features=features, allow_tf32=True).extractor


@pytest.mark.usefixtures("cuda_on_paper")
def test_tf32_is_told_apart_everywhere(images: torch.Tensor, tmp_path: Path) -> None:
    """Score, statistics file and its merge, warning of unlike sides, stream and cache: all by the protocol's dtype."""
    images, kept = images[:3], {}
    for name, tf32 in (("exact", False), ("short", True)):
        kept[name] = tmp_path / f"{name}.npz"
        files.write(kept[name], gm.stats(images, allow_tf32=tf32, **LITE))
    score = gm.fid(kept["exact"], images, allow_tf32=True, **LITE)
    assert "the two sides were measured with different dtypes: float32 and tf32" in score.warnings
    assert gm.fid(images, kept["short"], allow_tf32=True, **LITE).protocol["dtype"] == "tf32"
    with pytest.raises(StatisticsError, match="measured differently: dtype is float32 and tf32"):
        gm.merge(list(kept.values()))
    exact, short = (gm.FID(real=images, allow_tf32=tf32, **LITE) for tf32 in (False, True))
    with pytest.raises(StatisticsError, match="measured differently: dtype is float32 and tf32"):
        exact.merge(short)
    keys = {
        reference_cache.cache_key(configured(["fid"], gm.Settings(allow_tf32=tf32, **LITE))[0].need, "0")
        for tf32 in (False, True)
    }
    assert len(keys) == 2
