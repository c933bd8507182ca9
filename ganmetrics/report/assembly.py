"""From what an evaluation left behind to what stands on its page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.errors import GanMetricsError
from ganmetrics.measurement.side import Side
from ganmetrics.printable import printable
from ganmetrics.report import checks, svg
from ganmetrics.report.contents import SKIPPED, Contents, Pair, per_class, protocol, row
from ganmetrics.report.evidence import Evidence
from ganmetrics.report.findings import Neighbours, detail, drawn, flat_map, neighbours, rows_of, shares
from ganmetrics.report.page import write
from ganmetrics.report.pictures import KEPT, Pictures, grid, reduced
from ganmetrics.score import Score
from ganmetrics.statistics.samples import Samples

GRID = 8  # pictures a row and a column
COPIES, TYPES = 12, 8  # pairs shown
MAPPED = 400  # points of each side on the map
LEAST, JUDGED, ROUGH = 4, 50, 200  # images a side to be compared at all, to be judged, and to be judged well


@dataclass
class ReportSide:
    """A side with what is known of its images."""

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
    """Write the page. Raises OptionError where it cannot be written after all.

    errors: why metrics have no score, by the name they were asked for with.
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
    party = {side.name: ReportSide(side, evidence.vectors(side), evidence.pictures(side)) for side in sides}
    fake, real = party["fake"], party.get("real")
    said = list(scores.values())
    counts = {side.name: Counter(side.labels) for side in sides if side.labels is not None}
    command, is_python = evidence.reproduced([*scores, *errors], sides)
    skipped = [{"side": side.name, **entry} for side in sides for entry in side.skipped]
    found = Contents(
        real=real.name if real else None,
        fake=fake.name,
        counts=_counts(said, party),
        rows=[row(key, score) for key, score in scores.items()],
        warnings=[
            *(f"no score of {name}: {error}" for name, error in errors.items()),
            *dict.fromkeys(text for score in said for text in score.warnings),
        ],
        per_class=[table for key, score in scores.items() if (table := per_class(key, score, counts))],
        command=command,
        command_is_python=is_python,
        skipped=skipped[:SKIPPED],
        n_skipped=len(skipped),
        protocols=[(score.metric, protocol(score)) for score in said],
        notes={name: text for name, one in party.items() if (text := _no_pictures(one))},
        seconds=max((score.seconds for score in said if score.seconds is not None), default=None),
        torch=torch.__version__,
        seed=seed,
    )
    chosen = {name: _drawn_pictures(one, seed) for name, one in party.items()}
    found.grids = {
        name: grid(
            [reduced(image, KEPT * 2) for image in images], GRID, f"{len(images)} {name} images, drawn at random"
        )
        for name, images in chosen.items()
    }
    if real and real.vectors and fake.vectors:
        _compare(found, party, chosen, seed)
    elif real:
        found.notes["comparison"] = "One side has no single images: fakes are not held against real ones."
    plot, found.map_words = _map(party, seed)
    found.map = plot and Markup(plot)
    return found


def _compare(found: Contents, party: Mapping[str, ReportSide], chosen: Mapping[str, list[Tensor]], seed: int) -> None:
    """Put in what comes of holding fakes against real images."""
    real, fake = party["real"].vectors, party["fake"].vectors
    if real is None or fake is None:
        return
    n = min(real.count, fake.count)
    if n < LEAST:
        found.notes["comparison"] = f"Fakes are not held against real images: that takes {LEAST} of each."
        return
    near = neighbours(real, fake, seed)
    found.k, found.n_looked_at = near.distances.shape[1], len(near.fakes)
    _show_pairs(found, near, party["fake"], party["real"])
    if n < JUDGED:
        found.notes["comparison"] = f"No verdict in words: that takes {JUDGED} images of each."
        return
    known = shares(real, fake, near, seed)
    if known is None:
        found.notes["comparison"] = "Most real images are there twice or more: there is no gap to measure fakes by."
        return
    found.checks = checks.checks(known, _details(party, chosen))
    found.summary = checks.summary(found.checks)
    if n < ROUGH:
        found.notes["rough"] = f"With only {n} images on one side the shares are rough; {ROUGH} make them firm."


def _counts(said: Sequence[Score], party: Mapping[str, ReportSide]) -> str:
    counts = []
    for name, one in party.items():
        n = one.vectors.count if one.vectors else next((c for s in said if (c := getattr(s, f"n_{name}"))), None)
        counts.append(f"{n:,} {name} images" if n else f"an unknown number of {name} images")
    features = dict.fromkeys(str(score.protocol.get("features") or "unknown features") for score in said)
    return f"{' and '.join(counts)}, seen through {', '.join(features) or 'pixels'}"


def _no_pictures(one: ReportSide) -> str:
    if one.side.file is not None:
        return f"The {one.side.name} side is a statistics file: it holds no pictures and no single images."
    if one.pictures is None or not one.pictures.there:
        return f"The pictures of the {one.side.name} side cannot be read again, so none are shown."
    return ""


def _drawn_pictures(one: ReportSide, seed: int) -> list[Tensor]:
    if one.pictures is None or one.vectors is None:
        return []
    places = drawn(one.vectors.count, GRID * GRID, seed).tolist()
    return [image for place in places if (image := one.pictures.read(place)) is not None]


def _details(party: Mapping[str, ReportSide], chosen: Mapping[str, list[Tensor]]) -> tuple[float, float] | None:
    """Of real and fake images of one size."""
    if any(one.pictures is None or one.pictures.small for one in party.values()):
        chosen = {name: [reduced(image, KEPT) for image in images] for name, images in chosen.items()}
    if len({image.shape[1:] for images in chosen.values() for image in images}) != 1:
        return None
    real, fake = detail(chosen["real"]), detail(chosen["fake"])
    return None if real is None or fake is None else (real, fake)


def _show_pairs(found: Contents, near: Neighbours, fake: ReportSide, real: ReportSide) -> None:
    def pair(line: int, words: str) -> Pair:
        one, other = int(near.fakes[line]), int(near.reals[line, 0])
        names = [side.pictures.name(i) if side.pictures else f"#{i}" for side, i in ((fake, one), (real, other))]
        return Pair(
            fake.pictures.shown(one, f"fake image {names[0]}") if fake.pictures else None,
            real.pictures.shown(other, f"real image {names[1]}, the nearest one") if real.pictures else None,
            names[0],
            names[1],
            words,
        )

    copied = near.most_copied[:COPIES].tolist()
    order = near.most_typical
    found.copied = [pair(i, _of_gap(float(near.ratios[i]))) for i in copied]
    typical, untypical = order[:TYPES].tolist(), order.flip(0)[: min(TYPES, len(order) // 2)].tolist()
    found.typical = [pair(i, f"distance {float(near.distances[i, -1]):.4g}") for i in typical]
    found.untypical = [pair(i, f"distance {float(near.distances[i, -1]):.4g}") for i in untypical]


def _of_gap(ratio: float) -> str:
    return f"{ratio:.2f} of the gap" if math.isfinite(ratio) else "no gap: the real image has a twin"


def _map(party: Mapping[str, ReportSide], seed: int) -> tuple[str, str]:
    known = {name: one.vectors for name, one in party.items() if one.vectors}
    parts = {name: rows_of(vectors, drawn(vectors.count, MAPPED, seed)) for name, vectors in known.items()}
    if sum(map(len, parts.values())) < 3:
        return "", ""
    places, how = flat_map(torch.cat(list(parts.values())), seed)
    look = {"real": ("circle", "real"), "fake": ("triangle", "fake")}
    split = places.split([len(rows) for rows in parts.values()])
    groups = [(*look[name], points) for name, points in zip(parts, split, strict=True)]
    words = " and ".join(f"{len(rows):,} {name} images" for name, rows in parts.items())
    return svg.scatter(groups, "Map of the features", f"{words}, {how}"), f"{words}; {how}, seed {seed}"
