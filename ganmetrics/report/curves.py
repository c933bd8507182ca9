"""Curves as PNG: the validation likelihood of a Parzen window against its bandwidth. Needs `ganmetrics[report]`."""

from __future__ import annotations

import os

from ganmetrics.disk.writing import require_writable, write_whole
from ganmetrics.errors import OptionError
from ganmetrics.metrics.numerics.bandwidth import Rule
from ganmetrics.report import has_matplotlib
from ganmetrics.score import Score


def require_drawable(path: str | os.PathLike[str], bandwidths: str) -> None:
    """Raises OptionError if the curve cannot be drawn or written. Called before anything slow begins."""
    if Rule.parse(bandwidths).name == "fixed":
        raise OptionError("--plot: a fixed bandwidth is not chosen, so there is no curve; give --bandwidths auto")
    if not has_matplotlib():
        raise OptionError("--plot needs matplotlib: pip install 'ganmetrics[report]'")
    require_writable(path, ".png", option="--plot", overwrite=True)


def bandwidth_curve(score: Score, path: str | os.PathLike[str]) -> None:
    """Draw the validation likelihood of every bandwidth tried, and mark the chosen one."""
    curve = score.protocol["validation_curve"]
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = score.protocol["bandwidth"]
    best = max(value for _, value in curve)
    worst = min(value for _, value in curve)
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    axes.plot(*zip(*curve, strict=True), marker="o", markersize=4, color="#2a6f97", label="validation")
    axes.axvline(chosen, color="#c1121f", linewidth=1, label=f"chosen: {chosen:.4g}")
    spread = score.spread or 0.0
    axes.errorbar([chosen], [score.value], yerr=[spread], color="#c1121f", marker="s", markersize=5, capsize=3,
                  label=f"test: {score.value:.1f} +- {spread:.1f}")  # fmt: skip
    axes.set_xscale("log")
    if worst < best - 1000:  # else one very bad bandwidth would flatten the rest of the curve
        axes.set_yscale("symlog", linthresh=100)
    axes.set_xlabel(f"bandwidth (standard deviation; {score.protocol['features']} {score.protocol['scale']})")
    axes.set_ylabel("mean log-likelihood (nats)")
    axes.set_title(f"{score.n_fake} samples, {score.protocol['n_validation']} validation, {score.n_real} test")
    axes.grid(alpha=0.3)
    axes.legend()
    with write_whole(path) as file:
        figure.savefig(file, dpi=120, format="png")
    plt.close(figure)
