"""Metrics other than FID compared with the tools that have them, on the same vectors: values and seconds.

    python -m benchmarks.peers.metrics [--images 3000] [--dim 2048] [--rounds 3]

The vectors are random with a fixed seed, positive and correlated like pooled Inception features. Each tool's own
function is called on them, in float64 if it supports that. Seconds are medians over rounds; the order is reversed every
round.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.process import ROOT, circumstances
from ganmetrics.metrics import METRICS
from ganmetrics.protocols import MetricOptions, get_protocol

OUT = ROOT / "benchmarks" / "results" / "metric_peers.jsonl"
Arrays = tuple[np.ndarray, np.ndarray]


def vectors(n: int, dim: int, seed: int = 0) -> Arrays:
    """Real and fake `(n, dim)`, float64; the fakes are shifted, and a fifth of them are near copies of real vectors."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((64, dim)) / 5

    def draw(shift: float) -> np.ndarray:
        latent = rng.standard_normal((n, 64)) / np.sqrt(np.arange(1, 65))
        return 0.4 * np.exp(latent @ mix + 0.2 * rng.standard_normal((n, dim)) + shift - 0.1)

    real, fake = draw(0.0), draw(0.05)
    fake[: n // 5] = real[: n // 5] * (1 + 0.02 * rng.standard_normal((n // 5, dim)))
    # Our statistics take float32 vectors: rounded first, both sides of the comparison get the same values.
    return real.astype(np.float32).astype(np.float64), fake.astype(np.float32).astype(np.float64)


def ours(metric: str, protocol: str | None = None, **options: Any) -> Callable[[Arrays], dict[str, float]]:
    """A function that computes a metric of `METRICS` on two arrays, with its values by name."""

    def call(arrays: Arrays) -> dict[str, float]:
        configured = METRICS[metric].load().configured(get_protocol(protocol), MetricOptions(**options))
        for side, array in zip(("real", "fake"), arrays, strict=True):
            if side in configured.sides:
                configured.update(torch.from_numpy(array).float(), side)
        return {name: result.value for name, result in configured.results().items()}

    return call


def torch_fidelity_kid(arrays: Arrays) -> dict[str, float]:
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, fake = map(torch.from_numpy, arrays)
    result = kid_features_to_metric(fake, real, kid_subset_size=1000, rng_seed=2020, verbose=False)
    return {"kid": result["kernel_inception_distance_mean"]}


def torchmetrics_kid(arrays: Arrays) -> dict[str, float]:
    from torchmetrics.image.kid import KernelInceptionDistance

    peer = KernelInceptionDistance(feature=torch.nn.Identity(), subset_size=1000).set_dtype(torch.float64)
    for side, array in zip((True, False), arrays, strict=True):
        peer.update(torch.from_numpy(array), real=side)
    torch.manual_seed(0)
    return {"kid": float(peer.compute()[0])}


def clean_fid_kid(arrays: Arrays) -> dict[str, float]:
    from cleanfid.fid import kernel_distance

    np.random.seed(0)
    return {"kid": float(kernel_distance(*arrays))}


def torch_fidelity_prc(arrays: Arrays) -> dict[str, float]:
    from torch_fidelity.defaults import DEFAULTS
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = map(torch.from_numpy, arrays)
    result = prc_features_to_metric(fake, real, **{**DEFAULTS, "verbose": False})
    return {name: result[name] for name in ("precision", "recall")}


def prdc_package(arrays: Arrays) -> dict[str, float]:
    from prdc import compute_prdc

    result = compute_prdc(*arrays, nearest_k=5)
    return {name: float(result[name]) for name in ("density", "coverage")}


def vendi_package(arrays: Arrays) -> dict[str, float]:
    from vendi_score import vendi

    return {"vendi": float(vendi.score_dual(arrays[1], normalize=True))}


def torchmetrics_mifid(arrays: Arrays) -> dict[str, float]:
    from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

    peer = MemorizationInformedFrechetInceptionDistance(feature=torch.nn.Identity()).set_dtype(torch.float64)
    for side, array in zip((True, False), arrays, strict=True):
        peer.update(torch.from_numpy(array), real=side)
    return {"mifid": float(peer.compute())}


PAIRS = {
    "torch-fidelity": [
        (ours("kid", "torch-fidelity"), torch_fidelity_kid),
        (ours("prdc", "torch-fidelity"), torch_fidelity_prc),
    ],
    "torchmetrics": [
        (ours("kid", "torchmetrics"), torchmetrics_kid),
        (ours("mifid", "torchmetrics"), torchmetrics_mifid),
    ],
    "clean-fid": [(ours("kid", "clean-fid"), clean_fid_kid)],
    "prdc": [(ours("prdc"), prdc_package)],
    "vendi-score": [(ours("vendi"), vendi_package)],
}


def timed(call: Callable[[Arrays], dict[str, float]], arrays: Arrays) -> tuple[dict[str, float], float]:
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = call(arrays)
    return values, time.perf_counter() - start


def measure(arrays: Arrays, rounds: int) -> list[dict[str, Any]]:
    """One row for each value that the other tool computes."""
    rows = []
    for peer, pairs in PAIRS.items():
        for own, theirs in pairs:
            spent: dict[Any, list[float]] = {own: [], theirs: []}
            values: dict[Any, dict[str, float]] = {}
            for turn in range(rounds):
                for call in (own, theirs) if turn % 2 else (theirs, own):
                    values[call], seconds = timed(call, arrays)
                    spent[call].append(seconds)
            times = {"seconds": statistics.median(spent[own]), "peer_seconds": statistics.median(spent[theirs])}
            rows += [
                {"metric": name, "peer": peer, "ours": values[own][name], "theirs": value, **times}
                for name, value in values[theirs].items()
            ]
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{rows[0]['images']} + {rows[0]['images']} vectors of {rows[0]['dim']} dimensions",
             "metric     peer                  ours           theirs   difference  seconds  theirs"]  # fmt: skip
    for row in rows:
        difference = abs(row["ours"] - row["theirs"]) / abs(row["theirs"])
        lines.append(
            f"{row['metric']:10} {row['peer']:14} {row['ours']:>15.10g} {row['theirs']:>15.10g} {difference:>11.1e} "
            f"{row['seconds']:>8.2f} {row['peer_seconds']:>7.2f}"
        )
    return "\n".join(lines)


def load(path: Path = OUT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000, help="vectors a side")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    about = circumstances(("torch", "torch-fidelity", "torchmetrics", "clean-fid", "prdc", "vendi-score"))
    rows = measure(vectors(options.images, options.dim), options.rounds)
    rows = [{**row, "images": options.images, "dim": options.dim, **about} for row in rows]
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table(rows))


if __name__ == "__main__":
    main()
