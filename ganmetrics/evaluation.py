"""One pass over each source for any set of metrics, and the library calls `gm.fid`, `gm.kid` and their kin."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganmetrics.comparison import Side
from ganmetrics.distributed import Alone, processes
from ganmetrics.errors import OptionError
from ganmetrics.measurement import Measurement, configured, of_side, scores, share
from ganmetrics.score import Score
from ganmetrics.settings import Settings
from ganmetrics.sides import check, fill, open_side

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

    Returns: {name of the value: Score}; "prdc" has four. Raises GanMetricsError in one of its kinds.
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
    sides = [open_side(side, source, measurements, settings) for side, source in given if of_side(measurements, side)]
    evidence = None if report is None else _evidence(report, sides, measurements)
    shown = [] if evidence is None else evidence.measurements()
    check(measurements, sides)
    share([*measurements, *shown], sides)
    for side in sides:
        fill(side, [*measurements, *shown], settings, () if evidence is None else evidence.watchers(side), group)

    def finished() -> dict[str, Score]:
        seconds = round(time.perf_counter() - started, 3)
        found = {name: one.with_(seconds=seconds) for name, one in scores(measurements, sides).items()}
        return found if evidence is None else _published(evidence, found, sides)

    return group.first(finished)


def _published(evidence: Evidence, found: dict[str, Score], sides: Sequence[Side]) -> dict[str, Score]:
    from ganmetrics.report.assembly import publish

    try:
        publish(evidence, found, sides)
    except OptionError as error:  # a disk that filled up on the way; the scores are not to be lost with it
        return {name: one.with_(warnings=[*one.warnings, f"no report: {error}"]) for name, one in found.items()}
    return found


def _evidence(report: str | os.PathLike[str], sides: Sequence[Side], measurements: Sequence[Measurement]) -> Evidence:
    """On an extractor that runs in any case: the common one, unless every metric has one of its own."""
    from ganmetrics.report.evidence import Evidence

    common = next((one for one in measurements if not one.suffix), measurements[0])
    return Evidence(report, sides, common.settings)
