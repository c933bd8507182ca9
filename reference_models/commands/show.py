"""A summary of a run directory: configuration, progress, the last values, its curves and its last grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ganmetrics.report import has_matplotlib
from reference_models.checkpoints.checkpoint import Checkpoint, locate
from reference_models.checkpoints.run_directory import RunDirectory
from reference_models.sampling.sampler import absent


def describe(path: str | os.PathLike[str], *, curves: bool = True) -> dict[str, Any]:
    """The run in `path`, ready to print; draws `curves.png` in it if matplotlib is installed.

    Raises CheckpointError if there is no run, or if its last checkpoint is damaged.
    """
    folder = RunDirectory(path)
    if locate(folder.last) is None:
        raise absent(folder.path, "last")
    checkpoint = Checkpoint(folder.last).of_a_run()
    log = folder.read_log()
    measured: dict[str, Any] = next((line for line in reversed(log) if "epoch" in line), {})
    scored = [line for line in log if "score" in line]
    best = Checkpoint(folder.best).step if locate(folder.best) else None
    picture = folder.last_picture()
    title = f"{checkpoint.config['variant']} on {checkpoint.config['data']['name']}"
    return {
        "variant": checkpoint.config["variant"],
        "step": checkpoint.step,
        "seed": checkpoint.config["seed"],
        "best": "no score was taken" if best is None else f"step {best}",
        "recipe": checkpoint.config["recipe"],
        "data": checkpoint.config["data"],
        "last values": {name: _rounded(value) for name, value in measured.items()},
        "scores": {f"step {line['step']}": _rounded(line["score"]["value"]) for line in scored},
        "warnings": {f"step {line['step']}": line["warning"] for line in log if "warning" in line},
        "last grid": "none yet" if picture is None else str(picture),
        "curves": _curves(folder, log, title, curves),
    }


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _curves(folder: RunDirectory, log: list[dict[str, Any]], title: str, wanted: bool) -> str:
    target: Path = folder.path / "curves.png"
    if not wanted:
        return "not drawn"
    if not any("epoch" in line for line in log):
        return "nothing to draw yet"
    if not has_matplotlib():
        return "not drawn: pip install 'ganmetrics[report]'"
    from reference_models.sampling.pictures import curves

    with folder.writing(log[-1]["step"]):
        curves(log, target, title)
    return str(target)
