"""From the statistics of the sides to Scores: results with names, protocol, warnings and intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ganmetrics.errors import GanMetricsError, PartialError, StatisticsError
from ganmetrics.measurement.class_remarks import class_origins, class_remarks, labels_by_side
from ganmetrics.measurement.comparability import common_protocol, score_name
from ganmetrics.measurement.confidence import ANY, LEVEL, interval
from ganmetrics.measurement.measurement import Measurement
from ganmetrics.measurement.remarks import remarks
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side, metric_over_sides
from ganmetrics.metrics.base import Metric
from ganmetrics.runtime.guards import ordinary_modes
from ganmetrics.score import Score

ROUNDING = 1e-12  # relative difference below which values on resampled images are the same


def scores(measurements: Iterable[Measurement], sides: Sequence[Side]) -> dict[str, Score]:
    """Every value of every metric, by its name in the index, with "@NAME" for a metric with its own extractor.

    Raises PartialError, which holds the scores of the other metrics, if one of several metrics fails.
    """
    by_name: dict[str, Score] = {}
    errors: dict[str, GanMetricsError] = {}
    measurements = list(measurements)
    for measurement in measurements:
        try:
            scored = score_of(measurement, sides)
        except GanMetricsError as error:
            if len(measurements) == 1:
                raise
            errors[f"{measurement.metric.name}{measurement.suffix}"] = error
        else:
            by_name.update({f"{name}{measurement.suffix}": score for name, score in scored.items()})
    if errors:
        raise PartialError(by_name, errors)
    return by_name


def score_of(measurement: Measurement, sides: Sequence[Side]) -> dict[str, Score]:
    """The metric's results as scores, with names, protocol and everything noticed while reading."""
    settings, labelled = measurement.settings, measurement.metric.labelled
    own = [side for side in sides if side.name in measurement.metric.sides]
    metric = metric_over_sides(measurement, own, labels_by_side(measurement.metric, own) if labelled else None)
    protocol, warnings = common_protocol(measurement, own)
    with ordinary_modes(gradients=False, dtype=None):
        results = metric.results()
        replicates = metric.replicates(settings.resamples, settings.seed or 0) if settings.confidence else {}
    counts = {f"n_{side.name}": metric.statistics[side.name].count for side in own}
    skipped = [entry for side in own for entry in side.skipped]
    by_name = {}
    for name, result in results.items():
        if not math.isfinite(result.value):
            what = name if metric.entry.parts else metric.entry.title
            raise StatisticsError(f"the {what} came out as {result.value}; check the features and statistics")
        score = Score(
            score_name(metric, name, protocol, metric.statistics["fake"].dim),
            result.value,
            metric.entry.values[name],
            spread=result.spread,
            **counts,
            protocol={**protocol, **({"classes": class_origins(own)} if labelled else {}), **result.protocol},
            warnings=[*warnings, *result.warnings, *remarks(own), *(class_remarks(own) if labelled else [])],
            skipped=skipped,
            raw=result.value if result.raw is None else result.raw,
        )
        by_name[name] = _with_interval(score, name, metric, replicates, settings) if settings.confidence else score
    return by_name


def _with_interval(
    score: Score, name: str, metric: Metric, replicates: Mapping[str, Tensor], settings: Settings
) -> Score:
    values, within = replicates.get(name), metric.entry.ranges.get(name, ANY)
    if values is None:
        return score.with_(warnings=[*score.warnings, f"no 95 % interval: {metric.without_interval(name)}"])
    if reason := _useless(values):
        return score.with_(warnings=[*score.warnings, f"no 95 % interval: {reason}"])
    about: dict[str, Any] = {"confidence": LEVEL, "resamples": len(values), "resampling_seed": settings.seed or 0}
    if fixed := metric.held_fixed(name):
        about["held_fixed"] = fixed
    return score.with_(interval=interval(score.value, values, within=within), protocol={**score.protocol, **about})


def _useless(values: Tensor) -> str:
    """Why values on resampled images give no interval; empty if they do."""
    if not bool(torch.isfinite(values).all()):
        return "some sets of resampled images have no value; give more images"
    # Equal values would give an interval of no width, which claims more than so few or so equal images can tell.
    equal = float(values.max() - values.min()) <= ROUNDING * float(values.abs().max())
    return "all sets of resampled images have the same value; give more images" if equal else ""
