"""Grids of images as PNG, and a run's log as curves."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, PngImagePlugin
from torch import Tensor
from torchvision.utils import make_grid

from ganmetrics.disk.writing import require_writable, write_whole
from ganmetrics.errors import OptionError
from ganmetrics.printable import printable
from ganmetrics.report import has_matplotlib
from reference_models.checkpoints.run_directory import run_around

CELL = 48  # smallest width in pixels of an image in a grid; smaller images are enlarged by whole factors
GAP = 2  # pixels between images of a grid
SMOOTHED = 100  # points of a curve above which its running mean is drawn too


def grid(images: Tensor, *, columns: int | None = None) -> Image.Image:
    """Images uint8 `(N, C, H, W)` row by row, with white gaps; without `columns` the grid is as square as possible."""
    factor = max(1, math.ceil(CELL / images.shape[-1]))
    large = images.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    sheet = make_grid(large, nrow=columns or math.ceil(math.sqrt(len(images))), padding=GAP, pad_value=255)
    return Image.fromarray(sheet.permute(1, 2, 0).contiguous().numpy())


def require_png(path: str | os.PathLike[str], *, overwrite: bool, needs_matplotlib: bool = False) -> None:
    """Raises OptionError if a PNG cannot be written to `path`. Call it before any slow work."""
    target, name = Path(path), printable(os.fspath(path))
    if needs_matplotlib and not has_matplotlib():
        raise OptionError("--output needs matplotlib: pip install 'ganmetrics[report]'")
    if (run := run_around(target.expanduser().resolve())) is not None:
        raise OptionError(f"--output {name}: lies in the run {printable(run.name)}; choose a name outside of it")
    require_writable(target, ".png", option="--output", overwrite=overwrite)


def save_picture(picture: Image.Image, path: str | os.PathLike[str], about: Mapping[str, Any] | None = None) -> None:
    """Write a PNG, whole or not at all, with `about` as its text entries."""
    text = PngImagePlugin.PngInfo()
    for name, value in (about or {}).items():
        text.add_text(name, str(value))
    with write_whole(path) as file:
        picture.save(file, format="PNG", pnginfo=text)


def diversity(images: Tensor) -> float:
    """Mean over all pairs of images `(N, C, H, W)` of their root mean square difference, with values in [0, 1]."""
    flat = images.flatten(1).float() / 255
    return float(torch.pdist(flat).mean()) / math.sqrt(flat.shape[1])


def curves(log: Sequence[Mapping[str, Any]], path: str | os.PathLike[str], title: str) -> None:
    """Draw losses, D's outputs, gradient norms and, if logged, scores and the diversity of the grids, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [(name, series) for name, series in _panels(log) if series]
    figure, axes = plt.subplots(len(panels), 1, figsize=(8, 2.4 * len(panels) + 0.4), layout="constrained", sharex=True)
    for ax, (name, series) in zip([axes] if len(panels) == 1 else axes, panels, strict=True):
        for label, (steps, values) in series.items():
            smoothed = len(steps) > SMOOTHED
            (line,) = ax.plot(steps, values, label=None if smoothed else label,
                              linewidth=1.2, alpha=0.25 if smoothed else 1,
                              marker="o" if len(steps) < 40 else None, markersize=3)  # fmt: skip
            if smoothed:
                ax.plot(steps, _running_mean(values), label=label, linewidth=1.4, color=line.get_color())
        ax.set_ylabel(name)
        ax.grid(alpha=0.3)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.axes[-1].set_xlabel("step")
    figure.axes[0].set_title(title)
    with write_whole(path) as file:
        figure.savefig(file, dpi=110, format="png")
    plt.close(figure)


def _running_mean(values: Sequence[float]) -> Tensor:
    """Exponential running mean, bias-corrected at its start."""
    mean, weight, means = 0.0, 0.0, []
    for value in values:
        mean, weight = 0.95 * mean + 0.05 * value, 0.95 * weight + 0.05
        means.append(mean / weight)
    return torch.tensor(means)


Series = dict[str, tuple[list[int], list[float]]]


def _panels(log: Sequence[Mapping[str, Any]]) -> list[tuple[str, Series]]:
    series: Series = {}
    for line in log:
        values = dict(line)
        if "score" in line:
            values[line["score"]["metric"]] = line["score"]["value"]
        for name, value in values.items():
            if isinstance(value, int | float) and name not in ("step", "epoch"):
                steps, curve = series.setdefault(name, ([], []))
                steps.append(line["step"])
                curve.append(value)
    groups = {"loss": "Loss_", "belief of D": "D(", "gradient norm": "grad_"}
    panels = [(title, {n: s for n, s in series.items() if n.startswith(prefix)}) for title, prefix in groups.items()]
    rest = [n for n in series if not n.startswith(tuple(groups.values()))]
    return panels + [(name.replace("_", " "), {name.replace("_", " "): series[name]}) for name in sorted(rest)]
