"""Results of `benchmarks.zoo` as tables and pictures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.zoo.plans import NORMALISATIONS, PLANS, folder_of

COLUMNS = 16


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean and sample standard deviation over seeds."""
    lines = [
        f"{'':<22}{'seeds':>5}{'steps':>8}{'CPU min':>9}{'FD':>16}{'IS':>14}{'Parzen (nats)':>18}{'reconstruction':>20}"
    ]
    names = list(dict.fromkeys(row["name"] for row in rows))
    for name in names:
        group = [row for row in rows if row["name"] == name]
        trained = "steps" in group[0]
        steps = f"{group[0]['steps']:>8}" if trained else f"{'':>8}"
        minutes = f"{statistics.mean(row['cpu_seconds'] for row in group) / 60:>9.1f}" if trained else f"{'':>9}"
        cells = [_cell(group, "fd", 2, 16), _cell(group, "is", 2, 14), _cell(group, "parzen", 1, 18),
                 _cell(group, "reconstruction", 4, 20)]  # fmt: skip
        lines.append(f"{name:<22}{len(group) if trained else '':>5}{steps}{minutes}{''.join(cells)}".rstrip())
    return "\n".join(lines)


def _cell(group: Sequence[dict[str, Any]], key: str, digits: int, width: int) -> str:
    values = [row[key] for row in group if key in row]
    if not values:
        return " " * width
    spread = f" +- {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}".rjust(width)


def picture(work: Path, rows: Sequence[dict[str, Any]], seed: int, real: Any, path: Path) -> None:
    """The first samples of each plan, not selected, above real images `(N, H, W, 1)`."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sample_files = {name: folder_of(work, name, seed).with_suffix(".npz") for name in PLANS}
    strips = {name: _strip(np.load(file)["arr_0"]) for name, file in sample_files.items() if file.exists()}
    strips["real"] = _strip(real)
    figure, axes = plt.subplots(len(strips), 1, figsize=(9.4, 1.25 * len(strips)), layout="constrained")
    for ax, (name, strip) in zip(axes, strips.items(), strict=True):
        ax.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        fd = [row["fd"] for row in rows if row["name"] == name]
        ax.set_ylabel(name + (f"\nFD {statistics.mean(fd):.1f}" if fd else ""), rotation=0, ha="right", va="center")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _strip(images: Any) -> Any:
    """Two rows of COLUMNS images as one array."""
    import numpy as np

    rows = [np.hstack([np.pad(im[..., 0], 1) for im in images[i : i + COLUMNS]]) for i in (0, COLUMNS)]
    return np.vstack(rows)


def tracked_table(rows: Sequence[dict[str, Any]], steps: Sequence[int] = (500, 1000, 2000, 4000)) -> str:
    """Reconstruction loss during training: mean over seeds, and lowest and highest seed at the end."""
    lines = [f"{'step':<12}" + "".join(f"{step:>9}" for step in steps) + "     by seed at the end"]
    for name, label in NORMALISATIONS.items():
        runs = [dict(row["tracked"]) for row in rows if row["name"] == name and row.get("tracked")]
        means = "".join(f"{statistics.mean(run[step] for run in runs):>9.4f}" for step in steps)
        last = sorted(run[steps[-1]] for run in runs)
        lines.append(f"{label:<12}{means}     {last[0]:.4f} to {last[-1]:.4f}")
    return "\n".join(lines)


def tracked_picture(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Curves of the reconstruction loss of the running set during training: weight norm, batch norm, none."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for colour, name in zip(("#1b4965", "#c1121f", "#588157"), NORMALISATIONS, strict=True):
        for i, row in enumerate(row for row in rows if row["name"] == name and row.get("tracked")):
            label = NORMALISATIONS[name] if i == 0 else None
            ax.plot(*zip(*row["tracked"], strict=True), color=colour, label=label, marker="o", markersize=3, alpha=0.8)
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("reconstruction loss (MSE per pixel in [0, 1])")
    ax.set_title("wngan on MNIST, 200 held-out images, 50 steps of RMSprop; a line a seed", fontsize=10)
    ax.grid(alpha=0.3, which="both")
    ax.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def load(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
