"""The reference models on MNIST: trained within minutes on one core, sampled and scored; three seeds each.

Each run uses the command line as a user would, in its own process with one thread, so that two runs fit on two cores.
Training images are `mnist:train[0:50000]`. Scores:
- Parzen window: 10,000 samples, bandwidth chosen on `mnist:train[50000:60000]`, against `mnist:test`;
- FD and IS: 2,000 samples, efficientnet-lite0, against 2,000 test images of the same size;
- reconstruction loss: 200 test images.
The row `real images` scores 2,000 training images in the same way: the result of a perfect generator.

    python -m benchmarks.zoo --data-root DIR --work zoo/ [--out results.jsonl] [--picture zoo.png]

A stopped run is resumed; stored scores are not computed again.
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
    """A command failed; the message contains its stderr."""


def command(module: str, *arguments: str | Path, threads: int = 1) -> tuple[str, float]:
    """Standard output and seconds of processor time of `python -m MODULE ARGUMENTS`."""
    ran = run([sys.executable, "-m", module, *map(str, arguments)], threads=threads)
    if ran.code:
        raise Failed(f"{module} {' '.join(map(str, arguments))}: exit {ran.code}\n{ran.err}")
    return ran.out, ran.cpu


def train(work: Path, root: Path, name: str, seed: int, share: float) -> None:
    """Train one run to its end; store its processor time, summed over the parts of a resumed run."""
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
    parser.add_argument("--data-root", type=Path, required=True, help="torchvision's folder of MNIST")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and samples")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(PLANS), default=list(PLANS), metavar="NAME")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps; 0.01 for a quick trial")
    parser.add_argument("--side-by-side", type=int, default=2, help="number of trainings at a time, one thread each")
    parser.add_argument("--out", type=Path, help="write the rows to this file, one JSON object a line")
    parser.add_argument("--picture", type=Path, help="samples as a PNG")
    parser.add_argument("--tracked-picture", type=Path, help="reconstruction loss over training as a PNG")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    runs = [(name, seed) for seed in options.seeds for name in options.only]
    with ThreadPoolExecutor(options.side_by_side) as pool:
        list(pool.map(lambda pair: train(options.work, options.data_root, pair[0], pair[1], options.share), runs))
    rows = [measure(options.work, options.data_root, name, seed) for name, seed in runs]
    rows = real_rows(options.work, options.data_root) + sorted(rows, key=lambda row: options.only.index(row["name"]))
    if options.out is not None:
        options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if options.picture is not None:
        real = reference(options.data_root, 32, "test").permute(0, 2, 3, 1).numpy()
        picture(options.work, rows, options.seeds[0], real, options.picture)
    if options.tracked_picture is not None:
        tracked_picture(rows, options.tracked_picture)
    print(table(rows))


if __name__ == "__main__":
    main()
