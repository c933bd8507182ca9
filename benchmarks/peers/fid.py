"""FID of ganmetrics and of each peer: same folders, same weights, one run; value, speed, wall time, peak memory.

Each measurement is a fresh process, timed from its start to its exit (imports, loading, network, Frechet term), and
every other round runs the tools in the opposite order. See README.md in this folder.

    python -m benchmarks.peers.fid --synthetic 600 --weights inception.pth --rounds 3 --out results.jsonl
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cpu.tables import aligned
from benchmarks.process import circumstances, run

OURS = {  # protocol: the peer it must agree with
    "tensorflow": "torch-fidelity",
    "pytorch-fid": "pytorch-fid",
    "torch-fidelity": "torch-fidelity",
    "clean-fid": "clean-fid",
    "torchmetrics": "torchmetrics",
}
PEERS = ("pytorch-fid", "torch-fidelity", "clean-fid", "torchmetrics")
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pillow", *PEERS)
EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Measurement:
    """One run of one tool; `value` is None where it failed, and `error` says why in one line.

    conv_gflop_s, gflop_an_image: the rate that oneDNN reached on convolutions just before the round, and what the
        network takes for an image; None in results from before they were measured.
    """

    tool: str
    round: int
    value: float | None
    wall_s: float
    images_per_s: float | None
    peak_mb: float
    error: str | None = None
    conv_gflop_s: float | None = None
    gflop_an_image: float | None = None


def command(
    tool: str, real: Path, fake: Path, weights: Path, workers: int | None = None, device: str = "cpu"
) -> list[str]:
    """The process that measures `tool`: ours through its command line, a peer through `benchmarks.peers.tools`."""
    if tool.startswith("ganmetrics:"):
        options = ["--weights", str(weights), "--protocol", tool.split(":")[1], "--device", device, "--json", "--quiet"]
        options += ["--no-cache"]  # every round measures both folders, as the peers do
        options += [] if workers is None else ["--num-workers", str(workers)]
        return [sys.executable, "-m", "ganmetrics", "fid", str(real), str(fake), *options]
    given = [str(real), str(fake), str(weights), str(workers), device]
    return [sys.executable, "-m", "benchmarks.peers.tools", tool, *given]


def measure(
    tool: str, argv: Sequence[str], *, n_images: int, round_: int = 1, threads: int | None = None
) -> Measurement:
    """One measurement; a tool that fails gives one with an error instead of an exception."""
    code, out, err, wall, peak, _ = run(argv, threads=threads)
    try:
        value = float(json.loads(out.strip().splitlines()[-1])["value"])
        return Measurement(tool, round_, value, wall, n_images / wall, peak)
    except (IndexError, ValueError, KeyError, TypeError):
        lines = [line.strip() for line in err.splitlines() if line.strip()] or [f"exit code {code}, no value printed"]
        without_folders = re.sub(r"(?:[A-Za-z]:)?[/\\]\S*[/\\]", "", lines[-1])  # results are published
        return Measurement(tool, round_, None, wall, None, peak, without_folders[:200])


def count_images(folder: Path) -> int:
    return sum(path.suffix.lower() in EXTENSIONS for path in folder.rglob("*"))


def synthetic_folders(root: Path, n: int, size: int, suffix: str) -> tuple[Path, Path]:
    """N + N images of real content: crops of scikit-learn's two photos and its scanned digits, one half each.

    Real images come from one photo and one half of the digits, fakes from the other, so that the distance is large.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits, load_sample_images

    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    digits = np.array_split((load_digits().images * (255 / 16)).astype(np.uint8), 2)
    for side, name in enumerate(("real", "fake")):
        (root / name).mkdir()
        for i in range(n):
            if i % 2:
                edge = int(rng.integers(size, 257) if size < 256 else 256)
                left, top = (int(rng.integers(0, extent - edge + 1)) for extent in photos[side].size)
                image = photos[side].crop((left, top, left + edge, top + edge))
            else:
                image = Image.fromarray(digits[side][i // 2 % len(digits[side])]).convert("RGB")
            image.resize((size, size), Image.Resampling.BICUBIC).save(root / name / f"{i:06d}{suffix}")
    return root / "real", root / "fake"


def matching_peer(tool: str, values: dict[str, float]) -> str | None:
    """The peer that a protocol of ours must agree with, in its most exact mode among those that ran."""
    peer = OURS[tool.split(":")[1]] if tool.startswith("ganmetrics:") else ""
    return next((name for name in (f"{peer}-float64", peer) if name in values), None)


def table(measurements: Sequence[Measurement]) -> str:
    """One aligned row a tool: medians over the rounds."""
    good = [item for item in measurements if item.value is not None]
    values = {item.tool: float(item.value) for item in reversed(good) if item.value is not None}
    walls = {tool: statistics.median(item.wall_s for item in good if item.tool == tool) for tool in values}
    rows = [["tool", "value", "difference", "images/s", "wall s", "peak MB", "x pytorch-fid"]]
    for tool in dict.fromkeys(item.tool for item in measurements):
        if tool not in values:
            rows.append([tool, "failed", "", "", "", "", ""])
            continue
        mine = [item for item in good if item.tool == tool]
        peer, base = matching_peer(tool, values), walls.get("pytorch-fid")
        rows.append(
            [
                tool,
                f"{values[tool]:.6f}",
                f"{abs(values[tool] - values[peer]) / abs(values[peer]):.1e}" if peer else "",
                f"{statistics.median(item.images_per_s or 0 for item in mine):.1f}",
                f"{walls[tool]:.1f}",
                f"{statistics.median(item.peak_mb for item in mine):.0f}",
                f"{base / walls[tool]:.2f}" if base else "",
            ]
        )
    return "\n".join([aligned(rows), *shares(good)])


def brief(measurements: Sequence[Measurement]) -> str:
    """A row for each peer and one of ours, in its default protocol."""
    shown = (*PEERS, "ganmetrics:tensorflow")
    return table([item for item in measurements if item.tool in shown]).partition("\nfloor")[0]


def shares(good: Sequence[Measurement]) -> list[str]:
    """What the convolutions alone would take, and the share of that speed each of ours reaches, in its own rounds."""
    reached: dict[str, list[float]] = {}
    floors = []
    for item in good:
        if item.conv_gflop_s and item.gflop_an_image and item.images_per_s:
            floors.append(item.conv_gflop_s / item.gflop_an_image)
            if item.tool.startswith("ganmetrics:"):
                reached.setdefault(item.tool.partition(":")[2], []).append(item.images_per_s / floors[-1])
    if not floors:
        return []
    size = next(item.gflop_an_image for item in good if item.gflop_an_image)
    said = ", ".join(f"{protocol} {100 * statistics.median(found):.0f} %" for protocol, found in reached.items())
    return [
        f"floor: {size:.2f} GFLOP an image at oneDNN's convolution rate, {statistics.median(floors):.1f} images/s",
        *([f"reached by ganmetrics, start-up and all: {said}"] if reached else []),
    ]


def floor(threads: int | None) -> dict[str, Any]:
    """The rate of convolutions and the network's own count, measured in a process of its own; empty where it fails."""
    ran = run([sys.executable, "-m", "benchmarks.cpu.network"], threads=threads)
    return {} if ran.code else json.loads(ran.out)


def load(path: Path) -> list[Measurement]:
    """The measurements of a results file."""
    names = Measurement.__dataclass_fields__
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return [Measurement(**{name: value for name, value in row.items() if name in names}) for row in rows]


def setting(options: argparse.Namespace, n_images: int) -> dict[str, Any]:
    """What the figures depend on: machine, versions, commit, date, and what was asked for."""
    synthetic = {"n": options.synthetic, "size": options.size, "jpeg": options.jpeg} if options.synthetic else None
    return {
        **circumstances(PACKAGES),
        "n_images": n_images,
        "threads": options.threads,
        "workers": options.workers,
        "synthetic": synthetic,
    }


def default_tools(*, float64: bool) -> list[str]:
    return [*PEERS, *(["torchmetrics-float64"] if float64 else []), *(f"ganmetrics:{name}" for name in OURS)]


def measurements(options: argparse.Namespace, real: Path, fake: Path, n_images: int) -> Iterator[Measurement]:
    """All rounds, told on stderr one line each."""
    for round_ in range(1, options.rounds + 1):
        rate = floor(options.threads)
        for tool in options.tools if round_ % 2 else options.tools[::-1]:
            print(f"round {round_}/{options.rounds}  {tool} ...", end=" ", file=sys.stderr, flush=True)
            argv = command(tool, real, fake, options.weights.resolve(), options.workers)
            done = measure(tool, argv, n_images=n_images, round_=round_, threads=options.threads)
            done = replace(done, **rate)
            print(done.error or f"{done.value:.6f} in {done.wall_s:.1f} s", file=sys.stderr)
            yield done


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options; --tools is checked against the names known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="the Inception file, official or synthetic")
    parser.add_argument("--real", type=Path, help="folder of real images")
    parser.add_argument("--fake", type=Path, help="folder of generated images")
    parser.add_argument("--synthetic", type=int, metavar="N", help="instead of folders: N + N small images of our own")
    parser.add_argument("--size", type=int, default=32, help="edge of the synthetic images (default 32)")
    parser.add_argument("--jpeg", action="store_true", help="synthetic images as JPEG instead of PNG")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tools", type=lambda text: text.split(","), help="comma-separated; all by default")
    parser.add_argument("--float64", action="store_true", help="torchmetrics also in its accurate mode")
    parser.add_argument("--threads", type=int, help="threads a process may use (default: what each tool does)")
    parser.add_argument("--workers", type=int, help="loading workers (default: what each tool does)")
    parser.add_argument("--out", type=Path, help="append the measurements to this file, one JSON object a line")
    options = parser.parse_args(arguments)
    known = default_tools(float64=True)
    options.tools = options.tools or default_tools(float64=options.float64)
    if unknown := sorted(set(options.tools) - set(known)):
        parser.error(f"--tools: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    if (options.synthetic is None) == (options.real is None or options.fake is None):
        parser.error("give either --real and --fake, or --synthetic N")
    if not options.weights.is_file():
        parser.error(f"--weights: no such file: {options.weights}; python -m benchmarks.synthetic_inception makes one")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write each result as it comes, print the table at the end or at Ctrl-C."""
    options = parse(arguments)
    done: list[Measurement] = []
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        if options.synthetic:
            suffix = ".jpg" if options.jpeg else ".png"
            real, fake = synthetic_folders(Path(folder), options.synthetic, options.size, suffix)
        else:
            real, fake = options.real.resolve(), options.fake.resolve()
        n_images = count_images(real) + count_images(fake)
        circumstances_now = setting(options, n_images)
        try:
            for item in measurements(options, real, fake, n_images):
                done.append(item)
                if options.out:
                    with options.out.open("a") as file:
                        print(json.dumps({**asdict(item), **circumstances_now}), file=file)
        except KeyboardInterrupt:
            print("\ninterrupted: the table holds what was finished", file=sys.stderr)
            code = 130
    if done:
        print(table(done))
    return code


if __name__ == "__main__":
    sys.exit(main())
