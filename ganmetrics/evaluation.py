"""One pass over each source for any set of metrics, and the library calls `gm.fid`, `gm.kid` and their kin."""

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
    """Scores of `fake` (against `real`, for metrics of two sides), reading each source once.

    Args:
        real: any source, or statistics; None where no metric needs it.
        fake: any source, or statistics.
        metrics: names of `ganmetrics.metrics.METRICS`, each on the extractor of the settings, or, as
            "prdc@timm:vgg16", on one of its own.
        report: write an HTML page there, with images and what is nearest to them; see docs/report.md.
        distributed: every process of torchrun or `accelerate launch` makes this call with the same sources, reads its
            part of them, and has the same scores in the end; see docs/scale.md. False: a process has its own sources.
        settings: ready-made, or
        **options: see `Settings`.

    Returns: {name of the value: Score}; "prdc" has four. Raises GanMetricsError in one of its kinds: PartialError where
    one metric of several cannot be computed, or the page cannot be written after all; it has the scores of the others.
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
    given = (("real", real), ("fake", fake))
    opened = [
        open_side(side, source, measurements, settings)
        for side, source in given
        if source is not None or of_side(measurements, side)
    ]
    idle = [side for side in opened if not of_side(measurements, side.name)]
    sides = opened if report is not None else [side for side in opened if side not in idle]
    evidence = None if report is None else _evidence(report, measurements)
    check(measurements, sides)
    for side in sides:
        if side.file is None:
            shown = [] if evidence is None else [evidence.need]
            wanted = list(dict.fromkeys([*needs(side.name, measurements), *shown]))
            fill(side, wanted, settings, () if evidence is None else evidence.watchers(side), group)

    def finished() -> dict[str, Score]:
        errors: dict[str, GanMetricsError] = {}
        try:
            found = scores(measurements, sides)
        except PartialError as partial:
            found, errors = partial.scores, partial.errors
        seconds = round(time.perf_counter() - started, 3)
        unused = [f"no metric that was asked for compares with the {side.name} images" for side in idle]
        found = {name: one.with_(seconds=seconds, warnings=[*one.warnings, *unused]) for name, one in found.items()}
        if evidence is not None:
            errors = _published(evidence, found, sides, errors)
        if errors:
            raise PartialError(found, errors)
        return found

    return group.first(finished)


def _published(
    evidence: Evidence, found: dict[str, Score], sides: Sequence[Side], errors: dict[str, GanMetricsError]
) -> dict[str, GanMetricsError]:
    """The errors, with that of the page where it cannot be written: a disk may have filled up on the way."""
    from ganmetrics.report.assembly import publish

    try:
        publish(evidence, found, sides, errors)
    except OptionError as error:
        return {**errors, "--report": error}
    return errors


def _evidence(report: str | os.PathLike[str], measurements: Sequence[Measurement]) -> Evidence:
    """On an extractor that runs in any case: the common one, unless every metric has one of its own."""
    from ganmetrics.report.evidence import Evidence

    common = next((one for one in measurements if not one.suffix), measurements[0])
    return Evidence(report, common.settings)
