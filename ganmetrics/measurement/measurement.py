"""The requested metrics, each with the settings of its extractor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ganmetrics.errors import OptionError
from ganmetrics.features.whole_images import WholeImages
from ganmetrics.measurement.need import Need
from ganmetrics.measurement.settings import Settings
from ganmetrics.metrics import METRICS, OF_IMAGES
from ganmetrics.metrics.base import Metric
from ganmetrics.printable import brief
from ganmetrics.runtime.device import resolve_device


@dataclass(frozen=True)
class Measurement:
    """One metric with the settings of its extractor.

    `suffix` is "@NAME" if the metric was requested with its own extractor, else empty.
    """

    metric: Metric
    settings: Settings
    suffix: str = ""

    @property
    def tap(self) -> str:
        """Name of the extractor's output that the metric reads. Raises OptionError if it has no output of that kind."""
        return self.need.tap

    @property
    def need(self) -> Need:
        """The statistic that the metric needs of each of its sides."""
        return Need(self.settings, self.metric.kind, self.metric.statistic, f"the {self.metric.entry.title}")


def configured(names: Iterable[str], settings: Settings) -> list[Measurement]:
    """A measurement for each metric name of the index; "prdc@timm:vgg16" runs that metric on its own extractor.

    names: several names, or one string for one name.
    Raises OptionError for an unknown name or one that occurs twice.
    """
    expected = ", ".join(OF_IMAGES)
    by_features = {"": settings}
    measurements: dict[str, Measurement] = {}
    for requested in [names] if isinstance(names, str) else names:
        if not isinstance(requested, str):
            raise OptionError(f"metrics: expected names such as 'fid', got {brief(requested)}")
        name, at, features = requested.partition("@")
        if name not in METRICS:
            raise OptionError(f"metrics: expected some of {expected}, got {name!r}")
        if not METRICS[name].of_images:
            raise OptionError(f"metrics: {name} is over {', '.join(METRICS[name].sides)}; it has a function of its own")
        if at and not features:
            raise OptionError(
                f"metrics: expected an extractor behind {brief(requested)}, such as {name}@efficientnet-lite0"
            )
        if METRICS[name].smallest:
            features = _of_whole_images(name, features, settings, by_features)
        if features not in by_features:
            own = replace(settings, features=features, weights=None, protocol=None)
            # Equal settings are one object, so that their extractor is loaded once.
            by_features[features] = settings if own == settings else own
        own = by_features[features]
        for earlier, measurement in measurements.items():
            if measurement.metric.name == name and measurement.settings is own:
                also = "" if earlier == requested else f", as {earlier} too"
                raise OptionError(f"metrics: {requested} is asked for twice{also}")
        metric = METRICS[name].load().configured(own.rules, own)
        measurements[requested] = Measurement(metric, own, requested.removeprefix(name))
    if not measurements:
        raise OptionError(f"metrics: expected some of {expected}, got none")
    return list(measurements.values())


def _of_whole_images(name: str, features: str, settings: Settings, by_features: dict[str, Settings]) -> str:
    """The key of settings for a metric of the images themselves, which are added. Raises OptionError for a network."""
    if features not in ("", "pixels"):
        raise OptionError(f"metrics: {name} compares the images themselves; expected {name}, got {name}@{features}")
    if name not in by_features:
        extractor = WholeImages(resolve_device(settings.device), METRICS[name].smallest, name)
        by_features[name] = replace(settings, features=extractor, weights=None, protocol=None, allow_tf32=False)
    return name


def of_side(measurements: Iterable[Measurement], name: str) -> list[Measurement]:
    """The measurements whose metric has a side of this name."""
    return [measurement for measurement in measurements if name in measurement.metric.sides]


def require_counts(measurements: Iterable[Measurement], counts: Mapping[str, int]) -> None:
    """Raises StatisticsError if a metric needs more images than `counts` gives for a side."""
    for measurement in measurements:
        for side, count in counts.items():
            if side in measurement.metric.sides:
                measurement.metric.require(side, count)
