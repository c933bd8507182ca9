"""On a CUDA device: the same numbers as on the CPU. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganmetrics as gm
from benchmarks.gpu import __main__ as gpu_benchmark
from ganmetrics.errors import ImageError, StatisticsError
from ganmetrics.images import Summary, open_images
from ganmetrics.images.jpeg import JpegDecoder
from ganmetrics.images.resize import RESIZES
from ganmetrics.protocols import PROTOCOLS
from tests.helpers import generators

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def images(photo_patches: Callable[..., np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(photo_patches(40, 40, 9)).permute(0, 3, 1, 2).contiguous()


def test_what_is_seen_of_the_pixels(images: torch.Tensor) -> None:
    """Range and colour, added up on the device over several batches."""
    mixed = torch.cat([images, images[:7, 1:2].expand(-1, 3, -1, -1)])
    seen = [Summary(), Summary()]
    for summary, batches in zip(seen, (mixed.split(9), mixed.cuda().split(9)), strict=True):
        for batch in batches:
            summary.add([batch])
    for name in ("min_value", "max_value", "colour", "n_images", "sizes"):
        assert getattr(seen[0], name) == getattr(seen[1], name)


@pytest.mark.parametrize("name", RESIZES)
def test_resize(images: torch.Tensor, name: str) -> None:
    cpu = RESIZES[name](images, 299, torch.float32)
    torch.testing.assert_close(RESIZES[name](images.cuda(), 299, torch.float32).cpu(), cpu, rtol=1e-5, atol=1e-3)


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


@pytest.mark.parametrize(
    ("options", "rel"),
    [({"allow_tf32": True}, 1e-2), ({"dtype": "bfloat16"}, 0.1), ({"dtype": "float16"}, 2e-2)],
    ids=["tf32", "bfloat16", "float16"],
)
@pytest.mark.parametrize("features", ["inception", "efficientnet-lite0"])
def test_stated_choices_of_precision(
    images: torch.Tensor, synthetic_weights: Path, features: str, options: dict[str, Any], rel: float
) -> None:
    """Near float32 and not equal to it, stated, and gone afterwards."""
    asked = {"features": features, "device": "cuda", "progress": False}
    if features == "inception":
        asked["weights"] = synthetic_weights
    exact = gm.fid(images[:20], images[20:], **asked)
    short = gm.fid(images[:20], images[20:], **asked, **options)
    assert short.protocol["dtype"] == options.get("dtype", "tf32")
    if options != {"allow_tf32": True} or torch.cuda.get_device_capability()[0] >= 8:  # older ones have no TF32
        assert short.value != exact.value
    assert short.value == pytest.approx(exact.value, rel=rel)
    assert gm.fid(images[:20], images[20:], **asked).value == pytest.approx(exact.value, rel=1e-6)


@pytest.mark.parametrize("metric", ["fid", "kid"])
def test_batches_copied_ahead(images: torch.Tensor, synthetic_weights: Path, metric: str) -> None:
    """Many small batches in whose place the same host memory, or the same device memory, comes again and again."""
    options = {"features": "efficientnet-lite0", "progress": False, "batch_size": 3}
    many = images.repeat(8, 1, 1, 1) // torch.arange(1, 9, dtype=torch.uint8).repeat_interleave(40)[:, None, None, None]
    expected = gm.evaluate(many[:160], many[160:], [metric], device="cpu", **options)[metric].value

    def shared(where: str) -> Iterator[torch.Tensor]:
        memory = torch.empty_like(many[:3], device=where)
        for start in range(160, 319, 3):
            yield memory.copy_(many[start : start + 3])
        yield many[319:].to(where)

    near = {"rel": 1e-4, "abs": 1e-7}
    host = gm.evaluate(many[:160], many[160:], [metric], device="cuda", **options)[metric].value
    assert host == pytest.approx(expected, **near)
    for where in ("cpu", "cuda"):
        found = gm.evaluate(many[:160], shared(where), [metric], device="cuda", **options)[metric]
        assert found.n_fake == 160
        assert found.value == pytest.approx(expected, **near)
    with torch.cuda.stream(torch.cuda.Stream()):
        other = gm.evaluate(many[:160], many[160:], [metric], device="cuda", **options)[metric].value
    assert other == pytest.approx(expected, **near)


def test_vectors_that_are_not_finite(images: torch.Tensor) -> None:
    """The device is asked late, and still before there is a score."""

    def network(x: torch.Tensor) -> torch.Tensor:
        found = x.float().mean((2, 3))
        return found.masked_fill(found.sum(1, keepdim=True) == 0, torch.nan)

    broken = images.clone()
    broken[4] = 0
    with pytest.raises(StatisticsError, match="NaN or infinity in the features vectors"):
        gm.fid(images, broken, features=network, device="cuda", batch_size=2, progress=False)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_files_decoded_on_the_device(images: torch.Tensor, tmp_path: Path, mode: str) -> None:
    """Pixels a few of 255 from Pillow's; odd files are Pillow's own, and so are the errors."""
    for i, image in enumerate(images[:12]):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).convert(mode)
        picture.resize((160, 120)).save(tmp_path / f"{i:02}.jpg", quality=90, progressive=i == 5)
    decoder = JpegDecoder(torch.device("cuda"))
    plain, by_device = open_images(tmp_path), open_images(tmp_path, jpeg_decoder=decoder)
    for i in range(12):
        expected, found = plain.read(i).pixels, by_device.read(i).pixels
        assert found.device.type == ("cpu" if i == 5 else "cuda")
        assert found.shape == expected.shape
        assert float((found.cpu().float() - expected.float()).abs().mean()) < 2
    options = {"features": "efficientnet-lite0", "device": "cuda", "progress": False}
    one, other = (gm.fid(tmp_path, images, jpeg_decoder=name, **options) for name in ("pillow", "torchvision"))
    assert other.protocol["jpeg_decoder"] == "torchvision-cuda"
    assert other.value == pytest.approx(one.value, rel=0.05)
    whole = (tmp_path / "00.jpg").read_bytes()
    (tmp_path / "00.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="truncated file"):
        open_images(tmp_path, jpeg_decoder=decoder).read(0)


@pytest.mark.slow
def test_the_benchmark_finds_no_wrong_value(synthetic_weights: Path) -> None:
    assert gpu_benchmark.main(["--weights", str(synthetic_weights), "--smoke"]) == 0
