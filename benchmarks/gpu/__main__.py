"""All checks and measurements that need a GPU, in one command of a few minutes.

    python -m benchmarks.gpu --weights inception.pth --out results.jsonl
    python -m benchmarks.gpu --weights inception.pth --device cpu --smoke

Parts:
- `agreement`: every metric on every extractor, on the device and on the CPU; a wrong value gives exit code 1;
- `network`: images/s and share of the device's matrix rate, by dtype and way to run the network;
- `precision`: the error of FID with each option of docs/speed.md;
- `steps`: the metrics' own steps on the CPU and on the device;
- `peers`: images/s from start to exit, compared with torch-fidelity, each in its own process, alternately.
See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import ganmetrics as gm
from benchmarks.cpu.steps import vectors
from benchmarks.gpu.network import DTYPES, measure_network, synchronized
from benchmarks.peers import fid as fid_peers
from benchmarks.process import circumstances
from ganmetrics.errors import GanMetricsError, OptionError, PartialError
from ganmetrics.features import EXTRACTORS
from ganmetrics.measurement.settings import Settings
from ganmetrics.metrics import METRICS, OF_IMAGES
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.runtime.device import resolve_device

Row = dict[str, Any]
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "timm", "torch-fidelity", "ganmetrics")
RELATIVE = 1e-3  # allowed difference between device and CPU, relative to the value
# Shares of counted images: a rounding error changes them in steps of one image.
STEPWISE = {"precision", "recall", "density", "coverage", "authenticity"}
GOAL = 5.0  # times torch-fidelity's images/s
CHOICES: dict[str, dict[str, Any]] = {
    "bfloat16": {"dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
    "tf32": {"allow_tf32": True},
    "jpeg decoder": {"jpeg_decoder": "torchvision"},
}
SMOKE = {
    "n": 6, "precision_n": 3, "peer_n": 3, "vectors": 40, "rounds": 1, "burst": 0.01, "batch_sizes": [1], "matrix": 64,
    "features": ["efficientnet-lite0", "pixels"], "size": 32, "choices": ["bfloat16", "jpeg decoder"],
    "dtypes": ["float32"],
}  # fmt: skip


def folders(root: Path, n: int, size: int, suffix: str) -> tuple[Path, Path]:
    """Real and fake images of `benchmarks.peers.fid`, each in two class folders."""
    root.mkdir()
    both = fid_peers.synthetic_folders(root, n, size, suffix)
    for folder in both:
        for i, path in enumerate(sorted(folder.iterdir())):
            (folder / f"class{i % 2}").mkdir(exist_ok=True)
            path.rename(folder / f"class{i % 2}" / path.name)
    return both


def keywords(features: str, options: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of a measurement with an extractor, without the device."""
    weights = {"weights": options.weights} if features == "inception" else {}
    return {"features": features, "progress": False, "cache": False, **weights}


def measurable(features: str, n: int, options: argparse.Namespace) -> list[str]:
    """Metrics that this extractor supports and that accept n images of each side."""
    settings = Settings(device="cpu", **keywords(features, options))
    names = []
    for name in OF_IMAGES:
        metric = METRICS[name].load().configured(settings.rules, settings)
        has_tap = bool(getattr(settings.extractor, f"{metric.kind}_tap"))
        enough = metric.entry.smallest <= options.size and all(metric.least(side) <= n for side in metric.sides)
        if has_tap and enough:
            names.append(name)
    return names


def measure_agreement(options: argparse.Namespace) -> Iterator[Row]:
    """Rows with features, metric, values on the CPU and the device, their difference, and whether it is allowed."""
    with tempfile.TemporaryDirectory() as root:
        real, fake = folders(Path(root) / "images", options.n, options.size, ".png")
        for features in options.features:
            names = measurable(features, options.n, options)
            scores = []
            for device in ("cpu", options.device):
                try:
                    scores.append(gm.evaluate(real, fake, names, device=device, **keywords(features, options)))
                except PartialError as partial:
                    scores.append(partial.scores)
                    yield {"features": features, "run_on": device, "error": str(partial), "right": False}
            missing = [name for name in OF_IMAGES if name not in names]
            yield {"features": features, "not_measured": missing, "right": True}
            for name in sorted(scores[0].keys() | scores[1].keys()):
                row = compared(name, *(by_name.get(name) for by_name in scores))
                yield {"features": features, "metric": name, **row}
        pair = [
            gm.parzen_log_likelihood(real / "class0", real / "class1", fake, device=device, progress=False)
            for device in ("cpu", options.device)
        ]
        yield {"features": "pixels", "metric": "parzen", **compared("parzen", *pair)}
    yield {"metric": "reconstruction", **compared("reconstruction", *map(reconstructed, ("cpu", options.device)))}


def reconstructed(device: str) -> gm.Score:
    """Reconstruction loss of a small generator on its own images: 30 steps of the published search."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = torch.nn.Sequential(
            torch.nn.Unflatten(1, (8, 1, 1)), torch.nn.ConvTranspose2d(8, 8, 4), torch.nn.ReLU(),
            torch.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1), torch.nn.Tanh(),
        ).eval()  # fmt: skip
        with torch.no_grad():
            images = network(torch.randn(20, 8))
    network.latent_shape, network.value_range = (8,), (-1.0, 1.0)
    return gm.reconstruction_loss(
        network.to(device), images, value_range=(-1, 1), method="xiang-li", steps=30, progress=False
    )


def compared(name: str, cpu: gm.Score | None, device: gm.Score | None) -> Row:
    """Two values of one metric and whether their difference is allowed; a missing value is wrong."""
    if cpu is None or device is None:
        return {"right": False, "error": f"no value on {'the CPU' if cpu is None else 'the device'}"}
    difference = abs(device.value - cpu.value)
    counts = max(n for n in (cpu.n_real, cpu.n_fake) if n is not None)
    allowed = 2 / counts if name in STEPWISE else RELATIVE * abs(cpu.value)
    right = difference <= allowed * (1 + 1e-9)  # a difference of exactly two images may be rounded up
    return {"cpu": cpu.value, "device": device.value, "off": difference, "allowed": allowed, "right": right}


def measure_precision(options: argparse.Namespace) -> Iterator[Row]:
    """Rows with features and choice: the Frechet distance by default and with the option, relative difference."""
    with tempfile.TemporaryDirectory() as root:
        pairs = {
            suffix: folders(Path(root) / suffix[1:], options.precision_n, size, suffix)
            for suffix, size in ((".png", options.size), (".jpg", 16 * options.size))
        }
        for features in [name for name in options.features if name != "pixels"]:
            common = {**keywords(features, options), "device": options.device}
            plain = {suffix: gm.fid(*pair, **common).value for suffix, pair in pairs.items()}
            for choice in options.choices:
                suffix = ".jpg" if choice == "jpeg decoder" else ".png"
                row: Row = {"features": features, "choice": choice, "n": options.precision_n, "plain": plain[suffix]}
                try:
                    value = gm.fid(*pairs[suffix], **common, **CHOICES[choice]).value
                except GanMetricsError as error:
                    yield {**row, "error": str(error)}
                    continue
                yield {**row, "value": value, "relative": value / plain[suffix] - 1}


def measure_steps(options: argparse.Namespace) -> Iterator[Row]:
    """Rows with metric and device: seconds to store vectors that are on the device, and to compute the score."""
    for name in ("fid", "is", "kid", "prdc", "vendi"):
        for where in dict.fromkeys(("cpu", options.device)):
            device, settings = torch.device(where), Settings(device=where, progress=False)
            metric = METRICS[name].load().configured(settings.rules, settings)
            keep = 0.0
            with exact_arithmetic(device):
                for side in metric.sides:
                    for block in vectors(metric.kind, side, options.vectors):
                        block = block.to(device)
                        synchronized(device)
                        start = time.perf_counter()
                        for batch in block.split(64):
                            metric.update(batch, side)
                        synchronized(device)
                        keep += time.perf_counter() - start
                start = time.perf_counter()
                result = next(iter(metric.results().values()))
                score = time.perf_counter() - start
            row = {"metric": name, "device": where, "n": options.vectors, "value": result.value}
            yield {**row, "keep_s": keep, "score_s": score}
    yield from decompositions(options)


def decompositions(options: argparse.Namespace) -> Iterator[Row]:
    """Seconds of the decompositions and the product in a Frechet distance, float64, on the CPU and on the device."""
    dim = min(2048, 32 * options.vectors)
    rows = torch.randn(2 * dim, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for where in dict.fromkeys(("cpu", options.device)):
        device = torch.device(where)
        matrix = (rows.T @ rows / len(rows)).to(device)
        calls = {"cholesky": torch.linalg.cholesky, "eigvalsh": torch.linalg.eigvalsh, "svdvals": torch.linalg.svdvals}
        for name, call in {**calls, "product": lambda a: a @ a}.items():
            call(matrix[:32, :32].contiguous())  # warm-up
            synchronized(device)
            start = time.perf_counter()
            call(matrix)
            synchronized(device)
            yield {"step": name, "dim": dim, "device": where, "seconds": time.perf_counter() - start}


def measure_peers(options: argparse.Namespace) -> Iterator[Row]:
    """Rows with tool and round, as in `benchmarks.peers.fid`; then one with the ratio of the medians."""
    tools = ["torch-fidelity", "ganmetrics:torch-fidelity"]
    rates: dict[str, list[float]] = {tool: [] for tool in tools}
    with tempfile.TemporaryDirectory() as root:
        real, fake = fid_peers.synthetic_folders(Path(root), options.peer_n, options.size, ".png")
        for turn in range(options.rounds):
            for tool in tools if turn % 2 == 0 else tools[::-1]:
                argv = fid_peers.command(tool, real, fake, options.weights.resolve(), device=options.device)
                done = fid_peers.measure(tool, argv, n_images=2 * options.peer_n, round_=turn + 1)
                rates[tool] += [done.images_per_s] if done.images_per_s is not None else []
                row = {"tool": tool, "round": turn + 1, "value": done.value, "images_s": done.images_per_s}
                yield {**row, "wall_s": done.wall_s, "error": done.error}
    if all(rates.values()):
        theirs, ours = (statistics.median(rates[tool]) for tool in tools)
        yield {"tool": "ratio", "ratio": ours / theirs, "goal": GOAL}


PARTS = {
    "agreement": measure_agreement,
    "network": measure_network,
    "precision": measure_precision,
    "steps": measure_steps,
    "peers": measure_peers,
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parsed options; --smoke replaces all amounts by tiny ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="the Inception file, official or synthetic")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help="comma-separated")
    parser.add_argument("--rounds", type=int, default=3, help="of peers")
    parser.add_argument("--out", type=Path, help="append the figures to this file, one JSON object a line")
    parser.add_argument("--smoke", action="store_true", help="quick trial with tiny amounts; the figures mean nothing")
    parser.set_defaults(
        n=100, precision_n=500, peer_n=5000, vectors=10_000, size=32, burst=0.5, matrix=8192,
        batch_sizes=[32, 64, 128, 256], features=[name for name in EXTRACTORS if name != "timm"], choices=list(CHOICES),
        dtypes=list(DTYPES),
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"--parts: expected some of {', '.join(PARTS)}, got {', '.join(unknown)}")
    if not options.weights.is_file():
        parser.error(f"--weights: no such file: {options.weights}; python -m benchmarks.synthetic_inception makes one")
    try:
        resolve_device(options.device)
    except OptionError as error:
        parser.error(str(error))
    if options.smoke:
        vars(options).update(SMOKE)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all parts, print and write each figure immediately. Returns 1 if a value on the device is wrong."""
    options = parse(arguments)
    about = {**circumstances(PACKAGES), "device": device_name(options.device), "smoke": options.smoke}
    wrong = 0
    for part in options.parts:
        print(f"{part} ...", file=sys.stderr, flush=True)
        with exact_arithmetic(torch.device(options.device)):
            for row in continued(PARTS[part](options)):
                wrong += row.get("right") is False
                print("  ".join(f"{key} {shown(value)}" for key, value in {"part": part, **row}.items()), flush=True)
                if options.out:
                    with options.out.open("a") as file:
                        print(json.dumps({"part": part, **row, **about, "run_on": options.device}), file=file)
    if wrong:
        print(f"WRONG: {wrong} values on {options.device} are not those on the CPU; see 'right False'", file=sys.stderr)
    return 1 if wrong else 0


def continued(rows: Iterator[Row]) -> Iterator[Row]:
    """The same rows; if the part fails, one more row with the error, so that the other parts still run."""
    try:
        yield from rows
    except Exception as error:
        yield {"error": f"{type(error).__name__}: {error}".splitlines()[0], "right": False}


def device_name(device: str) -> str:
    """Name of the GPU as CUDA reports it; for other devices the device's own string."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


def shown(value: Any) -> str:
    """Text of a value, floating point with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
