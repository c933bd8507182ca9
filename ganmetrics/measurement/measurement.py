"""What is asked for of two sides: metrics with their extractors, what they share, and their scores at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.features.extract import Feeds
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.base import Metric

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


def require_counts(measurements: Iterable[Measurement], counts: Mapping[str, int]) -> None:
    """Whether so many images, by side, are enough for every metric. Raises StatisticsError."""
    for one in measurements:
        for side, count in counts.items():
            if side in one.metric.sides:
                one.metric.require(side, count)
