"""The main job on real images: does the score rise with the damage?

scikit-learn's 1,797 scanned digits are written as PNG folders: one half is the reference, the other half is scored
as it is and blurred and noised in three strengths, through the command line, with the embedded default extractor.

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
from PIL import Image, ImageFilter

FEATURES = "efficientnet-lite0"
# name: (standard deviation of the blur in pixels, of the noise in grey levels), for 32-pixel digits
DAMAGES = {"untouched": (0.0, 0.0), "weak": (0.4, 3.0), "medium": (1.0, 12.0), "strong": (2.2, 50.0)}


def digits(seed: int = 0) -> tuple[list[Image.Image], list[Image.Image]]:
    """The scans at 32 pixels, shuffled, in two halves."""
    from sklearn.datasets import load_digits

    scans = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(scans))
    images = [Image.fromarray(scans[i]).resize((32, 32), Image.Resampling.BICUBIC) for i in order]
    return images[: len(images) // 2], images[len(images) // 2 :]


def damaged(image: Image.Image, blur: float, noise: float, rng: np.random.Generator) -> Image.Image:
    """Gaussian blur, then Gaussian noise; both 0 leaves the image alone."""
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float64)
    return Image.fromarray((pixels + noise * rng.standard_normal(pixels.shape)).round().clip(0, 255).astype(np.uint8))


def write(folder: Path, images: Sequence[Image.Image]) -> Path:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        image.save(folder / f"{i:04}.png")
    return folder


def ganmetrics(*arguments: str | Path) -> str:
    """Run the command line and show it; its progress and warnings pass through on stderr."""
    shown = ["ganmetrics", *map(str, arguments)]
    print("$", *shown, flush=True)
    done = subprocess.run([sys.executable, "-m", *shown], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def picture(path: Path, folders: dict[str, Path], values: dict[str, float]) -> None:
    """Samples of each strength beside the score it gets."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 3.3), width_ratios=[1.25, 1], layout="constrained")
    axes[0].imshow(np.vstack([_strip(folders[name]) for name in values]), cmap="gray", vmin=0, vmax=255)
    axes[0].set_yticks([16 + 34 * i for i in range(len(values))], list(values))
    axes[0].set_xticks([])
    axes[0].set_title("the images that are scored")
    rows = [16 + 34 * i for i in range(len(values))]
    bars = axes[1].barh(rows, list(values.values()), height=24, color="#2a6f97")
    axes[1].bar_label(bars, fmt="%.1f", padding=4)
    axes[1].set_ylim(34 * len(values), 0)  # the rows of the picture beside it
    axes[1].set_yticks([])
    axes[1].margins(x=0.14)
    axes[1].spines[["top", "right"]].set_visible(False)
    axes[1].set_xlabel(f"fd-{FEATURES} against the other half (lower is better)")
    axes[1].set_title("and what they score")
    figure.savefig(path, dpi=120)


def _strip(folder: Path, n: int = 10) -> np.ndarray:
    """Ten digits side by side, framed so that rows and columns stay apart."""
    images = [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())[:n]]
    return np.hstack([np.pad(image, 1, constant_values=128) for image in images])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Score digits that get worse and worse.")
    parser.add_argument("output", type=Path, help="folder to write to; what an earlier demo left there is replaced")
    output: Path = parser.parse_args(arguments).output
    started = time.perf_counter()
    if output.exists() and not (output / "digits").is_dir() and any(output.iterdir()):
        parser.error(f"{output} holds something that is not an earlier demo's; name another folder")
    shutil.rmtree(output, ignore_errors=True)
    reference, others = digits()
    rng = np.random.default_rng(1)
    write(output / "digits" / "reference", reference)
    folders = {
        name: write(output / "digits" / name, [damaged(image, blur, noise, rng) for image in others])
        for name, (blur, noise) in DAMAGES.items()
    }
    statistics = output / "reference.npz"
    print(ganmetrics("stats", output / "digits" / "reference", "-o", statistics, "--features", FEATURES), end="")
    scores = {}
    for name, folder in folders.items():
        scores[name] = json.loads(ganmetrics("fid", statistics, folder, "--features", FEATURES, "--json"))
        print(f"  {scores[name]['metric']} {scores[name]['value']:.4f}")
    values = {name: score["value"] for name, score in scores.items()}
    (output / "scores.jsonl").write_text("".join(json.dumps(score) + "\n" for score in scores.values()))
    picture(output / "scores.png", folders, values)
    print(f"\n{'damage':<12}{scores['untouched']['metric']:>24}")
    for name, value in values.items():
        print(f"{name:<12}{value:>24.2f}")
    for warning in scores["untouched"]["warnings"]:
        print(f"Note: {warning}")
    rises = list(values.values()) == sorted(values.values())
    print(f"The score {'rises' if rises else 'does NOT rise'} with the damage.")
    print(f"Picture: {output / 'scores.png'}   scores: {output / 'scores.jsonl'}   images: {output / 'digits'}")
    print(f"{time.perf_counter() - started:.0f} s")
    if not rises:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
