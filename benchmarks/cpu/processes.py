"""Start-up time, peak memory and several processes: command lines in fresh processes, measured from outside."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.fid import synthetic_folders
from benchmarks.process import Ran, cores, run

OURS = [sys.executable, "-m", "ganmetrics"]
CORPUS = 200  # different images; large folders consist of hard links to them
# Ends the process when the network has processed its first batch.
FIRST_BATCH = """
import os, sys
from ganmetrics.features.extractor import NetworkExtractor
extract = NetworkExtractor.extract
def once(*args):
    extract(*args)
    os._exit(0)
NetworkExtractor.extract = once
from ganmetrics.cli import main
main()
"""
FIRST_BATCH_OF_PYTORCH_FID = """
import os, sys
from pytorch_fid.inception import InceptionV3
forward = InceptionV3.forward
def once(*args):
    forward(*args)
    os._exit(0)
InceptionV3.forward = once
from benchmarks.peers.tools import main
main(["pytorch-fid", *sys.argv[1:]])
"""


def finished(argv: Sequence[str], *, threads: int | None = None) -> Ran:
    """Run a process. Raises RuntimeError with the last line of its stderr if it fails."""
    ran = run(argv, threads=threads)
    if ran.code:
        message = (ran.err.strip().splitlines() or [f"exit code {ran.code}"])[-1]
        raise RuntimeError(f"{' '.join(argv[2:4])} ...: {message}")
    return ran


def print_progress(what: str, ran: Ran) -> None:
    print(f"  {what:40} {ran.wall:8.2f} s {ran.peak:8.0f} MB", file=sys.stderr, flush=True)


def measure_startup(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows with `what`, round, seconds, goal (None for commands that are only for comparison)."""
    with tempfile.TemporaryDirectory() as folder:
        real, fake = map(str, synthetic_folders(Path(folder), 2, 32, ".png"))
        weights = options.weights
        python, module = [sys.executable, "-c"], [sys.executable, "-m"]
        arguments = ["fid", real, fake, "--weights", weights, "--quiet", "--device", "cpu"]
        plan: list[tuple[str, list[str], float | None]] = [
            ("python alone", [*python, "pass"], None),
            ("ganmetrics --help", [*OURS, "--help"], 0.2),
            ("import ganmetrics", [*python, "import ganmetrics"], None),
            ("import torch", [*python, "import torch"], None),
            ("ganmetrics fid, to the first batch of features", [*python, FIRST_BATCH, *arguments], 3.0),
        ]
        if options.peers:
            plan += [
                ("pytorch-fid --help", [*module, "pytorch_fid", "--help"], None),
                ("fidelity --help", [*module, "torch_fidelity.fidelity", "--help"], None),
                (
                    "pytorch-fid, to the first batch of features",
                    [*python, FIRST_BATCH_OF_PYTORCH_FID, real, fake, weights],
                    None,
                ),
            ]
        for turn in range(1, options.rounds + 1):
            for what, argv, goal in plan if turn % 2 else plan[::-1]:
                ran = finished(argv)
                print_progress(what, ran)
                yield {"what": what, "round": turn, "seconds": ran.wall, "goal": goal}


def many(root: Path, n: int) -> Path:
    """A folder of n small PNG images, hard links to CORPUS files, so that 100,000 are made quickly."""
    corpus = root / "corpus"
    if not corpus.exists():
        corpus.mkdir()
        synthetic_folders(corpus, CORPUS // 2, 32, ".png")
    files = sorted(corpus.rglob("*.png"))
    folder = root / str(n)
    if not folder.exists():
        folder.mkdir()
        for i in range(n):
            os.link(files[i % len(files)], folder / f"{i:06d}.png")
    return folder


def measure_memory(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows with `what`, images, peak_mb, wall_s: `stats` for each size; `fid` and pytorch-fid for the first."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number, (features, n) in enumerate(options.memory):
            source = str(many(root, n))
            arguments = ["--features", features, "--device", "cpu", "--quiet"]
            arguments += ["--weights", options.weights] if features == "inception" else []
            yield _peak(
                f"ganmetrics stats, {features}", n, [*OURS, "stats", source, "-o", f"{name}/{number}.npz", *arguments]
            )
        features, n = options.memory[0]
        source, weights = str(many(root, n)), ["--weights", options.weights] if features == "inception" else []
        argv = [*OURS, "fid", source, source, "--features", features, "--device", "cpu", "--no-cache", "--quiet"]
        argv += weights
        yield _peak(f"ganmetrics fid, {features}", 2 * n, argv)
        if options.peers:
            argv = [sys.executable, "-m", "benchmarks.peers.tools", "pytorch-fid", source, source, options.weights]
            yield _peak("pytorch-fid", 2 * n, argv)


def _peak(what: str, images: int, argv: Sequence[str]) -> dict[str, Any]:
    ran = finished(argv)
    print_progress(f"{what}, {images} images", ran)
    return {"what": what, "images": images, "peak_mb": ran.peak, "wall_s": ran.wall}


def measure_ranks(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows with `what`, round, value, wall_s, seconds (the score's own, without start-up), images, cores."""
    n_cores = cores() or 1
    n_ranks = max(2, n_cores)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_ranks}"]
    plan = [
        ("1 process, 1 thread", OURS, 1),
        (f"{n_ranks} processes, 1 thread each", [*launcher, "-m", "ganmetrics"], 1),
        (f"1 process, {n_ranks} threads", OURS, n_ranks),
    ]
    with tempfile.TemporaryDirectory() as folder:
        real, fake = map(str, synthetic_folders(Path(folder), options.ranks_images, 32, ".png"))
        arguments = ["fid", real, fake, "--weights", options.weights, "--device", "cpu", "--no-cache"]
        arguments += ["--quiet", "--json"]
        for turn in range(1, options.rounds + 1):
            for what, argv, threads in plan if turn % 2 else [plan[0], *plan[:0:-1]]:
                ran = finished([*argv, *arguments], threads=threads)
                print_progress(what, ran)
                score = json.loads(ran.out.strip().splitlines()[-1])
                yield {
                    "what": what,
                    "round": turn,
                    "value": score["value"],
                    "wall_s": ran.wall,
                    "seconds": score["seconds"],
                    "images": 2 * options.ranks_images,
                    "cores": n_cores,
                }
