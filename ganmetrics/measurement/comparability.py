"""Checks that all sides were measured in the same way, and warns of differences that may mislead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.images.summary import RECORDED
from ganmetrics.measurement.measurement import Measurement
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side, images_of
from ganmetrics.measurement.vectors import NAME
from ganmetrics.metrics.base import Metric

# Vectors that differ in one of these lie in different feature spaces and cannot be compared.
IDENTITY = ("features", "tap", "weights_sha256", "resize", "size")
# Vectors that differ in one of these differ slightly. The value is what a protocol without that key means.
PRECISION = {"dtype": None, "jpeg_decoder": "pillow", "prepare": "images as they are"}


def common_protocol(measurement: Measurement, sides: Sequence[Side]) -> tuple[dict[str, Any], list[str]]:
    """The protocol shared by all sides, and warnings. Raises StatisticsError if they were measured differently."""
    settings = measurement.settings
    described: dict[str, Mapping[str, Any]] = {}
    warnings: list[str] = []
    for side in sides:
        part, origin = side.part_for(measurement), side.file.origin if side.file else ""
        if part is None:
            described[side.name] = settings.describe(measurement.tap)
            warnings += [text for text in settings.warnings if text not in warnings]
        elif part.protocol:
            label = f"{side.name} ({origin})"
            if part.protocol.get("stated") and part.protocol["features"] != NAME:
                warnings.append(
                    f"{side.name}: {origin} is said to hold features of {part.protocol['features']}; "
                    "its weights, resize and dtype are not known"
                )
            described[label] = part.protocol
            warnings += [f"{label}: {text}" for text in part.protocol.get("warnings") or []]
        else:
            warnings.append(
                f"{side.name}: {origin or 'these statistics'} does not say how it was measured, nor over "
                "how many images; make sure that it was with the same features, weights and resize"
            )
            if settings.prepare is not None:
                warnings.append(f"{side.name}: --prepare {settings.prepare} does not change these statistics")
    if settings.prepare is not None and sides and all(side.part_for(measurement) is not None for side in sides):
        warnings.append(f"--prepare {settings.prepare}: changes nothing, because no image was read")
    require_alike(described)
    for side in sides:
        part = side.part_for(measurement)
        if part is not None and part.protocol and side.file is not None:
            _refuse_contradiction(part.protocol, side.file.origin, settings)
    if settings.ddof == 0 and settings.protocol is not None:
        warnings.append(f"--ddof 0 is not what {settings.protocol} does: the value does not equal that tool's")
    measured = [protocol for protocol in described.values() if not protocol.get("stated")]
    merged: dict[str, Any] = dict(next(iter([*measured, *described.values()]), {"features": None, "tap": None}))
    for name in ("skipped", "source", "warnings", "stated", "include", "exclude", "class_notes", *RECORDED):
        merged.pop(name, None)
    if settings.protocol is not None and described:
        merged["protocol"] = settings.protocol
    if used := {side.name: text for side in sides if (text := side.used(measurement))}:
        merged["used"] = used
    merged.update(images_of(sides))
    if cached := [side.name for side in sides if side.cached and measurement.need in side.cached]:
        merged["cached"] = cached
    for key, usual in PRECISION.items():
        values = {str(protocol.get(key, usual)) for protocol in measured}
        if len(values) > 1:
            different = f"{NOUNS.get(key, key)}s: {' and '.join(sorted(values))}"
            warnings.append(f"the two sides were measured with different {different}")
    return merged, warnings


def _refuse_contradiction(protocol: Mapping[str, Any], origin: str, settings: Settings) -> None:
    """Raises OptionError if an option contradicts saved statistics; options left at their defaults never do."""
    if settings.protocol is not None and not protocol.get("stated") and protocol.get("resize") != settings.rules.resize:
        raise OptionError(
            f"--protocol {settings.protocol} resizes by {settings.rules.resize}, and {origin} was measured with "
            f"{protocol.get('resize')}; leave the option out or measure again"
        )
    if settings.label is not None and not settings.suits(protocol):
        raise OptionError(
            f"--features {settings.features}: {origin} was measured with {protocol.get('features')}; "
            "leave the option out or measure again"
        )


NOUNS = {"jpeg_decoder": "jpeg decoder", "prepare": "preparation"}
UNSAID = {"jpeg_decoder": "pillow", "prepare": "images as they are"}  # the value that a protocol without the key means
ADVICE = {"jpeg_decoder": "--jpeg-decoder", "prepare": "--prepare", "dtype": "--dtype (and --allow-tf32)"}


def require_alike(described: Mapping[str, Mapping[str, Any]], keys: Sequence[str] = IDENTITY) -> None:
    """Raises StatisticsError if protocols differ in one of the keys, and names the first such key."""
    names = list(described)
    for other in names[1:]:
        # Of vectors from elsewhere only the features are known, as far as the user states them.
        pair = described[names[0]], described[other]
        taps = all(protocol.get("tap") for protocol in pair)
        known = ["features", "tap"][: 1 + taps] if any(protocol.get("stated") for protocol in pair) else keys
        for key in known:
            values = described[names[0]].get(key), described[other].get(key)
            if values[0] != values[1]:
                both = " and ".join(str(value or UNSAID.get(key)) for value in values)
                advice = ADVICE.get(key, "--features, --weights and --protocol")
                if known is not keys:
                    raise StatisticsError(
                        f"{names[0]} and {other} are features of {both}; if they are the same, say of what with "
                        "--features-are, such as --features-are inception"
                    )
                raise StatisticsError(
                    f"{names[0]} and {other} were measured differently: {key} is {both}; "
                    f"measure both with the same {advice}"
                )


def score_name(metric: Metric, value: str, protocol: Mapping[str, Any], dim: int | None) -> str:
    """The name of a score: `value` in the metric's canonical feature space, else a name that includes the space.

    Statistics files of other tools do not name their feature space. 2048 dimensions are assumed to be Inception's
    (`common_protocol` warns of that); any other number is called unknown.
    """
    features = protocol.get("features")
    if (features, protocol.get("tap")) == metric.canonical or (features is None and dim == 2048):
        return value
    return f"{value if metric.entry.parts else metric.entry.prefix}-{features or 'unknown'}"
