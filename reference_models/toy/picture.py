"""A picture of the modes that losses cover: samples over the modes, and the coverage during training."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ganmetrics.disk.writing import write_whole
from reference_models.toy.mixtures import HIGH_QUALITY, Fit

SHOWN = 2000  # samples drawn in a panel


def draw(fits: Sequence[Fit], path: str | os.PathLike[str]) -> None:
    """One panel per fit, all of the same mixture; below it the shares of modes and of high quality over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle

    size = (3.2 * len(fits), 4.9)
    figure, axes = plt.subplots(2, len(fits), figsize=size, height_ratios=[3, 1.3], layout="constrained", squeeze=False)
    for (top, below), fit in zip(axes.T, fits, strict=True):
        mixture, c = fit.mixture, fit.coverage
        radius = max(HIGH_QUALITY * mixture.std, 0.02 * float(mixture.means.max()))
        for mean, count in zip(mixture.means.tolist(), c.counts, strict=True):
            lost = count == 0
            top.add_patch(Circle(mean, 2 * radius if lost else radius, fill=False, linewidth=1.4 if lost else 1,
                                 color="#c1121f" if lost else "#2b9348"))  # fmt: skip
        top.scatter(*fit.samples[:SHOWN].T.tolist(), s=2, alpha=0.35, color="#1d3557", linewidths=0)
        limit = 1.35 * float(mixture.means.abs().max())
        top.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
        top.set_title(f"{fit.loss}\n{c.modes} of {c.n_modes} modes, {c.high_quality:.0%} high quality", fontsize=10)
        steps = [step for step, _ in fit.history]
        below.plot(steps, [past.modes / past.n_modes for _, past in fit.history], label="modes", marker=".")
        below.plot(steps, [past.high_quality for _, past in fit.history], label="high quality", marker=".")
        below.set(ylim=(-0.05, 1.08), xlabel="step", yticks=[0, 0.5, 1])
        below.grid(alpha=0.3)
    axes[1][0].legend(fontsize=8, loc="lower right")
    with write_whole(path) as file:
        figure.savefig(file, dpi=110, format="png")
    plt.close(figure)
