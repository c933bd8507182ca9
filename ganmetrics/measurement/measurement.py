"""What is asked for: metrics, each with the settings of its extractor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ganmetrics.errors import OptionError
from ganmetrics.measurement.need import Need
from ganmetrics.measurement.settings import Settings
from ganmetrics.metrics import METRICS, OF_IMAGES
from ganmetrics.metrics.base import Metric


@dataclass(frozen=True)
class Measurement:
    """One metric, with the settings of its extractor; `suffix` tells an extractor named for this metric alone."""

    metric: Metric
    settings: Settings
    suffix: str = ""

    @property
    def tap(self) -> str:
        """The vectors of the extractor that the metric reads. Raises OptionError where it has none of that kind."""
        return self.settings.tap(self.metric.kind, f"the {self.metric.entry.title}")

    @property
    def need(self) -> Need:
        """What the metric needs of each of its sides."""
        return Need(self.settings.extractor, self.tap, self.metric.statistic, self.settings)


def configured(names: Iterable[str], settings: Settings) -> list[Measurement]:
    """Metrics by index name, as the settings say; "prdc@timm:vgg16" is one on an extractor of its own.

    A string is one name. Raises OptionError for a name nobody knows, or one that is asked for twice.
    """
    expected = ", ".join(OF_IMAGES)
    by_features = {"": settings}
    found: dict[str, Measurement] = {}
    for asked in [names] if isinstance(names, str) else names:
        name, at, features = asked.partition("@")
        if name not in METRICS:
            raise OptionError(f"metrics: expected some of {expected}, got {name!r}")
        if not METRICS[name].of_images:
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
        raise OptionError(f"metrics: expected some of {expected}, got none")
    return list(found.values())


def of_side(measurements: Iterable[Measurement], name: str) -> list[Measurement]:
    """Those that have such a side."""
    return [one for one in measurements if name in one.metric.sides]


def require_counts(measurements: Iterable[Measurement], counts: Mapping[str, int]) -> None:
    """Whether so many images, by side, are enough for every metric. Raises StatisticsError."""
    for one in measurements:
        for side, count in counts.items():
            if side in one.metric.sides:
                one.metric.require(side, count)
