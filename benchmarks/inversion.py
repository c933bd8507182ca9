"""Latent inversion: `auto` against the published search, `xiang-li`, on one trained generator and the same test images.

    python -m benchmarks.inversion [--data-root DIR] [--run DIR] [--n-images 500] [--steps 1000] [--max-steps 1500]

Trains a DCGAN (ngf 16, 32 px) on MNIST's training images unless `--run` exists, then reconstructs test images with both
searches, in fresh processes one after the other. After every pass of the generator it records the time and the mean
squared error over images: for the published search the current error, because its result is its last step; for `auto`
the best error of each image so far, because its result is the best one. The table shows when `auto` reaches the error
that the published search has after 50, 100, 200, 500 and 1,000 steps, in seconds and in passes of the generator. All
work is counted, including the pool and the starts. One image through the generator counts as 1 pass with gradient and
1/3 pass without, which is about its cost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, circumstances, run

MARKS = (50, 100, 200, 500, 1000)
RECIPE = {"image_size": 32, "ngf": 16, "ndf": 16, "batch_size": 64}
METHODS = ("xiang-li", "auto")
FORWARD = 1 / 3  # of a pass with a gradient
OUT = ROOT / "benchmarks" / "results" / "inversion.jsonl"
GOAL = 5.0
Point = tuple[float, float, float]


def train(run_directory: Path, data_root: str, max_steps: int) -> None:
    """Train the generator of the comparison, unless the run exists."""
    import reference_models

    if not (run_directory / "last").exists():
        recipe = {**RECIPE, "dataroot": data_root}
        cadence = reference_models.Cadence(progress=False)
        reference_models.train("dcgan", "mnist", run_directory, recipe=recipe, max_steps=max_steps, cadence=cadence)


def measure(run_directory: Path, data_root: str, method: str, n_images: int, steps: int) -> dict[str, Any]:
    """Run one search in this process: its result, and its curve of (seconds, passes per image, mean error)."""
    import torch

    from ganmetrics.generators import open_generator
    from ganmetrics.held_out import read_test_images, reading
    from ganmetrics.metrics.inversion.inverter import invert

    generator = open_generator(run_directory)
    source = f"mnist:test[0:{n_images}]"
    targets = read_test_images(source, generator, reading({"data_root": data_root}), resize=True).pixels
    options: dict[str, Any] = {"method": method, "batch_size": n_images}
    options |= {"steps": steps} if method == "xiang-li" else {}
    invert(generator, targets[:32], **{**options, "steps": 2})  # warm-up
    errors, curve, passes = torch.full((n_images,), float("nan"), dtype=torch.float64), [], 0.0
    start = time.perf_counter()

    def note(rows: torch.Tensor, current: torch.Tensor) -> None:
        nonlocal passes
        passes += len(rows)
        current = current.double()
        errors[rows] = current if method == "xiang-li" else torch.fmin(errors[rows], current)
        if not errors.isnan().any():
            curve.append((time.perf_counter() - start, passes / n_images, float(errors.mean())))

    result = invert(generator, targets, callback=note, **options)
    seconds = time.perf_counter() - start
    curve.append((seconds, passes / n_images, float(result.errors.mean())))
    # Passes without gradient: the pool and the regression, before the search, and one per image to measure the result,
    # which is not counted.
    extra = FORWARD * (result.passes.forward - n_images) / n_images if method == "auto" else 0.0
    return {
        "method": method,
        "value": float(result.errors.mean()),
        "median": float(result.errors.median()),
        "seconds": seconds,
        "passes": result.passes.gradient / n_images + extra,
        "gradient_passes": result.passes.gradient,
        "forward_passes": result.passes.forward,
        "curve": [(round(t, 4), round(p + extra, 3), e) for t, p, e in curve],
        "n_images": n_images,
        "source": source,
        "torch_threads": torch.get_num_threads(),
        "generator_sha256": generator.describe()["generator_sha256"],
    }


def reached(curve: Sequence[Sequence[float]], level: float) -> tuple[float, float] | None:
    """Seconds and passes at the first point of a curve with error <= `level`; None if there is none."""
    return next(((t, passes) for t, passes, error in curve if error <= level), None)


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each of MARKS: the mean error of the published search, and the seconds and passes of both to reach it."""
    by_name = {row["method"]: row for row in rows}
    comparisons = []
    published = by_name["xiang-li"]["curve"]
    for mark in (mark for mark in MARKS if mark < len(published)):
        seconds, passes, level = published[mark]  # pass `mark` + 1 measures the result of `mark` steps
        ours = reached(by_name["auto"]["curve"], level)
        comparisons.append({"steps": mark, "level": level, "seconds": seconds, "passes": passes, "ours": ours})
    return comparisons


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The table of docs/reconstruction.md."""
    lines = ["published   mean error     published          auto                 auto is faster",
             "    steps               seconds  passes   seconds  passes    in seconds  in passes"]  # fmt: skip
    for row in ratios(rows):
        line = f"{row['steps']:9} {row['level']:12.6f} {row['seconds']:9.1f} {row['passes']:7.0f} "
        if row["ours"] is None:
            lines.append(f"{line}  not reached")
            continue
        seconds, passes = row["ours"]
        times = row["seconds"] / seconds, row["passes"] / passes
        lines.append(f"{line}{seconds:9.1f} {passes:7.1f} {times[0]:12.1f}x {times[1]:9.1f}x")
    for row in rows:
        lines.append(
            f"{row['method']:>9} ends at {row['value']:.6f} (median {row['median']:.6f}) "
            f"after {row['seconds']:.1f} s and {row['passes']:.0f} passes an image"
        )
    return "\n".join(lines)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot the mean error against seconds and against passes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    colours = {"xiang-li": "#c1121f", "auto": "#2a6f97"}
    for axes, column, label in zip(panels, (0, 1), ("seconds", "passes of the generator an image"), strict=True):
        for row in rows:
            points = [(point[column], point[2]) for point in row["curve"]]
            axes.plot(*zip(*points, strict=True), color=colours[row["method"]], label=row["method"])
        for row in ratios(rows):
            if row["ours"] is None:
                continue
            ends = row["ours"][column], row[("seconds", "passes")[column]]
            axes.plot(ends, (row["level"],) * 2, color="#9aa0a6", linewidth=0.8, linestyle=":")
            middle = (ends[0] * ends[1]) ** 0.5
            axes.annotate(f"{ends[1] / ends[0]:.1f}x", (middle, row["level"]), xytext=(0, 2), ha="center",
                          textcoords="offset points", fontsize=8)  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel=label)
        axes.grid(alpha=0.3, which="both")
    panels[0].set_ylabel("mean squared error, images in [0, 1]")
    panels[0].legend()
    figure.suptitle(f"Latent inversion of {rows[0]['n_images']} MNIST test images by a DCGAN, to the same mean error")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def load(path: Path = OUT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_root = os.environ.get("GANMETRICS_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data-root", default=default_root, help="folder that contains MNIST/raw")
    parser.add_argument("--run", type=Path, help="run directory of the generator; trained if it does not exist")
    parser.add_argument("--n-images", type=int, default=500)
    parser.add_argument("--steps", type=int, default=1000, help="of the published search")
    parser.add_argument("--max-steps", type=int, default=1500, help="of the generator's training")
    parser.add_argument("--threads", type=int, help="of each process; default: all cores")
    parser.add_argument("--out", type=Path, default=OUT, help="rows, one JSON object a line")
    parser.add_argument("--picture", type=Path, help="the curves as a PNG")
    parser.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.run, options.data_root, options.only, options.n_images, options.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        run_directory = (options.run or Path(folder) / "dcgan").resolve()
        train(run_directory, options.data_root, options.max_steps)
        about, rows = circumstances(("torch",)), []
        for method in METHODS:
            argv = [sys.executable, "-m", "benchmarks.inversion", "--run", str(run_directory), "--only", method]
            argv += ["--data-root", options.data_root, "--n-images", str(options.n_images)]
            argv += ["--steps", str(options.steps)]
            ran = run(argv, threads=options.threads)
            if ran.code:
                sys.exit(f"{method}: {ran.err}")
            rows.append({**json.loads(ran.out), "peak_mb": round(ran.peak), "cpu_seconds": round(ran.cpu, 1), **about})
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if options.picture is not None:
        draw(rows, options.picture)
    print(report(rows))


if __name__ == "__main__":
    main()
