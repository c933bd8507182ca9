"""The reference models on MNIST: trained within minutes on one core, sampled and scored; three seeds each.

Every run is the command line as a user would type it, in a process of its own with one thread, so that two go side by
side on two cores. Trained on `mnist:train[0:50000]`; scores are of 10,000 samples (the Parzen window, with its
bandwidth chosen on `mnist:train[50000:60000]`, against `mnist:test`) and of 2,000 (FD and IS on the embedded extractor,
the reference being 2,000 test images at the size of the samples); the reconstruction loss is of 200 test images. The
row `real images` scores 2,000 training images in the same way: what a perfect generator would get.

    python -m benchmarks.zoo --data-root DIR --work zoo/ [--out results.jsonl] [--picture zoo.png]

A run that was stopped goes on where it was; what is scored already is not scored again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process import circumstances, run

PACKAGES = ("ganmetrics", "torch", "accelerate", "numpy")
TRAINING = "mnist:train[0:50000]"
FEATURES = "efficientnet-lite0"
N_FEATURES, N_PARZEN, COLUMNS = 2000, 10_000, 16
SMALL = ("--image-size", "32", "--ngf", "16", "--ndf", "16")
DCGAN = (*SMALL, "--batch-size", "64")
RUNNING, FINAL = "mnist:train[50000:50200]", "mnist:test[0:200]"  # held-out images of the reconstruction loss
TRACKED = ("--score-metric", "reconstruction", "--score-method", "xiang-li", "--score-real", RUNNING,
           "--score-every", "500")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is trained: the variant, what its recipe is changed to, for how many steps."""

    variant: str
    steps: int
    options: tuple[str, ...] = ()
    image_size: int = 32


PLANS = {
    "gan": Plan("gan", 10_000, (), 28),
    "gan, minimax": Plan("gan", 10_000, ("--loss", "minimax"), 28),
    "dcgan": Plan("dcgan", 3_000, DCGAN),
    "lsgan": Plan("lsgan", 3_000, DCGAN),
    "lsgan, -1,1,0": Plan("lsgan", 3_000, (*DCGAN, "--coefficients", "-1,1,0")),
    "wngan": Plan("wngan", 4_000, (*SMALL, *TRACKED)),
    "wngan, batch norm": Plan("wngan", 4_000, (*SMALL, *TRACKED, "--normalisation", "batch")),
    "wngan, none": Plan("wngan", 4_000, (*SMALL, *TRACKED, "--normalisation", "none")),
    "began": Plan("began", 4_000, ("--image-size", "32", "--n", "16")),
}


NORMALISATIONS = {"wngan": "weight norm", "wngan, batch norm": "batch norm", "wngan, none": "none"}


class Failed(SystemExit):
    """A command that did not work, with what it said."""


def command(module: str, *arguments: str | Path, threads: int = 1) -> tuple[str, float]:
    """Standard output and seconds of processor time of `python -m MODULE ARGUMENTS`."""
    ran = run([sys.executable, "-m", module, *map(str, arguments)], threads=threads)
    if ran.code:
        raise Failed(f"{module} {' '.join(map(str, arguments))}: exit {ran.code}\n{ran.err}")
    return ran.out, ran.cpu


def folder_of(work: Path, name: str, seed: int) -> Path:
    return work / f"{name.replace(', ', '-').replace(',', '')}-{seed}"


def train(work: Path, root: Path, name: str, seed: int, share: float) -> None:
    """Train one run to its end and keep its processor time (one thread's), over all of its parts."""
    plan, folder = PLANS[name], folder_of(work, name, seed)
    steps = max(1, round(plan.steps * share))
    resume = ("--resume",) if (folder / "last").exists() else ()
    _, cpu = command(
        "reference_models", "train", plan.variant, "--data", TRAINING, "--data-root", root, "--out", folder,
        "--seed", str(seed), "--max-steps", str(steps), *plan.options, "--tracker", "none", "--quiet", *resume,
    )  # fmt: skip
    spent = folder.with_suffix(".seconds")
    before = float(spent.read_text()) if spent.exists() and resume else 0.0
    spent.write_text(str(before + cpu))
    print(f"{name}, seed {seed}: {steps} steps, {before + cpu:.0f} s", flush=True)


def reference(work: Path, root: Path, size: int, part: str) -> Path:
    """2,000 MNIST images at the size of the samples, prepared as for training, as an npz."""
    import numpy as np

    from reference_models.data import open_data
    from reference_models.recipe import Recipe

    target = work / f"real-{part}-{size}.npz"
    if not target.exists():
        data = open_data(f"mnist:{part}[0:{N_FEATURES}]", Recipe(image_size=size, dataroot=str(root)))
        pixels = data.images.__getitems__(list(range(N_FEATURES)))
        np.savez(target, arr_0=pixels.permute(0, 2, 3, 1).numpy())
    return target


def score(metric: str, *arguments: str | Path, threads: int) -> dict[str, Any]:
    return json.loads(command("ganmetrics", metric, *arguments, "--json", "--quiet", threads=threads)[0])


def scores(work: Path, root: Path, fake: Path, size: int, parzen: Path | None, threads: int) -> dict[str, float]:
    """FD and IS of an npz of 2,000 images, and the Parzen log-likelihood of one of 10,000 where the pixels are 784."""
    options = ("--features", FEATURES)
    real = reference(work, root, size, "test")
    found = {
        "fd": score("fid", real, fake, *options, threads=threads)["value"],
        "is": score("is", fake, *options, threads=threads)["value"],
    }
    if parzen is not None:
        sets = ("mnist:train[50000:60000]", "mnist:test", "--data-root", root)
        of_parzen = score("parzen", parzen, *sets, threads=threads)
        found |= {"parzen": of_parzen["value"], "parzen_spread": of_parzen["spread"]}
    return found


def measure(work: Path, root: Path, name: str, seed: int, threads: int) -> dict[str, Any]:
    """One row: a trained run, sampled and scored; kept beside it."""
    plan, folder = PLANS[name], folder_of(work, name, seed)
    kept = folder.with_suffix(".json")
    step = json.loads((folder / "last" / "manifest.json").read_text())["step"]
    if kept.exists() and (row := json.loads(kept.read_text()))["steps"] == step:
        return reconstructed(row, folder, root, kept, threads)
    samples = {}
    for n in (N_FEATURES, N_PARZEN):
        samples[n] = folder.with_suffix(f".{n}.npz")
        command("reference_models", "sample", folder, "-n", str(n), "--out", samples[n], "--overwrite", "--quiet")
    parzen = samples[N_PARZEN] if plan.image_size == 28 else None
    row = {
        "name": name,
        "seed": seed,
        "steps": step,
        "options": list(plan.options),
        "cpu_seconds": round(float(folder.with_suffix(".seconds").read_text()), 1),
        **scores(work, root, samples[N_FEATURES], plan.image_size, parzen, threads),
        **circumstances(PACKAGES),
    }
    kept.write_text(json.dumps(row))
    print(f"{name}, seed {seed}: {', '.join(f'{key} {row[key]:.2f}' for key in ('fd', 'is', 'parzen') if key in row)}")
    return reconstructed(row, folder, root, kept, threads)


def reconstructed(row: dict[str, Any], folder: Path, root: Path, kept: Path, threads: int) -> dict[str, Any]:
    """The row with its reconstruction loss on test images, and with what was tracked while it was trained."""
    if "reconstruction" not in row:
        bound = ("--bound", "1") if row["name"] == "began" else ()  # its latents are uniform
        options = ("--resize", "--data-root", root, *bound)
        row["reconstruction"] = score("reconstruction", folder, FINAL, *options, threads=threads)["value"]
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        row["tracked"] = [[line["step"], line["score"]["value"]] for line in log if "score" in line]
        kept.write_text(json.dumps(row))
    return row


def real_rows(work: Path, root: Path, threads: int) -> list[dict[str, Any]]:
    """What 2,000 training images score in place of samples, at both sizes."""
    rows = []
    for size in (28, 32):
        kept = work / f"real-{size}.json"
        if not kept.exists():
            fake = reference(work, root, size, "train")
            found = scores(work, root, fake, size, None, threads)
            kept.write_text(json.dumps({"name": f"real images, {size} px", "seed": 0, **found}))
        rows.append({**json.loads(kept.read_text()), **circumstances(PACKAGES)})
    return rows


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


def picture(work: Path, rows: Sequence[dict[str, Any]], seed: int, path: Path) -> None:
    """A row of samples of each, the first ones of seed 0 without choosing, over real images."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in PLANS if folder_of(work, name, seed).with_suffix(f".{N_FEATURES}.npz").exists()]
    strips = {name: _strip(np.load(folder_of(work, name, seed).with_suffix(f".{N_FEATURES}.npz"))["arr_0"])
              for name in names}  # fmt: skip
    strips["real"] = _strip(np.load(work / "real-test-32.npz")["arr_0"])
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
    """Two rows of sixteen."""
    import numpy as np

    rows = [np.hstack([np.pad(im[..., 0], 1) for im in images[i : i + COLUMNS]]) for i in (0, COLUMNS)]
    return np.vstack(rows)


def tracked_picture(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Reconstruction loss of the running set over training: weight norm, batch norm, none."""
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="where torchvision put MNIST")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and samples")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(PLANS), default=list(PLANS), metavar="NAME")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps; 0.01 to see that it works")
    parser.add_argument("--side-by-side", type=int, default=2, help="trainings at once, one thread each")
    parser.add_argument("--out", type=Path, help="write the rows to this file, one JSON object a line")
    parser.add_argument("--picture", type=Path, help="samples as a PNG")
    parser.add_argument("--tracked-picture", type=Path, help="reconstruction loss over training as a PNG")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    runs = [(name, seed) for seed in given.seeds for name in given.only]
    with ThreadPoolExecutor(given.side_by_side) as pool:
        list(pool.map(lambda one: train(given.work, given.data_root, one[0], one[1], given.share), runs))
    threads = given.side_by_side
    rows = [measure(given.work, given.data_root, name, seed, threads) for name, seed in runs]
    rows = real_rows(given.work, given.data_root, threads) + sorted(rows, key=lambda row: given.only.index(row["name"]))
    if given.out is not None:
        given.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if given.picture is not None:
        picture(given.work, rows, given.seeds[0], given.picture)
    if given.tracked_picture is not None:
        tracked_picture(rows, given.tracked_picture)
    print(table(rows))


if __name__ == "__main__":
    main()
