"""Seconds and accuracy of the Frechet step alone: from the statistics of two sets to their distance, in float64.

Each case is computed in three ways: by ganmetrics; by the singular values of the product of two factors (Cholesky, or
eigenvectors if the rank is deficient); and as in pytorch-fid, by scipy's square root of the product of the covariances.
Each case is one process with `--threads` threads; seconds are medians over `--rounds`.

    python -m benchmarks.frechet [--dim 2048] [--threads 2] [--rounds 3] [--sqrtm full,...] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, circumstances, run

PACKAGES = ("torch", "numpy", "scipy")
OUT = ROOT / "benchmarks" / "results" / "frechet.jsonl"
# Name: images of each side at dimension 2048 (fewer at smaller ones), decades between the largest and the smallest
# standard deviation (negative: two clusters this many decades apart), share of dead features, which are always 0.
CASES: dict[str, tuple[int, int, float, float]] = {
    "600 + 600 images": (600, 600, 1, 0),
    "600 + 5,000": (600, 5000, 1, 0),
    "2,000 + 2,000": (2000, 2000, 1, 0),
    "5,000 + 5,000": (5000, 5000, 1, 0),
    "5,000 + 5,000, five decades": (5000, 5000, 5, 0),
    "5,000 + 5,000, a tenth of features dead": (5000, 5000, 1, 0.1),
    "5,000 + 5,000, seven eighths dead": (5000, 5000, 1, 0.875),
    "float32 file + 5,000": (5000, 5000, 1, 0),
    "5,000 + 5,000, two clusters far apart": (5000, 5000, -4, 0),
}


def vectors(n: int, dim: int, decades: float, dead: float, seed: int) -> Any:
    """Normal vectors, n scaled by dim / 2048, `(n, dim)`, in a random basis that both sides share.

    decades: the standard deviations fall from 1 to 10^-decades; if negative, half of them are 1, half 10^decades.
    """
    import torch

    shared, own = (torch.Generator().manual_seed(start) for start in (0, seed))
    n = max(3, n * dim // 2048)
    exponents = torch.linspace(0, decades, dim) if decades > 0 else -decades * (torch.arange(dim) >= dim // 2).double()
    basis, _ = torch.linalg.qr(torch.randn(dim, dim, generator=shared, dtype=torch.float64))
    drawn = torch.randn(n, dim, generator=own, dtype=torch.float64) * 10.0**-exponents * (1 + 0.1 * (seed - 1))
    drawn = drawn @ basis + seed / 100
    drawn[:, : round(dead * dim)] = 0.0
    return drawn


def sides(name: str, dim: int) -> list[Any]:
    """Moments of both sides of a case."""
    from ganmetrics.statistics.moments import Moments

    n1, n2, decades, dead = CASES[name]
    both = []
    for seed, n in ((1, n1), (2, n2)):
        moments = Moments()
        moments.update(vectors(n, dim, decades, dead, seed))
        both.append(moments)
    if name.startswith("float32"):
        both[0] = Moments.from_covariance(both[0].mean(), both[0].covariance().float())
    return both


def by_singular_values(one: Any, other: Any) -> float:
    """With other factors than ours: the centred vectors themselves, Cholesky factors or eigenvectors."""
    import torch

    factors = []
    for moments in (one, other):
        rows = moments.rows()
        if rows is not None:
            factors.append((rows - rows.mean(dim=0)) / (len(rows) - 1) ** 0.5)
            continue
        covariance = moments.covariance()
        lower, info = torch.linalg.cholesky_ex(covariance)
        # A pivot near 0 means a deficient rank, for which the Cholesky factor is inaccurate.
        if info == 0 and bool((lower.diagonal().square() > 1e-11 * covariance.diagonal()).all()):
            factors.append(lower.T)
            continue
        values, basis = torch.linalg.eigh(covariance)
        factors.append(values.clamp(min=0).sqrt()[:, None] * basis.T)
    between = (one.mean() - other.mean()).square().sum()
    traces = sum(factor.square().sum() for factor in factors)
    return float(between + traces - 2 * torch.linalg.svdvals(factors[0] @ factors[1].T).sum())


def by_square_root(one: Any, other: Any) -> float:
    """As pytorch-fid: the trace of `sqrtm(S1 @ S2)`."""
    import numpy as np
    from scipy.linalg import sqrtm

    s1, s2 = (moments.covariance().numpy() for moments in (one, other))
    between = float((one.mean() - other.mean()).square().sum())
    return between + float(np.trace(s1) + np.trace(s2) - 2 * np.trace(sqrtm(s1 @ s2)).real)


def route(one: Any, other: Any) -> str:
    """The size of the product whose nuclear norm was taken, and the method."""
    from ganmetrics.metrics.numerics import nuclear_norm as module

    factors = [moments.factor() for moments in (one, other)]
    product = factors[0] @ factors[1].T
    shape = f"{product.shape[0]} x {product.shape[1]}"
    if min(product.shape) <= module.SMALL or not module.is_graded(product):
        return f"{shape}, singular values"
    _, error = module.by_eigenvalues(product)
    accepted = bool(error <= module.TOLERANCE * sum(factor.square().sum() for factor in factors))
    return f"{shape}, {'eigenvalues' if accepted else 'eigenvalues refused'}"


def timed(function: Callable[[Any, Any], float], one: Any, other: Any) -> tuple[float, float]:
    start = time.perf_counter()
    value = function(one, other)
    return time.perf_counter() - start, value


def measure(name: str, dim: int, rounds: int, with_square_root: bool) -> dict[str, Any]:
    """One case, in this process."""
    from ganmetrics.metrics.fid import frechet_distance_of_moments

    one, other = sides(name, dim)
    traces = float(sum(moments.covariance().diagonal().sum() for moments in (one, other)))
    ways: dict[str, Callable[[Any, Any], float]] = {"ours": frechet_distance_of_moments, "svd": by_singular_values}
    ways["ours"](one, other)  # warm-up
    runs = {way: [timed(function, one, other) for _ in range(rounds)] for way, function in ways.items()}
    row: dict[str, Any] = {"case": name, "dim": dim, "route": route(one, other), "traces": traces}
    if with_square_root:
        runs["sqrtm"] = [timed(by_square_root, one, other)]
    for way, results in runs.items():
        row[way] = {"value": results[0][1], "seconds": round(statistics.median(seconds for seconds, _ in results), 4)}
    return row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Aligned text; differences from our value are relative to it."""
    lines = [
        f"{'images':<41}{'product, by':<31}{'value':>11}{'s':>7}"
        f"{'svd s':>8}{'difference':>12}{'sqrtm s':>9}{'difference':>12}"
    ]
    for row in rows:
        value = row["ours"]["value"]
        line = f"{row['case']:<41}{row['route']:<31}{value:>11.6g}{row['ours']['seconds']:>7.2f}"
        for way, width in (("svd", 8), ("sqrtm", 9)):
            result = row.get(way)
            line += f"{result['seconds']:>{width}.2f}{abs(result['value'] / value - 1):>12.1e}" if result else ""
        lines.append(line)
    return "\n".join(lines)


def load(path: Path = OUT) -> list[dict[str, Any]]:
    """The rows of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=2048, help="images are scaled with it (default 2048)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="medians are shown")
    parser.add_argument("--sqrtm", default="5,000 + 5,000", help="case that the square root is timed for, or none")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="append the rows to this file, one JSON object a line")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.only:
        import torch

        torch.set_num_threads(options.threads)
        row = measure(options.only, options.dim, options.rounds, options.only == options.sqrtm)
        print(json.dumps(row))
        return
    rows = []
    for name in CASES:
        argv = [sys.executable, "-m", "benchmarks.frechet", "--dim", str(options.dim), "--rounds", str(options.rounds)]
        argv += ["--threads", str(options.threads), "--sqrtm", options.sqrtm, "--only", name]
        code, out, err, *_ = run(argv, threads=options.threads)
        if code:
            raise SystemExit(f"{name} failed: {(err.strip().splitlines() or ['no message'])[-1]}")
        rows.append({**json.loads(out.strip().splitlines()[-1]), "threads": options.threads})
        print(f"{name}: {rows[-1]['ours']['seconds']:.2f} s", file=sys.stderr)
    print(table(rows))
    if options.out:
        with options.out.open("a") as file:
            for row in rows:
                print(json.dumps({**row, **circumstances(PACKAGES)}), file=file)


if __name__ == "__main__":
    main()
