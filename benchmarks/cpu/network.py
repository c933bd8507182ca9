"""The share of the processor's convolution rate that the FID Inception reaches, from single layers to whole images.

Everything is measured in one process, alternately, in rounds, with the batch size that `extract` uses on a CPU. Only
figures of the same round are compared, because the processor's clock speed changes over time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmetrics.features import inception
from ganmetrics.features.extract import extract
from ganmetrics.features.extractor import CPU_BATCH, NetworkExtractor, Options, place
from ganmetrics.features.inception_network import SIZE, InceptionV3
from ganmetrics.features.packing import PackedConv2d, available
from ganmetrics.features.weights import load_state_dict
from ganmetrics.images import open_images
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.statistics.moments import Moments

Shape = tuple[nn.Conv2d, tuple[int, ...]]
FRIENDLY = ((256, 256, (3, 3), 35), (192, 192, (1, 7), 17), (448, 384, (3, 3), 8))  # channels in, out; kernel; edge
CPU = torch.device("cpu")


def convolutions(network: nn.Module, batch_size: int = 1) -> list[Shape]:
    """All convolutions of a network on `(N, 3, 299, 299)`, each with the shape of its input, in calling order."""
    shapes: list[Shape] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        shapes.append((module, (batch_size, *inputs[0].shape[1:])))

    hooks = [layer.register_forward_pre_hook(note) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        network(torch.zeros(1, 3, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    return shapes


def gflop(shape: Shape) -> float:
    """GFLOP of one convolution of a whole batch; a multiplication and an addition count as two operations."""
    conv, size = shape
    weight = conv.weight.to("meta")  # on "meta" only the shape is computed
    out = F.conv2d(torch.empty(size, device="meta"), weight, None, conv.stride, conv.padding)
    return 2 * out.numel() * weight[0].numel() / 1e9


def alone(shape: Shape) -> Callable[[], Any]:
    """A call of one convolution with ReLU, in the layout that oneDNN is fastest with, on a random input."""
    conv, size = shape
    x = torch.randn(size).to(memory_format=torch.channels_last)
    if available(torch.float32):
        packed = PackedConv2d(conv, size, relu=True)
        return lambda: packed(x)
    conv = conv.to(memory_format=torch.channels_last)
    return lambda: conv(x).relu_()


def friendly(batch_size: int) -> list[Shape]:
    """A few shapes similar to the network's own on which oneDNN is fast."""
    return [
        (nn.Conv2d(n_in, n_out, kernel, padding=(kernel[0] // 2, kernel[1] // 2)),
         (batch_size, n_in, edge, edge))
        for n_in, n_out, kernel, edge in FRIENDLY
    ]  # fmt: skip


def seconds(call: Callable[[], Any], burst: float) -> float:
    """Mean seconds of one call, repeated for `burst` seconds, after one call as warm-up."""
    call()
    calls, start = 0, time.perf_counter()
    while calls < 2 or time.perf_counter() - start < burst:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls


def best_rate(burst: float, batch_size: int = CPU_BATCH) -> float:
    """GFLOP/s of oneDNN on the fastest of `friendly` convolutions."""
    with exact_arithmetic(CPU):
        return max(gflop(shape) / seconds(alone(shape), burst) for shape in friendly(batch_size))


def gflop_of_an_image() -> float:
    """GFLOP of all convolutions of the network for one image; the final linear layer (0.004) is not counted."""
    return sum(map(gflop, convolutions(InceptionV3())))


def networks(options: argparse.Namespace) -> tuple[NetworkExtractor, dict[str, Callable[[Tensor], Any]]]:
    """The extractor as the package builds it; and by name, this network and other forms of it."""
    own = Options(weights=Path(options.weights))
    extractor = inception.build("", own)

    def fresh() -> InceptionV3:
        network = InceptionV3()
        network.load_state_dict(load_state_dict(Path(options.weights)))
        return network.eval().requires_grad_(False)

    folded, plain = place(fresh().fold_batch_norm(torch.float32), own), fresh()
    forms: dict[str, Callable[[Tensor], Any]] = {
        "the package's network": lambda x: extractor.network(x, ("2048",)),
        "folded, channels-last": folded,
        "plain, NCHW": lambda x: plain(x.contiguous()),
    }
    if options.compile:
        from torch._inductor import config

        config.freezing = True
        forms["torch.compile, freezing"] = torch.compile(folded)
    return extractor, forms


def measure_network(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows with `what`, round, gflop_s, images_s; with --compile also the seconds of compiling."""
    torch.manual_seed(0)
    extractor, forms = networks(options)
    an_image = gflop_of_an_image()
    own = [(alone(shape), gflop(shape)) for shape in convolutions(InceptionV3(), CPU_BATCH)]
    total = sum(size for _, size in own)
    n_images = options.batches * CPU_BATCH
    images = np.random.default_rng(0).integers(0, 256, (n_images, 32, 32, 3), dtype=np.uint8)
    x = extractor.prepare([torch.from_numpy(images[:CPU_BATCH]).permute(0, 3, 1, 2)])
    about = {"threads": torch.get_num_threads(), "batch": CPU_BATCH, "gflop_an_image": an_image, "convs": len(own)}

    def row(what: str, rate: float, **more: Any) -> dict[str, Any]:
        print(f"  {what:28} {rate:7.1f} GFLOP/s  {rate / an_image:6.1f} images/s", file=sys.stderr)
        return {"what": what, "gflop_s": rate, "images_s": rate / an_image, **more, **about}

    with exact_arithmetic(CPU):
        for name, network in forms.items():
            start = time.perf_counter()
            network(x)
            print(f"  {name}: first batch after {time.perf_counter() - start:.1f} s", file=sys.stderr)
            if name.startswith("torch.compile"):
                yield {"what": "compiling", "seconds": time.perf_counter() - start, "round": 0, **about}
    for turn in range(1, options.rounds + 1):
        print(f"  round {turn}/{options.rounds}", file=sys.stderr)
        yield row("best convolution", best_rate(options.burst), round=turn)
        with exact_arithmetic(CPU):
            spent = sum(seconds(call, options.burst / 10) for call, _ in own)
            yield row("its convolutions alone", total / spent, round=turn)
            for name, network in forms.items():
                start = time.perf_counter()
                for _ in range(options.batches):
                    network(x)
                spent = (time.perf_counter() - start) / options.batches
                yield row(name, an_image * CPU_BATCH / spent, round=turn)
        yield row("extraction, end to end", an_image * extraction_rate(extractor, images), round=turn)


def extraction_rate(extractor: NetworkExtractor, images: np.ndarray) -> float:
    """Images per second from an array `(N, H, W, 3)` to moments: all of `fid` except the distance."""
    moments, source = Moments(), open_images(images)
    start = time.perf_counter()
    extract(source, {extractor: {"2048": [moments.update]}}, progress=False)
    return len(images) / (time.perf_counter() - start)


if __name__ == "__main__":
    print(json.dumps({"conv_gflop_s": best_rate(0.5), "gflop_an_image": gflop_of_an_image()}))
