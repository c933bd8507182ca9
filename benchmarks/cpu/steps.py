"""Each metric's own step on ready vectors, compared with the time to extract as many images in the same run.

As in an evaluation, vectors are added to the metric's statistic in the small batches of a network on a CPU (the
statistic is in memory, or on disk above a limit), and the score is computed from the statistic.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.cpu.network import extraction_rate
from ganmetrics.features import inception
from ganmetrics.features.extractor import CPU_BATCH, Options
from ganmetrics.features.inception_network import TAPS
from ganmetrics.measurement.settings import Settings
from ganmetrics.metrics import METRICS, OF_IMAGES
from ganmetrics.metrics.base import Metric
from ganmetrics.runtime.arithmetic import exact_arithmetic

BLOCK = 4096
DIMS = {"features": TAPS["2048"], "logits": TAPS["logits-unbiased"], "spatial": TAPS["spatial"]}
CLASSES = 10
EXTRACTED = 12  # batches for one measurement of the extraction rate, at most


def vectors(kind: str, side: str, n: int) -> Iterator[Tensor]:
    """Random `(n, D)` float32 in blocks, fixed seed: positive and correlated like pooled features, or like logits."""
    dim = DIMS[kind]
    rng = torch.Generator().manual_seed(list(DIMS).index(kind))
    mix = torch.randn(64, dim, generator=rng) / 5
    rng.manual_seed(100 + (side == "fake"))
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        latent = torch.randn(rows, 64, generator=rng) / torch.arange(1, 65).sqrt()
        block = latent @ mix + 0.2 * torch.randn(rows, dim, generator=rng) + 0.05 * (side == "fake")
        yield 5 * block if kind == "logits" else 0.4 * block.exp()


def filled_statistic(metric: Metric, side: str, n: int) -> tuple[Any, float]:
    """The metric's statistic of one side, filled batch by batch, and the seconds for that."""
    statistic, spent = metric.statistic(), 0.0
    for block in vectors(metric.kind, side, n):
        start = time.perf_counter()
        for batch in block.split(CPU_BATCH):
            statistic.update(batch)
        spent += time.perf_counter() - start
    return statistic, spent


def available() -> list[str]:
    """Metrics over vectors of real and fake images; none over the images themselves."""
    return [name for name, entry in OF_IMAGES.items() if not entry.smallest]


def measure_steps(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows with `what` (a metric), n, dim, sides, keep_s, score_s; rows with `what` "extraction" have images_s."""
    settings = Settings(weights=options.weights, progress=False)
    about = {"threads": torch.get_num_threads(), "n": options.n}
    images = np.random.default_rng(0).integers(0, 256, (EXTRACTED * CPU_BATCH, 32, 32, 3), dtype=np.uint8)
    images = images[: CPU_BATCH * options.batches]
    extractor = inception.build("", Options(weights=Path(options.weights)))
    extraction_rate(extractor, images[:CPU_BATCH])  # warm-up

    def rate() -> dict[str, Any]:
        measured = extraction_rate(extractor, images)
        print(f"  extraction: {measured:.1f} images/s", file=sys.stderr)
        return {"what": "extraction", "images_s": measured, **about}

    filled: dict[tuple, tuple[Any, float]] = {}
    names = options.metrics or available()
    # Sorted by kind, so that only one kind of vectors is stored at a time.
    for name in sorted(names, key=lambda name: METRICS[name].load().kind):
        yield rate()
        metric = METRICS[name].load().configured(settings.rules, settings)
        filled = {key: value for key, value in filled.items() if key[0] == metric.kind}
        keep = 0.0
        statistics, labels = dict[str, Any](), dict[str, list[str]]()
        with exact_arithmetic(torch.device("cpu")):
            for side in metric.sides:
                key = (metric.kind, metric.statistic, side)
                if key not in filled:
                    filled[key] = filled_statistic(metric, side, options.n)
                statistics[side], spent = filled[key]
                keep += spent
                if metric.labelled:
                    labels[side] = [f"class {i % CLASSES}" for i in range(options.n)]
            start = time.perf_counter()
            values = metric.over(statistics, labels).results()
        score = time.perf_counter() - start
        first, result = next(iter(values.items()))
        print(f"  {name:24} keeping {keep:6.1f} s  score {score:7.1f} s  {first} {result.value:.6g}", file=sys.stderr)
        row = {"what": name, "dim": DIMS[metric.kind], "sides": len(metric.sides), "keep_s": keep, "score_s": score}
        yield {**row, "value": result.value, **about}
    yield rate()
