"""Errors that a user can fix. Each message is one line: what was expected, what was got, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GanMetricsError(Exception):
    """Base of all errors this package raises on purpose; the command line prints it as `Error: ...`."""


class SourceError(GanMetricsError):
    """A source of images cannot be opened, is of an unknown kind, or holds no image."""


class ImageError(GanMetricsError):
    """One image cannot be read; `where` names it and `reason` says why."""

    def __init__(self, where: str, reason: str):
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.where, self.reason)  # pickled on its way to other processes


class WeightsError(GanMetricsError):
    """Weights are absent, do not match their checksum, or belong to another network."""


class OptionError(GanMetricsError):
    """An option has an invalid value, or does not work together with another option."""


class ProcessError(GanMetricsError):
    """Another of several processes failed, died or never connected."""


class StatisticsError(GanMetricsError):
    """Statistics are of too few images, not finite, of different sizes, or measured in different ways."""


class PartialError(GanMetricsError):
    """Part of what was asked for could not be computed.

    Attributes:
        scores: the Scores of the metrics that succeeded, by name.
        errors: what went wrong, by the metric's name as the user gave it, or "--report".
    """

    def __init__(self, scores: Mapping[str, Any], errors: Mapping[str, GanMetricsError]):
        super().__init__("; ".join(f"{name}: {error}" for name, error in errors.items()))
        self.scores = dict(scores)
        self.errors = dict(errors)

    def __reduce__(self) -> tuple[type[PartialError], tuple[dict[str, Any], dict[str, GanMetricsError]]]:
        return type(self), (self.scores, self.errors)  # pickled on its way to other processes
