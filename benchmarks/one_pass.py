"""What several metrics cost beside one: the pass over the images alone, and every metric's own step after it.

    python -m benchmarks.one_pass [--images 400] [--features efficientnet-lite0] [--weights FILE] [--rounds 5]

Two measurements alternate, each in a fresh process on the same folders, none with the cache: `fid`, and every metric
over real and fake images that the extractor allows. The pass (reading, decoding, network, statistics) is timed apart
from the metrics' own steps; the ratio of the passes is the median over rounds of the pairs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.fid import synthetic_folders
from benchmarks.process import ROOT, circumstances, run

OUT = ROOT / "benchmarks" / "results" / "one_pass.jsonl"
GOAL = 1.05


def measure(names: Sequence[str], real: str, fake: str, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the pass over both sides, and of each metric's own step after it, in this process."""
    from ganmetrics.measurement.measurement import configured
    from ganmetrics.measurement.reading import fill, open_side
    from ganmetrics.measurement.scoring import scores
    from ganmetrics.measurement.settings import Settings
    from ganmetrics.measurement.side import needs

    settings = Settings.of(None, {**options, "cache": False, "progress": False})
    measurements = configured(names, settings)
    sides = [open_side(side, source, measurements, settings) for side, source in (("real", real), ("fake", fake))]
    wanted = {side.name: needs(side.name, measurements) for side in sides}  # loads the network
    start = time.perf_counter()
    for side in sides:
        fill(side, wanted[side.name], settings)
    passed = time.perf_counter()
    steps, values = dict[str, float](), dict[str, float]()
    for one in measurements:
        before = time.perf_counter()
        values |= {name: score.value for name, score in scores([one], sides).items()}
        steps[one.metric.name] = time.perf_counter() - before
    return {"names": list(names), "pass": passed - start, "steps": steps, "values": values}


def available(features: str, weights: str | None) -> list[str]:
    """Metrics over real and fake images that this extractor has vectors for; classes are not among the images here."""
    from ganmetrics.errors import OptionError
    from ganmetrics.measurement.measurement import configured
    from ganmetrics.measurement.settings import Settings
    from ganmetrics.metrics import OF_IMAGES

    settings, found = Settings(features=features, weights=weights, progress=False), []
    for name, entry in OF_IMAGES.items():
        if not entry.load().labelled:
            try:
                found += [name] if configured([name], settings)[0].tap else []
            except OptionError:
                continue
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Seconds of the passes, their ratio, and the steps."""
    alone, together = ([row for row in rows if (row["names"] == ["fid"]) == one] for one in (True, False))
    ratio = statistics.median(b["pass"] / a["pass"] for a, b in zip(alone, together, strict=True))
    n, extraction = 2 * rows[0]["images"], statistics.median(row["pass"] for row in alone)
    head = f"pass over {n} images, {rows[0]['features']}: {extraction:.1f} s for fid alone, "
    lines = [f"{head}{ratio:.3f} times that for {len(together[0]['names'])} metrics",
             "metric                    seconds   % of the pass"]  # fmt: skip
    for name in together[0]["steps"]:
        seconds = statistics.median(row["steps"][name] for row in together)
        lines.append(f"{name:24} {seconds:8.2f} {100 * seconds / extraction:15.1f}")
    return "\n".join(lines)


def load(path: Path = OUT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400, help="a side")
    parser.add_argument("--features", default="efficientnet-lite0")
    parser.add_argument("--weights", help="for --features inception, where the official file is not here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    options = {"features": given.features, "weights": given.weights}
    if given.only:
        print(json.dumps(measure(given.only, f"{given.folder}/real", f"{given.folder}/fake", options)))
        return
    about, rows = circumstances(("torch", "timm")), []
    everything = available(given.features, given.weights)
    with tempfile.TemporaryDirectory() as folder:
        synthetic_folders(Path(folder), given.images, 32, ".png")
        argv = [sys.executable, "-m", "benchmarks.one_pass", "--folder", folder, "--features", given.features]
        argv += ["--weights", str(Path(given.weights).resolve())] if given.weights else []
        for turn in range(given.rounds):
            pair = [["fid"], everything]
            for names in pair if turn % 2 == 0 else pair[::-1]:
                ran = run([*argv, "--only", *names])
                if ran.code:
                    sys.exit(f"{' '.join(names)}: {ran.err}")
                rows.append(
                    {
                        **json.loads(ran.out),
                        "images": given.images,
                        "features": given.features,
                        "peak_mb": round(ran.peak),
                        **about,
                    }
                )
    given.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table(rows))


if __name__ == "__main__":
    main()
