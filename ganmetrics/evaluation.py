"""`gm.evaluate`: any set of metrics in one pass over each source; also `gm.fid`, `gm.kid` and other shortcuts."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganmetrics.errors import GanMetricsError, OptionError, PartialError
from ganmetrics.measurement.measurement import Measurement, configured, of_side
from ganmetrics.measurement.reading import check, fill, open_side
from ganmetrics.measurement.scoring import scores
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side, needs
from ganmetrics.runtime.distributed import Alone, processes
from ganmetrics.score import Score

if TYPE_CHECKING:
    from ganmetrics.report.evidence import Evidence


def fid(real: Any, fake: Any, **options: Any) -> Score:
    """Fréchet Inception Distance of `fake` from `real` (any two sources, or statistics files); see `Settings`."""
    return evaluate(real, fake, ["fid"], **options)["fid"]


def kid(real: Any, fake: Any, **options: Any) -> Score:
    """Kernel Inception Distance of `fake` from `real`; `spread` is its standard error; see `Settings`."""
    return evaluate(real, fake, ["kid"], **options)["kid"]


def prdc(real: Any, fake: Any, **options: Any) -> dict[str, Score]:
    """Precision, recall, density and coverage of `fake` against `real`, by these names; see `Settings`."""
    return evaluate(real, fake, ["prdc"], **options)


def inception_score(fake: Any, **options: Any) -> Score:
    """Inception Score of `fake` (any source of images); `spread` is the deviation over splits; see `Settings`."""
    return evaluate(None, fake, ["is"], **options)["is"]


def evaluate(
    real: Any,
    fake: Any,
    metrics: Sequence[str] = ("fid", "is"),
    *,
    report: str | os.PathLike[str] | None = None,
    distributed: bool = False,
    settings: Settings | None = None,
    **options: Any,
) -> dict[str, Score]:
    """Scores of `fake`, against `real` for metrics of two sides. Each source is read once.

    Args:
        real: any source, or statistics; None if no metric needs it.
        fake: any source, or statistics.
        metrics: names of `ganmetrics.metrics.OF_IMAGES`. Each uses the extractor of the settings, or its own if it is
            named, as in "prdc@timm:vgg16".
        report: path of an HTML page to write, with sample images and their nearest neighbours; see docs/report.md.
        distributed: True if every process of torchrun or `accelerate launch` makes this call with the same sources.
            Each reads a part of the images, and all return the same scores; see docs/scale.md. False: each process
            measures on its own.
        settings: ready-made settings; `options` change them.
        **options: see `Settings`.

    Returns: {name of the value: Score}; "prdc" has four values.

    Raises a subclass of GanMetricsError. If one metric of several cannot be computed, or the page cannot be written at
    the end, it is PartialError, which holds the other scores.
    """
    with processes(distributed) as group:
        return _evaluate(real, fake, metrics, report, Settings.of(settings, options), group)


def _evaluate(
    real: Any,
    fake: Any,
    metrics: Sequence[str],
    report: str | os.PathLike[str] | None,
    settings: Settings,
    group: Alone,
) -> dict[str, Score]:
    started = time.perf_counter()
    measurements = configured(metrics, settings)
    sources = (("real", real), ("fake", fake))
    opened = [
        open_side(side, source, measurements, settings, with_images=report is not None)
        for side, source in sources
        if source is not None or of_side(measurements, side)
    ]
    idle = [side for side in opened if not of_side(measurements, side.name)]
    # A page shows images of both sides, even if no metric compares with the real ones.
    sides = opened if report is not None else [side for side in opened if side not in idle]
    evidence = None if report is None else _evidence(report, measurements)
    check(measurements, sides)
    for side in sides:
        if side.opened is not None:
            page_needs = [] if evidence is None else [evidence.need]
            wanted = list(dict.fromkeys([*needs(side, measurements), *page_needs]))
            fill(side, wanted, settings, () if evidence is None else evidence.watchers(side), group)

    def finish() -> dict[str, Score]:
        errors: dict[str, GanMetricsError] = {}
        try:
            by_name = scores(measurements, sides)
        except PartialError as partial:
            by_name, errors = partial.scores, partial.errors
        seconds = round(time.perf_counter() - started, 3)
        unused = [f"no metric that was asked for compares with the {side.name} images" for side in idle]
        by_name = {
            name: score.with_(seconds=seconds, warnings=[*score.warnings, *unused]) for name, score in by_name.items()
        }
        if evidence is not None:
            errors = _publish(evidence, by_name, sides, errors)
        if errors:
            raise PartialError(by_name, errors)
        return by_name

    return group.first(finish)


def _publish(
    evidence: Evidence, scores: dict[str, Score], sides: Sequence[Side], errors: dict[str, GanMetricsError]
) -> dict[str, GanMetricsError]:
    """Write the page. Returns `errors`, plus the error of the page if it cannot be written, as on a full disk."""
    from ganmetrics.report.assembly import publish

    try:
        publish(evidence, scores, sides, errors)
    except OptionError as error:
        return {**errors, "--report": error}
    return errors


def _evidence(report: str | os.PathLike[str], measurements: Sequence[Measurement]) -> Evidence:
    """What the page needs, on an extractor that runs anyway: the shared one if any metric uses it."""
    from ganmetrics.report.evidence import Evidence

    own = [measurement for measurement in measurements if measurement.suffix or measurement.metric.entry.smallest]
    shared = next((measurement for measurement in measurements if measurement not in own), measurements[0])
    return Evidence(report, shared.settings)
