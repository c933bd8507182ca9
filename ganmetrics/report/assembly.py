"""Makes the contents of a page from the scores, sides and evidence of an evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.errors import GanMetricsError
from ganmetrics.measurement.side import Side
from ganmetrics.metrics.numerics.distances import rows_of
from ganmetrics.printable import printable
from ganmetrics.report import checks, svg
from ganmetrics.report.contents import SKIPPED, Contents, Pair, per_class, protocol, row
from ganmetrics.report.evidence import Evidence
from ganmetrics.report.findings import Neighbours, detail, drawn, flat_map, neighbours, shares
from ganmetrics.report.page import write
from ganmetrics.report.pictures import KEPT, Pictures, grid, reduced
from ganmetrics.score import Score
from ganmetrics.statistics.samples import Samples

GRID = 8  # pictures per row and per column
COPIES, TYPES = 12, 8  # pairs shown
MAPPED = 400  # points of each side on the map
LEAST, JUDGED, ROUGH = 4, 50, 200  # images per side for a comparison, for a verdict, and for a reliable one


@dataclass
class ReportSide:
    """A side with the vectors and pictures of its images; None if it has none."""

    side: Side
    vectors: Samples | None
    pictures: Pictures | None

    @property
    def name(self) -> str:
        return printable(self.side.opened.name if self.side.opened else str(self.side.origin or "statistics"))


def publish(
    evidence: Evidence,
    scores: Mapping[str, Score],
    sides: Sequence[Side],
    errors: Mapping[str, GanMetricsError] | None = None,
) -> None:
    """Write the page. Raises OptionError if it cannot be written.

    errors: why a metric has no score, by the requested name.
    """
    write(evidence.path, contents(evidence, scores, sides, errors or {}))


def contents(
    evidence: Evidence,
    scores: Mapping[str, Score],
    sides: Sequence[Side],
    errors: Mapping[str, GanMetricsError],
) -> Contents:
    """Everything on the page."""
    from markupsafe import Markup

    seed = evidence.seed
    by_name = {side.name: ReportSide(side, evidence.vectors(side), evidence.pictures(side)) for side in sides}
    fake, real = by_name["fake"], by_name.get("real")
    all_scores = list(scores.values())
    counts = {side.name: Counter(side.labels) for side in sides if side.labels is not None}
    command, is_python = evidence.reproduced([*scores, *errors], sides)
    skipped = [{"side": side.name, **entry} for side in sides for entry in side.skipped]
    page = Contents(
        real=real.name if real else None,
        fake=fake.name,
        counts=_counts(all_scores, by_name),
        rows=[row(key, score) for key, score in scores.items()],
        warnings=[
            *(f"no score of {name}: {error}" for name, error in errors.items()),
            *dict.fromkeys(text for score in all_scores for text in score.warnings),
        ],
        per_class=[table for key, score in scores.items() if (table := per_class(key, score, counts))],
        command=command,
        command_is_python=is_python,
        skipped=skipped[:SKIPPED],
        n_skipped=len(skipped),
        protocols=[(score.metric, protocol(score)) for score in all_scores],
        notes={name: text for name, side in by_name.items() if (text := _why_no_pictures(side))},
        seconds=max((score.seconds for score in all_scores if score.seconds is not None), default=None),
        torch=torch.__version__,
        seed=seed,
    )
    chosen = {name: _drawn_pictures(side, seed) for name, side in by_name.items()}
    page.grids = {
        name: grid(
            [reduced(image, KEPT * 2) for image in images], GRID, f"{len(images)} {name} images, drawn at random"
        )
        for name, images in chosen.items()
    }
    if real and real.vectors and fake.vectors:
        _compare(page, by_name, chosen, seed)
    elif real:
        page.notes["comparison"] = "One side is a statistics file, so fakes are not compared with real images."
    plot, page.map_words = _map(by_name, seed)
    page.map = plot and Markup(plot)
    return page


def _compare(page: Contents, by_name: Mapping[str, ReportSide], chosen: Mapping[str, list[Tensor]], seed: int) -> None:
    """Add the comparison of fakes with real images to the page: pairs, checks and summary."""
    real, fake = by_name["real"].vectors, by_name["fake"].vectors
    if real is None or fake is None:
        return
    n = min(real.count, fake.count)
    if n < LEAST:
        page.notes["comparison"] = f"Fakes are not compared with real images: that needs {LEAST} of each."
        return
    near = neighbours(real, fake, seed)
    page.k, page.n_looked_at = near.distances.shape[1], len(near.fakes)
    _show_pairs(page, near, by_name["fake"], by_name["real"])
    if n < JUDGED:
        page.notes["comparison"] = f"No verdict in words: that needs {JUDGED} images of each."
        return
    measured = shares(real, fake, near, seed)
    if measured is None:
        page.notes["comparison"] = "Most real images occur twice or more, so there is no gap to compare fakes with."
        return
    page.checks = checks.checks(measured, _details(by_name, chosen))
    page.summary = checks.summary(page.checks)
    if n < ROUGH:
        page.notes["rough"] = f"With only {n} images on one side the shares are rough; use {ROUGH} or more."


def _counts(scores: Sequence[Score], by_name: Mapping[str, ReportSide]) -> str:
    counts = []
    for name, side in by_name.items():
        n = side.vectors.count if side.vectors else next((c for s in scores if (c := getattr(s, f"n_{name}"))), None)
        counts.append(f"{n:,} {name} images" if n else f"an unknown number of {name} images")
    features = dict.fromkeys(str(score.protocol.get("features") or "unknown features") for score in scores)
    return f"{' and '.join(counts)}, seen through {', '.join(features) or 'pixels'}"


def _why_no_pictures(side: ReportSide) -> str:
    if side.side.opened is None and side.vectors is not None:
        return f"The {side.side.name} side is features alone: it holds no pictures."
    if side.side.opened is None:
        return f"The {side.side.name} side is a statistics file: it holds no pictures and no single images."
    if side.pictures is None or not side.pictures.there:
        return f"The pictures of the {side.side.name} side cannot be read again, so none are shown."
    return ""


def _drawn_pictures(side: ReportSide, seed: int) -> list[Tensor]:
    if side.pictures is None or side.vectors is None:
        return []
    indices = drawn(side.vectors.count, GRID * GRID, seed).tolist()
    return [image for index in indices if (image := side.pictures.read(index)) is not None]


def _details(by_name: Mapping[str, ReportSide], chosen: Mapping[str, list[Tensor]]) -> tuple[float, float] | None:
    """`detail` of the real and of the fake pictures; None unless all have one size."""
    # If one side has only thumbnails, both are reduced: a reduced image has another amount of detail.
    if any(side.pictures is None or side.pictures.small for side in by_name.values()):
        chosen = {name: [reduced(image, KEPT) for image in images] for name, images in chosen.items()}
    if len({image.shape[1:] for images in chosen.values() for image in images}) != 1:
        return None
    real, fake = detail(chosen["real"]), detail(chosen["fake"])
    return None if real is None or fake is None else (real, fake)


def _show_pairs(page: Contents, near: Neighbours, fake: ReportSide, real: ReportSide) -> None:
    def pair(line: int, words: str) -> Pair:
        fake_index, real_index = int(near.fakes[line]), int(near.reals[line, 0])
        indices = ((fake, fake_index), (real, real_index))
        names = [side.pictures.name(i) if side.pictures else f"#{i}" for side, i in indices]
        return Pair(
            fake.pictures.shown(fake_index, f"fake image {names[0]}") if fake.pictures else None,
            real.pictures.shown(real_index, f"real image {names[1]}, the nearest one") if real.pictures else None,
            names[0],
            names[1],
            words,
        )

    copied = near.most_copied[:COPIES].tolist()
    order = near.most_typical
    page.copied = [pair(i, _ratio_words(float(near.ratios[i]))) for i in copied]
    typical, untypical = order[:TYPES].tolist(), order.flip(0)[: min(TYPES, len(order) // 2)].tolist()
    page.typical = [pair(i, f"distance {float(near.distances[i, -1]):.4g}") for i in typical]
    page.untypical = [pair(i, f"distance {float(near.distances[i, -1]):.4g}") for i in untypical]


def _ratio_words(ratio: float) -> str:
    return f"{ratio:.2f} of the gap" if math.isfinite(ratio) else "no gap: the real image has a twin"


def _map(by_name: Mapping[str, ReportSide], seed: int) -> tuple[str, str]:
    vectors_by_name = {name: side.vectors for name, side in by_name.items() if side.vectors}
    chosen = {name: rows_of(vectors, drawn(vectors.count, MAPPED, seed)) for name, vectors in vectors_by_name.items()}
    parts = {name: torch.cat(list(vectors.blocks())) for name, vectors in chosen.items()}
    if sum(map(len, parts.values())) < 3:  # too few points for a map
        return "", ""
    places, how = flat_map(torch.cat(list(parts.values())), seed)
    look = {"real": ("circle", "real"), "fake": ("triangle", "fake")}
    split = places.split([len(rows) for rows in parts.values()])
    groups = [(*look[name], points) for name, points in zip(parts, split, strict=True)]
    words = " and ".join(f"{len(rows):,} {name} images" for name, rows in parts.items())
    return svg.scatter(groups, "Map of the features", f"{words}, {how}"), f"{words}; {how}, seed {seed}"
