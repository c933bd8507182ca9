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
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.process import run
from benchmarks.zoo.plans import PLANS, TRAINING, folder_of
from benchmarks.zoo.report import picture, table, tracked_picture
from benchmarks.zoo.scores import measure, real_rows, reference


class Failed(SystemExit):
    """A command that did not work, with what it said."""


def command(module: str, *arguments: str | Path, threads: int = 1) -> tuple[str, float]:
    """Standard output and seconds of processor time of `python -m MODULE ARGUMENTS`."""
    ran = run([sys.executable, "-m", module, *map(str, arguments)], threads=threads)
    if ran.code:
        raise Failed(f"{module} {' '.join(map(str, arguments))}: exit {ran.code}\n{ran.err}")
    return ran.out, ran.cpu


def train(work: Path, root: Path, name: str, seed: int, share: float) -> None:
    """Train one run to its end and keep its processor time (one thread's), over all of its parts."""
    plan, folder = PLANS[name], folder_of(work, name, seed)
    steps = max(1, round(plan.steps * share))
    spent, resume = folder.with_suffix(".seconds"), list[str]()
    if (folder / "last").exists():
        if spent.exists() and json.loads((folder / "last" / "manifest.json").read_text())["step"] >= steps:
            return
        resume = ["--resume"]
    _, cpu = command(
        "reference_models", "train", plan.variant, "--data", TRAINING, "--data-root", root, "--out", folder,
        "--seed", str(seed), "--max-steps", str(steps), *plan.options, "--tracker", "none", "--quiet", *resume,
    )  # fmt: skip
    before = float(spent.read_text()) if spent.exists() and resume else 0.0
    spent.write_text(str(before + cpu))
    print(f"{name}, seed {seed}: {steps} steps, {before + cpu:.0f} s", flush=True)


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
    rows = [measure(given.work, given.data_root, name, seed) for name, seed in runs]
    rows = real_rows(given.work, given.data_root) + sorted(rows, key=lambda row: given.only.index(row["name"]))
    if given.out is not None:
        given.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if given.picture is not None:
        real = reference(given.data_root, 32, "test").permute(0, 2, 3, 1).numpy()
        picture(given.work, rows, given.seeds[0], real, given.picture)
    if given.tracked_picture is not None:
        tracked_picture(rows, given.tracked_picture)
    print(table(rows))


if __name__ == "__main__":
    main()
