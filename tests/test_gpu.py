"""On a CUDA device: the same numbers as on the CPU. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.images.resize import RESIZES
from ganmetrics.protocols import PROTOCOLS
from tests import generators

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def images(photo_patches: Callable[..., np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(photo_patches(40, 40, 9)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("name", RESIZES)
def test_resize(images: torch.Tensor, name: str) -> None:
    cpu = RESIZES[name](images.float(), 299)
    torch.testing.assert_close(RESIZES[name](images.float().cuda(), 299).cpu(), cpu, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_fid(images: torch.Tensor, synthetic_weights: Path, protocol: str) -> None:
    options = {"weights": synthetic_weights, "protocol": protocol, "progress": False}
    cpu, gpu = (gm.fid(images[:20], images[20:], device=device, **options) for device in ("cpu", "cuda"))
    assert gpu.value == pytest.approx(cpu.value, rel=1e-4)
    assert gpu.protocol["device"] == "cuda"


@pytest.mark.parametrize("method", ["auto", "xiang-li"])
def test_latent_inversion(method: str) -> None:
    """One block on both, so that only the rounding differs, which a search amplifies."""
    options = {"method": method, "pool": 256, "block": 32}
    network, targets = generators.Conv(), generators.photos(40)[:, :1]
    cpu, gpu = (gm.invert(network.to(device), targets, **options) for device in ("cpu", "cuda"))
    assert float(gpu.errors.mean()) == pytest.approx(float(cpu.errors.mean()), rel=2e-2 if method == "auto" else 1e-3)
    again = gm.invert(network, targets, batch_size=7, **options)
    torch.testing.assert_close(again.errors, gpu.errors, rtol=0, atol=1e-5)
    assert gm.invert(network, targets[:2], steps=1, pool=16).search.block == 128
    with torch.no_grad():
        mine = network.cuda()(torch.randn(20, 10, generator=torch.Generator().manual_seed(0)).cuda() / 4)
    found = gm.invert(network, mine, value_range=(-1, 1), method="lbfgs", restarts=2)
    assert float(found.errors.median()) < 1e-6
    assert found.latents.device.type == "cpu"


def test_inception_score(images: torch.Tensor, synthetic_weights: Path) -> None:
    options = {"weights": synthetic_weights, "splits": 2, "progress": False}
    cpu, gpu = (gm.inception_score(images, device=device, **options) for device in ("cpu", "cuda"))
    assert gpu.value == pytest.approx(cpu.value, rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_and_ambient_tf32(images: torch.Tensor, synthetic_weights: Path, batch_size: int) -> None:
    """What a training loop sets for speed does not reach the metric, and is there again afterwards."""
    options = {"weights": synthetic_weights, "device": "cuda", "progress": False}
    expected = gm.fid(images[:20], images[20:], **options).value
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            value = gm.fid(images[:20], images[20:], batch_size=batch_size, **options).value
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert value == pytest.approx(expected, rel=1e-4)


def test_batches_that_are_on_the_device_already(images: torch.Tensor) -> None:
    options = {"features": "efficientnet-lite0", "device": "cuda", "progress": False}
    metric = gm.FID(real=images[:20].cuda(), **options)
    metric.update(images[20:].cuda())
    assert metric.compute().value == pytest.approx(gm.fid(images[:20], images[20:], **options).value, rel=1e-4)


def test_float64_equals_the_cpu(images: torch.Tensor, synthetic_weights: Path) -> None:
    options = {"weights": synthetic_weights, "dtype": "float64", "progress": False}
    cpu, gpu = (gm.fid(images[:6], images[20:26], device=device, **options) for device in ("cpu", "cuda"))
    assert gpu.value == pytest.approx(cpu.value, rel=1e-8)
