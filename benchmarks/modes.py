"""Counts mode collapse: every unconditional loss on a ring of 8 and a grid of 25 Gaussians, three seeds.

    python -m benchmarks.modes [--out results.jsonl] [--picture ring.png]

Both networks have two layers of 128 tanh units; Adam 1e-3 with beta1 0.5, batches of 512
(`reference_models/toy/mixtures.py`). A sample within 3 standard deviations of its nearest mode is of high quality, and
this mode is covered.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import circumstances
from reference_models.losses import LOSSES
from reference_models.toy.mixtures import Mixture, fit
from reference_models.toy.picture import draw

PACKAGES = ("torch", "numpy")
MIXTURES: dict[str, Callable[[], Mixture]] = {"ring": Mixture.ring, "grid": Mixture.grid}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Modes covered for each seed; mean and sample standard deviation of the share of high-quality samples."""
    lines = [f"{'':<11}{'loss':<24}{'modes, by seed':<18}{'high quality':>16}{'steps':>8}"]
    for mixture in dict.fromkeys(row["mixture"] for row in rows):
        for loss in LOSSES:
            group = [row for row in rows if (row["mixture"], row["loss"]) == (mixture, loss)]
            if not group:
                continue
            good = [100 * row["high_quality"] for row in group]
            spread = f" +- {statistics.stdev(good):.1f}" if len(good) > 1 else ""
            modes = f"{', '.join(str(row['modes']) for row in group)} of {group[0]['n_modes']}"
            share = f"{statistics.mean(good):.1f}{spread} %"
            lines.append(f"{mixture:<11}{loss:<24}{modes:<18}{share:>16}{group[0]['history'][-1][0]:>8}")
    return "\n".join(lines)


def load(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--mixtures", nargs="+", choices=list(MIXTURES), default=list(MIXTURES))
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--out", type=Path, help="write the rows to this file, one JSON object a line")
    parser.add_argument("--picture", type=Path, help="the first seed's samples of the first mixture, as a PNG")
    options = parser.parse_args(arguments)
    rows, drawn = [], []
    for name in options.mixtures:
        for seed in options.seeds:
            for loss in LOSSES:
                result = fit(loss, MIXTURES[name](), steps=options.steps, seed=seed)
                print(f"seed {seed}  {result}", flush=True)
                rows.append({**result.to_dict(), "seed": seed, **circumstances(PACKAGES)})
                if name == options.mixtures[0] and seed == options.seeds[0]:
                    drawn.append(result)
    if options.out is not None:
        options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if options.picture is not None:
        draw(drawn, options.picture)
    print(table(rows))


if __name__ == "__main__":
    main()
