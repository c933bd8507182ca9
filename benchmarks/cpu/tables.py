"""The tables of `benchmarks.cpu`: rows of one part to aligned text. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Text of a table: first column aligned left, all others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def by(rows: Sequence[Row], name: str) -> dict[Any, list[Row]]:
    """Rows grouped by their value of `name`; groups and rows keep their order."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return groups


def median(rows: Sequence[Row], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def share(rows: Sequence[Row], base: Sequence[Row], name: str) -> float:
    """Median over rounds of the ratio `rows` / `base` of the same round."""
    by_round = {row["round"]: row[name] for row in base}
    return statistics.median(row[name] / by_round[row["round"]] for row in rows if row["round"] in by_round)


def network(rows: Sequence[Row]) -> str:
    """Rates, each also as a share of the best convolution's rate and of the rate of the network's convolutions."""
    timed = by([row for row in rows if "gflop_s" in row], "what")
    best, own = timed.get("best convolution", []), timed.get("its convolutions alone", [])
    lines = [["what", "GFLOP/s", "images/s", "of the best conv.", "of its convs."]]
    for what, group in timed.items():
        shares = [f"{100 * share(group, base, 'gflop_s'):.0f} %" if base else "" for base in (best, own)]
        lines.append([what, f"{median(group, 'gflop_s'):.0f}", f"{median(group, 'images_s'):.1f}", *shares])
    first = rows[0]
    head = (
        f"network: {first['gflop_an_image']:.2f} GFLOP an image in {first['convs']} convolutions, batches of "
        f"{first['batch']}, {first['threads']} threads (goal 80 %)"
    )
    compiling = [f"torch.compile: {row['seconds']:.1f} s to compile" for row in rows if row["what"] == "compiling"]
    return "\n".join([head, aligned(lines), *compiling])


def startup(rows: Sequence[Row]) -> str:
    """Seconds of each command from start to exit, and their goals."""
    lines = [["start-up", "seconds", "goal"]]
    for what, group in by(rows, "what").items():
        goal = group[0]["goal"]
        lines.append([what, f"{median(group, 'seconds'):.2f}", "" if goal is None else f"{goal:g}"])
    return aligned(lines)


def memory(rows: Sequence[Row]) -> str:
    """Peak memory of fresh processes."""
    lines = [["memory (goal: below 1200 MB, flat)", "images", "peak MB", "wall s"]]
    lines += [[row["what"], str(row["images"]), f"{row['peak_mb']:.0f}", f"{row['wall_s']:.1f}"] for row in rows]
    return aligned(lines)


def ranks(rows: Sequence[Row]) -> str:
    """Speed-up over one process of one thread, and relative difference of the values."""
    kinds = by(rows, "what")
    base = next(iter(kinds.values()))
    lines = [["processes", "wall s", "of it scoring s", "times as fast", "scoring alone", "difference"]]
    for what, group in kinds.items():
        times = [f"{1 / share(group, base, name):.2f}" for name in ("wall_s", "seconds")]
        difference = max(abs(row["value"] / base[0]["value"] - 1) for row in group)
        spent = [f"{median(group, name):.1f}" for name in ("wall_s", "seconds")]
        lines.append([what, *spent, *times, f"{difference:.1e}"])
    return f"{base[0]['images']} images, {base[0]['cores']} cores (goal: 1e-10 apart)\n" + aligned(lines)


def steps(rows: Sequence[Row]) -> str:
    """Seconds to store the vectors and to compute the score, as a share of the time to extract as many images."""
    lines = [["metric", "vectors a side", "dim", "keeping s", "score s", "% of extraction"]]
    rates = [row["images_s"] for row in rows if row["what"] == "extraction"]
    rate = statistics.median(rates)
    for row in rows:
        if row["what"] != "extraction":
            extraction = row["sides"] * row["n"] / rate
            percent = 100 * (row["keep_s"] + row["score_s"]) / extraction
            spent = [f"{row['keep_s']:.1f}", f"{row['score_s']:.1f}"]
            lines.append([row["what"], str(row["n"]), str(row["dim"]), *spent, f"{percent:.1f}"])
    return f"steps beside extraction at {rate:.1f} images/s (goal: 5 %)\n" + aligned(lines)


def profile(rows: Sequence[Row]) -> str:
    """Seconds of each part; together they are the wall time."""
    wall = sum(row["seconds"] for row in rows)
    lines = [["part", "seconds", "%"]]
    lines += [[row["what"], f"{row['seconds']:.2f}", f"{100 * row['seconds'] / wall:.1f}"] for row in rows]
    lines.append(["all, start to exit", f"{wall:.2f}", "100.0"])
    first = rows[0]
    head = f"profile of fid over {first['images']} images of 32 px, {first['threads']} threads: "
    return head + f"{first['images'] / wall:.1f} images/s\n" + aligned(lines)


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "network": network,
    "startup": startup,
    "memory": memory,
    "ranks": ranks,
    "steps": steps,
    "profile": profile,
}
