"""The wall time of one `ganmetrics fid` over small images, split into parts that add up to it.

    python -m benchmarks.cpu.profile STARTED REAL FAKE WEIGHTS      (STARTED: time.time() before the process started)

Timers wrap calls of the package and, by name, the tensor operations of the network. The time of a part excludes the
parts inside it. Time outside all timers is "everything else".
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BEGUN = time.time()  # end of the part "interpreter": Python and the imports above are loaded
KINDS = {"conv": "convolutions", "pool": "pooling", "cat": "concatenation"}
ORDER = (
    "interpreter", "import torch", "import the package", "network: load, fold, pack", "finding images",
    "reading and decoding (waiting)", "resize and scale", "convolutions", "pooling", "concatenation",
    "other layers", "moments", "Fréchet distance", "everything else", "exit",
)  # fmt: skip


class Stopwatch:
    """Seconds by part; in nested parts each second counts only for the innermost one."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._open = [0.0]  # for each part that is running: seconds already counted for parts inside it

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block."""
        start = time.perf_counter()
        self._open.append(0.0)
        try:
            yield
        finally:
            passed = time.perf_counter() - start
            self.spent[name] += passed - self._open.pop()
            self._open[-1] += passed

    def around(self, owner: Any, attribute: str, name: str) -> None:
        """Wrap a function or method so that all further calls are timed."""
        call = getattr(owner, attribute)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return call(*args, **kwargs)

        setattr(owner, attribute, timed)

    def around_iteration(self, owner: Any, name: str) -> None:
        """Wrap `owner.__iter__` so that the time the caller waits for each item is counted."""
        original = owner.__iter__

        def timed(*args: Any) -> Iterator[Any]:
            items, end = original(*args), object()
            while True:
                with self.part(name):
                    item = next(items, end)
                if item is end:
                    return
                yield item

        owner.__iter__ = timed


def run(started: float, real: str, fake: str, weights: str) -> dict[str, Any]:
    """Measure `gm.fid` in this process: seconds by part, the score's value, and the time at the end."""
    watch = Stopwatch()
    watch.spent["interpreter"] = BEGUN - started
    with watch.part("import torch"):
        import torch
        from torch.overrides import TorchFunctionMode
    with watch.part("import the package"):
        import ganmetrics as gm

        importlib.import_module("ganmetrics.evaluation")  # `gm.fid` imports it at its first use
        from ganmetrics.features import inception
        from ganmetrics.features.extractor import NetworkExtractor, Options
        from ganmetrics.images.reader import Reader
        from ganmetrics.measurement.settings import Settings
        from ganmetrics.metrics.fid import FrechetDistance
        from ganmetrics.statistics.moments import Moments

    class Operations(TorchFunctionMode):
        def __torch_function__(
            self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            name = getattr(function, "__name__", "")
            with watch.part(next((kind for part, kind in KINDS.items() if part in name), "other layers")):
                return function(*args, **(kwargs or {}))

    class Network:
        """The extractor's network with a timer around each operation."""

        def __init__(self, network: Callable):
            self.network = network

        def __call__(self, *args: Any) -> Any:
            with watch.part("other layers"), Operations():
                return self.network(*args)

    def build(argument: str, options: Options) -> NetworkExtractor:
        extractor = original(argument, options)
        extractor.network = Network(extractor.network)
        return extractor

    original, inception.build = inception.build, build
    watch.around(inception, "build", "network: load, fold, pack")
    watch.around(Settings, "open", "finding images")
    watch.around_iteration(Reader, "reading and decoding (waiting)")
    watch.around(NetworkExtractor, "prepare", "resize and scale")
    watch.around(Moments, "update", "moments")
    watch.around(FrechetDistance, "compute", "Fréchet distance")
    with watch.part("everything else"):
        score = gm.fid(real, fake, weights=weights, device="cpu", progress=False, cache=False)
    ended = time.time()
    watch.spent["everything else"] += max(0.0, ended - started - sum(watch.spent.values()))
    return {"parts": watch.spent, "value": score.value, "ended": ended, "threads": torch.get_num_threads()}


def measure_profile(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows with `what`, seconds, images, threads, in the order of ORDER."""
    from benchmarks.cpu.processes import finished
    from benchmarks.peers.fid import synthetic_folders

    with tempfile.TemporaryDirectory() as folder:
        real, fake = map(str, synthetic_folders(Path(folder), options.profile_images, 32, ".png"))
        started = time.time()
        argv = [sys.executable, "-m", "benchmarks.cpu.profile", str(started), real, fake, options.weights]
        ran = finished(argv)
    result = json.loads(ran.out.strip().splitlines()[-1])
    parts = {**result["parts"], "exit": max(0.0, started + ran.wall - result["ended"])}
    for what in ORDER:
        images, value = 2 * options.profile_images, result["value"]
        yield {
            "what": what,
            "seconds": parts.get(what, 0.0),
            "images": images,
            "threads": result["threads"],
            "value": value,
        }


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]), *sys.argv[2:])))
