"""Demonstration on real images and a trained generator: does the score fall while a DCGAN learns?

scikit-learn's 1,797 scanned digits, at 16 pixels, are written as two folders of PNG files. A DCGAN is trained on one
half, and stopped and resumed in between. Its samples, and the other half of the digits, are scored against the training
half. Everything uses the two command lines, with the extractor whose weights are installed by pip.

    python -m benchmarks.demo OUTPUT
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

FEATURES = "efficientnet-lite0"
STOPS = (50, 300, 2000)  # steps after which the generator is sampled
RECIPE = ("--image-size", "16", "--ngf", "32", "--ndf", "32", "--batch-size", "64", "--tracker", "none")
N_SAMPLES = 450
OTHER_HALF = "real digits"


def digits(seed: int = 0) -> tuple[list[Image.Image], list[Image.Image]]:
    """The scanned digits at 16 pixels, shuffled and split into two halves."""
    from sklearn.datasets import load_digits

    scans = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(scans))
    images = [Image.fromarray(scans[i]).resize((16, 16), Image.Resampling.BICUBIC) for i in order]
    return images[: len(images) // 2], images[len(images) // 2 :]


def write(folder: Path, images: Sequence[Image.Image]) -> Path:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        image.save(folder / f"{i:04}.png")
    return folder


def command(module: str, *arguments: str | Path) -> str:
    """Print and run a command; returns its stdout. Its progress and warnings go to stderr as usual."""
    words = [module, *map(str, arguments)]
    print("$", " ".join([module.replace("_", "-"), *words[1:]]), flush=True)
    done = subprocess.run([sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def trained(data: Path, output: Path) -> dict[str, Path]:
    """Train the generator; folders of its samples after each of `STOPS`, by their name in the table."""
    run, folders = output / "dcgan", {}
    for steps in STOPS:
        resume = ("--resume",) if run.exists() else ()
        print(command("reference_models", "train", "dcgan", "--data", data, "--out", run, *RECIPE,
                  "--max-steps", str(steps), *resume), end="")  # fmt: skip
        folders[f"after {steps} steps"] = output / f"fake-{steps}"
        command("reference_models", "sample", run, "-n", str(N_SAMPLES), "--out", output / f"fake-{steps}", "--quiet")
    command("reference_models", "show", run)
    return folders


def picture(path: Path, folders: dict[str, Path], values: dict[str, float]) -> None:
    """Draw the samples beside their scores."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    strips = [_strip(folders[name]) for name in values]
    height = strips[0].shape[0]
    rows = [height * (i + 0.5) for i in range(len(values))]
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), width_ratios=[1.25, 1], layout="constrained")
    axes[0].imshow(np.vstack(strips), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes[0].set_yticks(rows, list(values))
    axes[0].set_xticks([])
    axes[0].set_title("the images that are scored")
    bars = axes[1].barh(rows, list(values.values()), height=0.7 * height, color="#2a6f97")
    axes[1].bar_label(bars, fmt="%.1f", padding=4)
    axes[1].set_ylim(height * len(values), 0)  # the same rows as in the picture on the left
    axes[1].set_yticks([])
    axes[1].margins(x=0.14)
    axes[1].spines[["top", "right"]].set_visible(False)
    axes[1].set_xlabel(f"fd-{FEATURES} against the training half (lower is better)")
    axes[1].set_title("and what they score")
    figure.savefig(path, dpi=120)


def _strip(folder: Path, columns: int = 14) -> np.ndarray:
    """Two rows of digits, each with a grey frame."""
    images = [np.pad(np.asarray(Image.open(p).convert("L")), 1, constant_values=128) for p in sorted(folder.iterdir())]
    return np.vstack([np.hstack(images[i : i + columns]) for i in (0, columns)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a DCGAN on scanned digits and score it on the way.")
    parser.add_argument("output", type=Path, help="folder to write to; the output of an earlier demo is replaced")
    output: Path = parser.parse_args(arguments).output
    started = time.perf_counter()
    if output.exists() and not (output / "digits").is_dir() and any(output.iterdir()):
        parser.error(f"{output} holds something that is not an earlier demo's; name another folder")
    shutil.rmtree(output, ignore_errors=True)
    seen, others = digits()
    data = write(output / "digits" / "training", seen)
    folders = {**trained(data, output), OTHER_HALF: write(output / "digits" / "others", others[:N_SAMPLES])}
    statistics = output / "training.npz"
    print(command("ganmetrics", "stats", data, "-o", statistics, "--features", FEATURES), end="")
    scores = {}
    for name, folder in folders.items():
        scores[name] = json.loads(command("ganmetrics", "fid", statistics, folder, "--features", FEATURES, "--json"))
        print(f"  {scores[name]['metric']} {scores[name]['value']:.4f}")
    values = {name: score["value"] for name, score in scores.items()}
    (output / "scores.jsonl").write_text("".join(json.dumps(score) + "\n" for score in scores.values()))
    picture(output / "scores.png", folders, values)
    print(f"\n{'':<18}{scores[OTHER_HALF]['metric']:>24}")
    for name, value in values.items():
        print(f"{name:<18}{value:>24.2f}")
    for warning in scores[OTHER_HALF]["warnings"]:
        print(f"Note: {warning}")
    falls = list(values.values()) == sorted(values.values(), reverse=True)
    print(f"The score {'falls' if falls else 'does NOT fall'} from the first generator to real digits.")
    print(f"Picture: {output / 'scores.png'}   scores: {output / 'scores.jsonl'}   run: {output / 'dcgan'}")
    print(f"{time.perf_counter() - started:.0f} s")
    if not falls:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
