"""The FID Inception alone on a device: images/s by dtype, batch size and way to run it.

Each rate is also given as a share of the rate of one large matrix product in the same run and dtype.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmetrics.features import inception
from ganmetrics.features.extractor import NetworkExtractor, Options
from ganmetrics.runtime.arithmetic import exact_arithmetic

GFLOP = 11.42  # of one image, all convolutions; benchmarks.cpu.network counts it
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def synchronized(device: torch.device) -> None:
    """Wait until the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], Any], device: torch.device, burst: float) -> float:
    """Mean seconds of one call, repeated for `burst` seconds after a warm-up; waits for the device before and after."""
    for _ in range(3):
        call()
    synchronized(device)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < burst or calls < 2:
        for _ in range(4):
            call()
        synchronized(device)
        calls += 4
    return (time.perf_counter() - start) / calls


def matrix_rate(dtype: torch.dtype, device: torch.device, size: int, burst: float) -> float:
    """TFLOP/s of a square matrix product."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device, burst) / 1e12


def convolution_rate(dtype: torch.dtype, device: torch.device, batch_size: int, burst: float) -> float:
    """TFLOP/s of a 3x3 convolution of 256 channels on 35x35, channels last."""
    x = torch.randn(batch_size, 256, 35, 35, device=device).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(256, 256, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
    work = 2 * batch_size * 35 * 35 * 256 * 256 * 9
    return work / seconds(lambda: F.conv2d(x, weight, padding=1), device, burst) / 1e12


class Features(nn.Module):
    """The network with one input and one output."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, ("2048",))["2048"]


def captured(network: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """The network as a CUDA graph; each call copies the input into it.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs: warm-up on a side stream, then capture.
    """
    static, side = x.clone(memory_format=torch.preserve_format), torch.cuda.Stream(x.device)
    side.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(side):
        for _ in range(3):
            network(static)
    torch.cuda.current_stream(x.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = network(static)

    def replay() -> Tensor:
        static.copy_(x)
        graph.replay()
        return out

    return replay


@contextmanager
def tuned() -> Iterator[None]:
    """Turn on cuDNN's search for the fastest algorithm."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def compiled(network: nn.Module, x: Tensor, mode: str) -> Callable[[], Tensor]:
    """The network with torch.compile; compiling happens in the first call."""
    torch._dynamo.reset()  # else code compiled for another mode or shape could be reused
    optimised = torch.compile(network, mode=mode)
    return lambda: optimised(x)


WAYS: dict[str, Callable[[nn.Module, Tensor], Callable[[], Tensor]]] = {
    "compile reduce-overhead": lambda network, x: compiled(network, x, "reduce-overhead"),
    "compile max-autotune-no-cudagraphs": lambda network, x: compiled(network, x, "max-autotune-no-cudagraphs"),
    "CUDA graph": captured,
}


def measure_network(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows with `what` "device rate" (TFLOP/s of a matrix product and a convolution), and for each way to run."""
    device = torch.device(options.device)
    for name in options.dtypes:
        dtype = DTYPES[name]
        if device.type != "cuda" and name in ("tf32", "float16"):
            continue
        with exact_arithmetic(device, tf32=name == "tf32"):
            peak = matrix_rate(dtype, device, options.matrix, options.burst)
            conv = convolution_rate(dtype, device, options.batch_sizes[0], options.burst)
            yield {"what": "device rate", "dtype": name, "matrix_tflops": peak, "convolution_tflops": conv}
            extractor = inception.build("", Options(weights=Path(options.weights), device=device, dtype=dtype))
            for batch_size in options.batch_sizes:
                for row in ways(extractor, dtype, device, batch_size, options):
                    rate = row.get("images_s")
                    share = {} if rate is None else {"share_of_matrix_rate": rate * GFLOP / 1000 / peak}
                    yield {**row, "dtype": name, "batch_size": batch_size, **share}


def ways(
    extractor: NetworkExtractor, dtype: torch.dtype, device: torch.device, batch_size: int, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One row for each way to run the network; compiled and graph rows only on CUDA, at the middle batch size."""
    network = Features(extractor.network)
    x = torch.randn(batch_size, 3, 299, 299, device=device).to(dtype, memory_format=torch.channels_last)
    expected = network(x).clone()

    def row(what: str, call: Callable[[], Tensor]) -> dict[str, Any]:
        difference = float((call().double() - expected.double()).abs().max() / expected.double().abs().max())
        return {"what": what, "images_s": batch_size / seconds(call, device, options.burst), "difference": difference}

    yield row("plain", lambda: network(x))
    with tuned():
        yield row("cudnn.benchmark", lambda: network(x))
    if device.type != "cuda" or batch_size != options.batch_sizes[len(options.batch_sizes) // 2]:
        return
    for what, make in WAYS.items():
        try:
            yield row(what, make(network, x))
        except Exception as error:  # record a way that fails on this device and continue
            yield {"what": what, "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
