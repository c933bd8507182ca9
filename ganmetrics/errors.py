"""Every mistake a user can mend, as one line: what was expected, what was got, what to do."""

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
        return type(self), (self.where, self.reason)  # told to other processes


class WeightsError(GanMetricsError):
    """Weights are absent, do not match their checksum, or belong to another network."""


class OptionError(GanMetricsError):
    """An option has a value, or stands in a combination, that means nothing."""


class ProcessError(GanMetricsError):
    """Another of several processes failed, died, or did not come."""


class StatisticsError(GanMetricsError):
    """Statistics are too few, not finite, of unlike sizes, or measured in unlike ways."""


class PartialError(GanMetricsError):
    """Of what was asked for a part could not be done.

    Attributes:
        scores: the Scores of the other metrics, by name.
        errors: what went wrong, by the metric as it was asked for, or "--report".
    """

    def __init__(self, scores: Mapping[str, Any], errors: Mapping[str, GanMetricsError]):
        super().__init__("; ".join(f"{name}: {error}" for name, error in errors.items()))
        self.scores = dict(scores)
        self.errors = dict(errors)

    def __reduce__(self) -> tuple[type[PartialError], tuple[dict[str, Any], dict[str, GanMetricsError]]]:
        return type(self), (self.scores, self.errors)  # told to other processes
