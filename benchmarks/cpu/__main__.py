"""Speed on a CPU: the share of the processor's convolution rate that is reached, start-up time, memory, several
processes, the metrics' own steps compared with extraction, and a profile of one `fid`.

    python -m benchmarks.cpu --weights inception.pth --out benchmarks/results/cpu.jsonl
    python -m benchmarks.cpu --weights inception.pth --parts network,profile --rounds 9

The parts run one after the other, each in a fresh process, and report each figure immediately, so that figures already
measured survive Ctrl-C. See benchmarks/README.md for the meaning of each figure.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpu.tables import TABLES
from benchmarks.process import ROOT, circumstances
from ganmetrics.metrics.index import OF_IMAGES

Row = dict[str, Any]
PARTS = {  # each module has `measure_<part>(options) -> Iterator[Row]`
    "network": "network",
    "startup": "processes",
    "memory": "processes",
    "ranks": "processes",
    "steps": "steps",
    "profile": "profile",
}
PACKAGES = ("torch", "numpy", "pillow", "timm", "pytorch-fid", "torch-fidelity")
SMOKE = {
    "rounds": 1, "burst": 0.01, "batches": 1, "memory": [("pixels", 4)], "ranks_images": 2, "n": 60,
    "metrics": ["fid", "is", "kid", "prdc"], "profile_images": 6, "peers": False,
}  # fmt: skip


def rows_of(part: str, options: argparse.Namespace) -> Iterator[Row]:
    """The figures of one part, as soon as its process prints them. Raises CalledProcessError if the process fails."""
    fields = {**vars(options), "weights": str(options.weights.resolve()), "out": None}
    argv = [sys.executable, "-m", "benchmarks.cpu", "--child", part, json.dumps(fields)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            yield {"part": part, **json.loads(line)}
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, argv[:5])


def child(part: str, fields: str) -> None:
    """Run one part in this process: one line of JSON for each figure on stdout, progress on stderr."""
    options = argparse.Namespace(**json.loads(fields))
    module = importlib.import_module(f"benchmarks.cpu.{PARTS[part]}")
    try:
        for row in getattr(module, f"measure_{part}")(options):
            print(json.dumps(row), flush=True)
    except KeyboardInterrupt:
        sys.exit(130)


def load(path: Path) -> list[Row]:
    """The figures of a results file; for a part that was measured more than once, those of its last run."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    last = {row["part"]: row["date"] for row in rows}
    return [row for row in rows if row["date"] == last[row["part"]]]


def report(rows: Sequence[Row]) -> str:
    """The tables of all parts that have figures."""
    return "\n\n".join(
        table([row for row in rows if row["part"] == part])
        for part, table in TABLES.items()
        if any(row["part"] == part for row in rows)
    )


def features_and_counts(text: str) -> list[tuple[str, int]]:
    """Pairs from text such as `inception:1000,efficientnet-lite0:100000`."""
    pairs = [item.rpartition(":") for item in text.split(",")]
    if any(not name or not count.isdecimal() for name, _, count in pairs):
        raise argparse.ArgumentTypeError(f"expected FEATURES:N[,FEATURES:N...], got {text!r}")
    return [(name, int(count)) for name, _, count in pairs]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parsed options; --smoke replaces all amounts by tiny ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="the Inception file, official or synthetic")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help="comma-separated")
    parser.add_argument("--out", type=Path, help="append the figures to this file, one JSON object a line")
    parser.add_argument("--rounds", type=int, default=5, help="of network, startup and ranks")
    parser.add_argument("--burst", type=float, default=0.2, help="network: seconds for each single convolution")
    parser.add_argument("--batches", type=int, default=10, help="network: batches a round of each whole network")
    parser.add_argument("--compile", action="store_true", help="network: torch.compile with freezing as well")
    parser.add_argument(
        "--memory",
        type=features_and_counts,
        default=features_and_counts("inception:1000,inception:4000,efficientnet-lite0:1000,efficientnet-lite0:100000"),
        metavar="FEATURES:N,...",
        help="memory: extractors and numbers of images (default: inception 1000, 4000; "
        "efficientnet-lite0 1000, 100000)",
    )
    parser.add_argument("--ranks-images", type=int, default=300, help="ranks: images a side")
    parser.add_argument("--n", type=int, default=50_000, help="steps: vectors a side")
    parser.add_argument("--metrics", type=lambda text: text.split(","), help="steps: comma-separated; all by default")
    parser.add_argument("--profile-images", type=int, default=300, help="profile: images a side")
    parser.add_argument("--smoke", action="store_true", help="quick trial with tiny amounts; the figures mean nothing")
    parser.set_defaults(peers=True)
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"--parts: expected some of {', '.join(PARTS)}, got {', '.join(unknown)}")
    known = list(OF_IMAGES)
    if unknown := sorted(set(options.metrics or ()) - set(known)):
        parser.error(f"--metrics: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    if not options.weights.is_file():
        parser.error(f"--weights: no such file: {options.weights}; python -m benchmarks.synthetic_inception makes one")
    if options.smoke:
        vars(options).update(SMOKE)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all parts, write each figure immediately, print the tables at the end or after Ctrl-C."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if argv[:1] == ["--child"]:
        child(*argv[1:])
        return 0
    options, rows, code = parse(argv), list[Row](), 0
    try:
        for part in options.parts:
            print(f"{part} ...", file=sys.stderr, flush=True)
            about = circumstances(PACKAGES)
            try:
                for row in rows_of(part, options):
                    rows.append({**row, **about, "smoke": options.smoke})
                    if options.out:
                        with options.out.open("a") as file:
                            print(json.dumps(rows[-1]), file=file)
            except subprocess.CalledProcessError:
                print(f"{part}: failed, as said above; the other parts go on", file=sys.stderr)
                code = 1
    except KeyboardInterrupt:
        print("\ninterrupted: the tables hold what was finished", file=sys.stderr)
        code = 130
    print(report(rows))
    return code


if __name__ == "__main__":
    sys.exit(main())
