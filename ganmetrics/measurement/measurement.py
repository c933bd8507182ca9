"""What is asked for of two sides: metrics with their extractors, what they share, and their scores at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ganmetrics.errors import GanMetricsError, OptionError, PartialError, StatisticsError
from ganmetrics.features.extract import Feeds
from ganmetrics.measurement.comparability import Side, common_protocol, remarks, score_name
from ganmetrics.measurement.confidence import ANY, LEVEL, interval
from ganmetrics.measurement.settings import Settings
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.base import Metric
from ganmetrics.score import Score

SIDES = ("real", "fake")


@dataclass(frozen=True)
class Measurement:
    """One metric, with the settings of its extractor; `suffix` tells an extractor named for this metric alone."""

    metric: Metric
    settings: Settings
    suffix: str = ""

    @property
    def tap(self) -> str:
        """The vectors of the extractor that the metric reads."""
        return self.settings.tap(type(self.metric))


def configured(names: Iterable[str], settings: Settings) -> list[Measurement]:
    """Metrics by index name, as the settings say; "prdc@timm:vgg16" is one on an extractor of its own.

    A string is one name. Raises OptionError for a name nobody knows, or one that is asked for twice.
    """
    expected = ", ".join(name for name, entry in METRICS.items() if set(entry.sides) <= set(SIDES))
    by_features = {"": settings}
    found: dict[str, Measurement] = {}
    for asked in [names] if isinstance(names, str) else names:
        name, at, features = asked.partition("@")
        if name not in METRICS:
            raise OptionError(f"metrics: expected some of {expected}, came {name!r}")
        if not set(METRICS[name].sides) <= set(SIDES):
            raise OptionError(f"metrics: {name} is over {', '.join(METRICS[name].sides)}; it has a function of its own")
        if at and not features:
            raise OptionError(f"metrics: expected an extractor behind {asked!r}, such as {name}@efficientnet-lite0")
        if features not in by_features:
            own = replace(settings, features=features, weights=None, protocol=None)
            by_features[features] = settings if own == settings else own
        own = by_features[features]
        for other, one in found.items():
            if one.metric.name == name and one.settings is own:
                also = "" if other == asked else f", as {other} too"
                raise OptionError(f"metrics: {asked} is asked for twice{also}")
        metric = METRICS[name].load().configured(own.rules, own)
        found[asked] = Measurement(metric, own, asked.removeprefix(name))
    if not found:
        raise OptionError(f"metrics: expected some of {expected}, came none")
    return list(found.values())


def share(measurements: Sequence[Measurement], sides: Sequence[Side]) -> None:
    """Let metrics that keep the same of the same vectors of a side keep it once."""
    kept: dict[tuple, Any] = {}
    for side in (side for side in sides if side.file is None):
        for one in of_side(measurements, side.name):
            key = (side.name, one.settings.extractor, one.tap, one.metric.statistic)
            one.metric.statistics[side.name] = kept.setdefault(key, one.metric.statistics[side.name])


def of_side(measurements: Iterable[Measurement], name: str) -> list[Measurement]:
    """Those that have such a side."""
    return [one for one in measurements if name in one.metric.sides]


def feeds(side: str, measurements: Iterable[Measurement]) -> Feeds:
    """Which statistics of a side take in which vectors, each statistic once."""
    wanted: dict[int, tuple[Measurement, Any]] = {}
    for one in measurements:
        statistic = one.metric.statistics[side]
        wanted.setdefault(id(statistic), (one, statistic))
    found: dict[Any, dict[str, list[Callable[[Tensor], None]]]] = {}
    for one, statistic in wanted.values():
        found.setdefault(one.settings.extractor, {}).setdefault(one.tap, []).append(statistic.update)
    return found


def scores(measurements: Iterable[Measurement], sides: Sequence[Side]) -> dict[str, Score]:
    """Every value of every metric, by its name in the index (and the extractor named for it alone).

    Raises PartialError, with the scores of the others, where one metric of several has none.
    """
    found: dict[str, Score] = {}
    errors: dict[str, GanMetricsError] = {}
    asked = list(measurements)
    for one in asked:
        try:
            found.update({f"{name}{one.suffix}": score for name, score in score_of(one, sides).items()})
        except GanMetricsError as error:
            if len(asked) == 1:
                raise
            errors[f"{one.metric.name}{one.suffix}"] = error
    if errors:
        raise PartialError(found, errors)
    return found


def require_counts(measurements: Iterable[Measurement], counts: Mapping[str, int]) -> None:
    """Whether so many images, by side, are enough for every metric. Raises StatisticsError."""
    for one in measurements:
        for side, count in counts.items():
            if side in one.metric.sides:
                one.metric.require(side, count)


def score_of(measurement: Measurement, sides: Sequence[Side]) -> dict[str, Score]:
    """The metric's Results with their names, protocol and everything that was noticed on the way."""
    metric, settings = measurement.metric, measurement.settings
    own = [side for side in sides if side.name in metric.sides]
    protocol, warnings = common_protocol(metric, own, settings)
    with torch.device("cpu"), torch.inference_mode(False), torch.no_grad():  # whatever the caller's defaults are
        results = metric.results()
        drawn = metric.replicates(settings.resamples, settings.seed or 0) if settings.confidence else {}
    counts = {f"n_{side.name}": metric.statistics[side.name].count for side in own}
    skipped = [entry for side in own for entry in side.skipped]
    found = {}
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
            protocol={**protocol, **result.protocol},
            warnings=[*warnings, *result.warnings, *remarks(own)],
            skipped=skipped,
            raw=result.value if result.raw is None else result.raw,
        )
        found[name] = _with_interval(score, name, metric, drawn, settings) if settings.confidence else score
    return found


def _with_interval(
    score: Score, name: str, metric: Metric, replicates: Mapping[str, Tensor], settings: Settings
) -> Score:
    drawn, within = replicates.get(name), metric.entry.ranges.get(name, ANY)
    if drawn is None:
        return score.with_(warnings=[*score.warnings, f"no 95 % interval: {metric.without_interval(name)}"])
    about = {"confidence": LEVEL, "resamples": len(drawn), "resampling_seed": settings.seed or 0}
    return score.with_(interval=interval(score.value, drawn, within=within), protocol={**score.protocol, **about})
