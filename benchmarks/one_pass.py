"""The cost of several metrics compared with one: the pass over the images, and each metric's own step after it.

    python -m benchmarks.one_pass [--images 400] [--features efficientnet-lite0] [--weights FILE] [--rounds 5]

Two measurements alternate, each in a fresh process on the same folders without the cache: `fid`, and all metrics over
real and fake images that the extractor supports. The pass (reading, decoding, network, statistics) and the metrics' own
steps are timed separately. The ratio of the two passes is computed in each round; the table shows its median.
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
    wanted = {side.name: needs(side, measurements) for side in sides}  # loads the network, before the clock starts
    start = time.perf_counter()
    for side in sides:
        if side.opened is not None:
            fill(side, wanted[side.name], settings)
    passed = time.perf_counter()
    steps, values = dict[str, float](), dict[str, float]()
    for measurement in measurements:
        before = time.perf_counter()
        values |= {name: score.value for name, score in scores([measurement], sides).items()}
        steps[measurement.metric.name] = time.perf_counter() - before
    return {"names": list(names), "pass": passed - start, "steps": steps, "values": values}


def available(features: str, weights: str | None) -> list[str]:
    """Metrics over real and fake images that this extractor supports; none over classes: these images have none."""
    from ganmetrics.errors import OptionError
    from ganmetrics.measurement.measurement import configured
    from ganmetrics.measurement.settings import Settings
    from ganmetrics.metrics import OF_IMAGES

    settings, names = Settings(features=features, weights=weights, progress=False), []
    for name, entry in OF_IMAGES.items():
        if not entry.labelled:
            try:
                names += [name] if configured([name], settings)[0].tap else []
            except OptionError:
                continue
    return names


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Seconds of the passes, their ratio, and the seconds of the steps."""
    alone, together = ([row for row in rows if (row["names"] == ["fid"]) == is_alone] for is_alone in (True, False))
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
    parser.add_argument("--images", type=int, default=400, help="images of each side")
    parser.add_argument("--features", default="efficientnet-lite0")
    parser.add_argument("--weights", help="for --features inception, if the official file is not installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    keywords = {"features": options.features, "weights": options.weights}
    if options.only:
        print(json.dumps(measure(options.only, f"{options.folder}/real", f"{options.folder}/fake", keywords)))
        return
    about, rows = circumstances(("torch", "timm")), []
    everything = available(options.features, options.weights)
    with tempfile.TemporaryDirectory() as folder:
        synthetic_folders(Path(folder), options.images, 32, ".png")
        argv = [sys.executable, "-m", "benchmarks.one_pass", "--folder", folder, "--features", options.features]
        argv += ["--weights", str(Path(options.weights).resolve())] if options.weights else []
        for turn in range(options.rounds):
            pair = [["fid"], everything]
            for names in pair if turn % 2 == 0 else pair[::-1]:
                ran = run([*argv, "--only", *names])
                if ran.code:
                    sys.exit(f"{' '.join(names)}: {ran.err}")
                rows.append(
                    {
                        **json.loads(ran.out),
                        "images": options.images,
                        "features": options.features,
                        "peak_mb": round(ran.peak),
                        **about,
                    }
                )
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table(rows))


if __name__ == "__main__":
    main()
