"""FID of ganmetrics and of other tools, on the same folders and weights: value, speed, wall time, peak memory.

Each measurement is a fresh process, timed from its start to its exit (imports, loading, network, Frechet term). The
order of the tools is reversed every other round. See benchmarks/README.md.

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

OURS = {  # protocol: the tool it must agree with
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
    """One run of one tool.

    Attributes:
        value: FID; None if the tool failed.
        images_per_s: images of both folders divided by `wall_s`; None if the tool failed.
        error: the reason of a failure in one line.
        conv_gflop_s: GFLOP/s of oneDNN's best convolution just before the round; None in older results.
        gflop_an_image: GFLOP of the network's convolutions for one image; None in older results.
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
    """Arguments of the process that measures `tool`: our command line, or `benchmarks.peers.tools` for other tools."""
    if tool.startswith("ganmetrics:"):
        options = ["--weights", str(weights), "--protocol", tool.split(":")[1], "--device", device, "--json", "--quiet"]
        options += ["--no-cache"]  # every round measures both folders, as the other tools do
        options += [] if workers is None else ["--num-workers", str(workers)]
        return [sys.executable, "-m", "ganmetrics", "fid", str(real), str(fake), *options]
    arguments = [str(real), str(fake), str(weights), str(workers), device]
    return [sys.executable, "-m", "benchmarks.peers.tools", tool, *arguments]


def measure(
    tool: str, argv: Sequence[str], *, n_images: int, round_: int = 1, threads: int | None = None
) -> Measurement:
    """Run one tool; if it fails, the measurement has an error and no exception is raised."""
    code, out, err, wall, peak, _ = run(argv, threads=threads)
    try:
        value = float(json.loads(out.strip().splitlines()[-1])["value"])
        return Measurement(tool, round_, value, wall, n_images / wall, peak)
    except (IndexError, ValueError, KeyError, TypeError):
        lines = [line.strip() for line in err.splitlines() if line.strip()] or [f"exit code {code}, no value printed"]
        without_folders = re.sub(r"(?:[A-Za-z]:)?[/\\]\S*[/\\]", "", lines[-1])  # no folder names in published results
        return Measurement(tool, round_, None, wall, None, peak, without_folders[:200])


def count_images(folder: Path) -> int:
    return sum(path.suffix.lower() in EXTENSIONS for path in folder.rglob("*"))


def synthetic_folders(root: Path, n: int, size: int, suffix: str) -> tuple[Path, Path]:
    """Write N + N images of real content: half crops of scikit-learn's two photos, half its scanned digits.

    Real images come from one photo and one half of the digits, fakes from the others, so that the distance is large.
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
    """The tool that one of our protocols must agree with; its float64 mode if that ran."""
    peer = OURS[tool.split(":")[1]] if tool.startswith("ganmetrics:") else ""
    return next((name for name in (f"{peer}-float64", peer) if name in values), None)


def table(measurements: Sequence[Measurement]) -> str:
    """One aligned row for each tool: the first value, medians of the figures over the rounds."""
    succeeded = [item for item in measurements if item.value is not None]
    values = {item.tool: float(item.value) for item in reversed(succeeded) if item.value is not None}
    walls = {tool: statistics.median(item.wall_s for item in succeeded if item.tool == tool) for tool in values}
    rows = [["tool", "value", "difference", "images/s", "wall s", "peak MB", "x pytorch-fid"]]
    for tool in dict.fromkeys(item.tool for item in measurements):
        if tool not in values:
            rows.append([tool, "failed", "", "", "", "", ""])
            continue
        runs = [item for item in succeeded if item.tool == tool]
        peer, base = matching_peer(tool, values), walls.get("pytorch-fid")
        rows.append(
            [
                tool,
                f"{values[tool]:.6f}",
                f"{abs(values[tool] - values[peer]) / abs(values[peer]):.1e}" if peer else "",
                f"{statistics.median(item.images_per_s or 0 for item in runs):.1f}",
                f"{walls[tool]:.1f}",
                f"{statistics.median(item.peak_mb for item in runs):.0f}",
                f"{base / walls[tool]:.2f}" if base else "",
            ]
        )
    return "\n".join([aligned(rows), *shares(succeeded)])


def brief(measurements: Sequence[Measurement]) -> str:
    """A row for each peer and one of ours, in its default protocol."""
    shown = (*PEERS, "ganmetrics:tensorflow")
    return table([item for item in measurements if item.tool in shown]).partition("\nfloor")[0]


def shares(measurements: Sequence[Measurement]) -> list[str]:
    """Two lines: images/s that the convolutions alone would allow, and the share of it that each protocol reaches.

    Each share compares figures of the same round, because the clock speed of a processor changes between rounds.
    """
    reached: dict[str, list[float]] = {}
    floors = []
    for item in measurements:
        if item.conv_gflop_s and item.gflop_an_image and item.images_per_s:
            floors.append(item.conv_gflop_s / item.gflop_an_image)
            if item.tool.startswith("ganmetrics:"):
                reached.setdefault(item.tool.partition(":")[2], []).append(item.images_per_s / floors[-1])
    if not floors:
        return []
    size = next(item.gflop_an_image for item in measurements if item.gflop_an_image)
    listed = ", ".join(f"{protocol} {100 * statistics.median(ratios):.0f} %" for protocol, ratios in reached.items())
    return [
        f"floor: {size:.2f} GFLOP an image at oneDNN's convolution rate, {statistics.median(floors):.1f} images/s",
        *([f"reached by ganmetrics, start-up and all: {listed}"] if reached else []),
    ]


def floor(threads: int | None) -> dict[str, Any]:
    """`conv_gflop_s` and `gflop_an_image` of `Measurement`, measured in a fresh process; empty if that fails."""
    ran = run([sys.executable, "-m", "benchmarks.cpu.network"], threads=threads)
    return {} if ran.code else json.loads(ran.out)


def load(path: Path) -> list[Measurement]:
    """The measurements of a results file."""
    names = Measurement.__dataclass_fields__
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return [Measurement(**{name: value for name, value in row.items() if name in names}) for row in rows]


def setting(options: argparse.Namespace, n_images: int) -> dict[str, Any]:
    """What the figures depend on: machine, versions, commit, date, and the options."""
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
    """The measurements of all rounds; prints one line for each on stderr."""
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
    """Parsed options; unknown names in --tools are an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="the Inception file, official or synthetic")
    parser.add_argument("--real", type=Path, help="folder of real images")
    parser.add_argument("--fake", type=Path, help="folder of generated images")
    parser.add_argument("--synthetic", type=int, metavar="N", help="instead of folders: make N + N small images")
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
    """Measure, write each result immediately, print the table at the end or after Ctrl-C. Returns the exit code."""
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
