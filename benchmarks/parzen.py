"""Parzen-window log-likelihood: ours against scikit-learn's KernelDensity and Goodfellow's own loop, on MNIST.

Each tool runs in a fresh process on the same images: 10,000 samples, 10,000 validation, 10,000 test. Times are of the
computation only, with data loaded and modules imported: one bandwidth over the test set, or a grid of 20 over the
validation set and then the best one over the test set. The other tools would take up to an hour, so they run on fewer
test points (`--rival-points`). Ratios compare rates: pairs of points and bandwidths per second.

    python -m benchmarks.parzen --data-root DIR [--out FILE]      DIR: torchvision's folder, contains MNIST/raw
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import circumstances, run

N = 10_000
BANDWIDTH = 0.2
GRID = 20
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")
Sets = tuple[np.ndarray, np.ndarray, np.ndarray]


def load(root: Path) -> Sets:
    """Samples, validation and test as bytes `(N, 784)`: MNIST train 0 to 10,000, train 50,000 to 60,000, test."""
    from torchvision.datasets import MNIST

    train, test = (MNIST(root, train=part).data.numpy().reshape(-1, 784) for part in (True, False))
    return train[:N], train[50_000:], test


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def ours(sets: Sets, n_bandwidths: int, dtype: str) -> dict[str, Any]:
    """`KernelSums` as in `ganmetrics parzen`; dtype "bytes" as for images, "float32" and "float64" as for points."""
    import torch

    from ganmetrics.metrics.numerics.bandwidth import log_grid
    from ganmetrics.metrics.numerics.kernels import KernelSums

    tensors = [torch.from_numpy(np.ascontiguousarray(part)) for part in sets]
    if dtype != "bytes":
        tensors = [tensor.to(getattr(torch, dtype)) / 255 for tensor in tensors]
    samples, validation, test = tensors
    KernelSums(test[:100], [BANDWIDTH]).update(samples[:100])  # warm-up: threads and the int8 check

    def density(points: torch.Tensor, bandwidths: Sequence[float]) -> torch.Tensor:
        sums = KernelSums(points, bandwidths)
        sums.update(samples)
        return sums.log_likelihood()

    def work() -> float:
        bandwidth = BANDWIDTH
        if n_bandwidths > 1:
            grid = log_grid(0.05, 1.0, n_bandwidths)
            bandwidth = grid[int(density(validation, grid).mean(dim=0).argmax())]
        return float(density(test, [bandwidth]).mean())

    seconds, value = timed(work)
    passes = 1 if n_bandwidths == 1 else n_bandwidths + 1
    return {"value": value, "seconds": seconds, "pairs": passes * len(samples) * len(test)}


def product(sets: Sets) -> dict[str, Any]:
    """Lower bound of the time: only `samples @ test.T` in float32."""
    import torch

    samples, test = (torch.from_numpy(np.ascontiguousarray(sets[i])).float() for i in (0, 2))
    out = torch.empty(len(samples), len(test))
    torch.mm(samples[:500], test.T)
    seconds, _ = timed(lambda: torch.mm(samples, test.T, out=out))
    return {"value": None, "seconds": seconds, "pairs": len(samples) * len(test)}


def scikit_learn(sets: Sets, points: int, leaf_size: int) -> dict[str, Any]:
    """KernelDensity on float64 in [0, 1]; a leaf of all samples is brute force, leaf_size 40 its default tree."""
    from sklearn.neighbors import KernelDensity

    samples, test = sets[0] / 255, sets[2][:points] / 255
    model = KernelDensity(bandwidth=BANDWIDTH, leaf_size=leaf_size, algorithm="kd_tree")
    seconds, value = timed(lambda: float(model.fit(samples).score_samples(test).mean()))
    return {"value": value, "seconds": seconds, "pairs": len(samples) * len(test)}


def goodfellow(sets: Sets, points: int, batch: int = 10) -> dict[str, Any]:
    """The arithmetic of `parzen_ll.py` in float64 numpy: batches of ten test points against all samples."""
    samples, test = sets[0] / 255, sets[2][:points] / 255

    def density(x: np.ndarray) -> np.ndarray:
        a = (x[:, None, :] - samples[None, :, :]) / BANDWIDTH
        exponent = -0.5 * (a**2).sum(2)
        top = exponent.max(1)
        e = top + np.log(np.exp(exponent - top[:, None]).mean(1))
        return e - samples.shape[1] * math.log(BANDWIDTH * math.sqrt(2 * math.pi))

    parts = [test[i : i + batch] for i in range(0, len(test), batch)]
    seconds, value = timed(lambda: float(np.concatenate([density(part) for part in parts]).mean()))
    return {"value": value, "seconds": seconds, "pairs": len(samples) * len(test)}


def growing(root: Path, n_samples: int) -> dict[str, Any]:
    """`gm.parzen_log_likelihood` on many samples from a `.npy` (see `write_many`), for its peak memory."""
    import ganmetrics as gm

    score = gm.parzen_log_likelihood(
        root / f"{n_samples}.npy", root / "validation.npy", root / "test.npy", layout="NHW", progress=False
    )
    return {"value": score.value, "seconds": score.seconds, "pairs": n_samples * (10 * 1000 + 1000)}


def write_many(root: Path, folder: Path, sizes: Sequence[int]) -> None:
    """Write `.npy` files of many samples (MNIST repeated, with noise), and of 1,000 validation and test images."""
    samples, validation, test = load(root)
    draw = np.random.default_rng(0)
    for size in sizes:
        many = np.lib.format.open_memmap(folder / f"{size}.npy", "w+", np.uint8, (size, 28, 28))
        for start in range(0, size, N):
            block = samples[: min(N, size - start)].astype(np.int16) + draw.integers(-8, 9, (min(N, size - start), 784))
            many[start : start + N] = block.clip(0, 255).reshape(-1, 28, 28)
    np.save(folder / "validation.npy", validation[:1000].reshape(-1, 28, 28))
    np.save(folder / "test.npy", test[:1000].reshape(-1, 28, 28))


def tools(points: int) -> dict[str, Callable[[Path], dict[str, Any]]]:
    """What the process of each tool computes, by the tool's name."""
    return {
        "float32 product alone": lambda root: product(load(root)),
        "ours": lambda root: ours(load(root), 1, "bytes"),
        "ours, float32 points": lambda root: ours(load(root), 1, "float32"),
        "ours, float64 points": lambda root: ours(load(root), 1, "float64"),
        f"ours, grid of {GRID}": lambda root: ours(load(root), GRID, "bytes"),
        "scikit-learn, brute force": lambda root: scikit_learn(load(root), points, N),
        "scikit-learn, tree": lambda root: scikit_learn(load(root), points, 40),
        "Goodfellow's loop, numpy": lambda root: goodfellow(load(root), points),
    }


def measure(name: str, root: Path, points: int) -> dict[str, Any]:
    """One tool in a fresh process."""
    argv = [sys.executable, "-m", "benchmarks.parzen", "--data-root", str(root), "--rival-points", str(points)]
    code, out, err, _, peak, _ = run([*argv, "--only", name])
    if code:
        raise SystemExit(f"{name} failed: {(err.strip().splitlines() or ['no message'])[-1]}")
    return {"tool": name, **json.loads(out.strip().splitlines()[-1]), "peak_mb": round(peak)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Aligned text; ratios of rates to ours and to the product."""
    rate = {row["tool"]: row["pairs"] / row["seconds"] for row in rows}
    lines = [
        f"{'tool':<28}{'log-likelihood':>15}{'seconds':>9}{'million pairs/s':>17}{'ours / its rate':>17}{'peak MB':>9}"
    ]
    for row in rows:
        value = "" if row["value"] is None else f"{row['value']:.4f}"
        lines.append(
            f"{row['tool']:<28}{value:>15}{row['seconds']:>9.2f}{rate[row['tool']] / 1e6:>17.2f}"
            f"{rate['ours'] / rate[row['tool']]:>17.2f}{row['peak_mb']:>9}"
        )
    return "\n".join(lines)


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Both tables, from rows as `--out` writes them."""
    growing_rows = [row for row in rows if row["tool"].startswith("memory ")]
    lines = [
        table([row for row in rows if row not in growing_rows]),
        "",
        f"{'samples (1,000 validation, 1,000 test, published grid)':<58}{'seconds':>9}{'peak MB':>9}",
    ]
    for row in growing_rows:
        lines.append(f"{int(row['tool'].split()[1]):<58,}{row['seconds']:>9.1f}{row['peak_mb']:>9}")
    return "\n".join(lines)


def load_results(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="torchvision's folder of MNIST")
    parser.add_argument("--rival-points", type=int, default=1000, help="test points for the other tools (default 1000)")
    parser.add_argument("--sizes", default="10000,200000,1000000", help="numbers of samples for the memory rows")
    parser.add_argument("--rounds", type=int, default=3, help="of our own rows and the product; medians are shown")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="append the rows to this file, one JSON object a line")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    root = options.data_root.resolve()
    by_name = tools(options.rival_points)
    if options.only:
        kind, _, argument = options.only.partition(" ")
        if kind == "write":
            write_many(root, Path(argument), [int(size) for size in options.sizes.split(",")])
        else:
            print(json.dumps(growing(root, int(argument)) if kind == "memory" else by_name[options.only](root)))
        return
    rows = []
    for name in by_name:
        rounds = options.rounds if name.startswith(("ours", "float32")) else 1
        measured = sorted(
            (measure(name, root, options.rival_points) for _ in range(rounds)), key=lambda r: r["seconds"]
        )
        rows.append(measured[len(measured) // 2])
        print(f"{name}: {rows[-1]['seconds']:.2f} s", file=sys.stderr)
    sizes = [int(size) for size in options.sizes.split(",") if size]
    python = [sys.executable, "-m", "benchmarks.parzen", "--data-root", str(root), "--sizes", options.sizes]
    memory = []
    with tempfile.TemporaryDirectory() as folder:
        run([*python, "--only", f"write {folder}"])  # a child inherits the peak of the process that starts it
        for size in sizes:
            memory.append(measure(f"memory {size}", Path(folder), 0))
            print(f"{size} samples: {memory[-1]['seconds']:.1f} s, {memory[-1]['peak_mb']} MB", file=sys.stderr)
    print(report([*rows, *memory]))
    if options.out:
        with options.out.open("a") as file:
            for row in [*rows, *memory]:
                print(json.dumps({**row, **circumstances(PACKAGES)}), file=file)


if __name__ == "__main__":
    main()
