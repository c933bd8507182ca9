"""One side of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ganmetrics.images import ImageSource, Summary
from ganmetrics.statistics.files import StatisticsFile


@dataclass
class Side:
    """One side of a comparison: an opened source with what reading it brought to light, or statistics from a file."""

    name: str
    given: Any
    opened: ImageSource | None = None
    file: StatisticsFile | None = None
    summary: Summary = field(default_factory=Summary)
    cached: list[Any] = field(default_factory=list)  # statistics that were not taken of the images this time

    @property
    def origin(self) -> Any:
        """What was given, or where a statistics file says that its images were."""
        return (self.file.protocol.get("source") or self.given) if self.file else self.given

    @property
    def labels(self) -> list[str] | None:
        """The class of every image that was read, in order, where the source knows them."""
        if self.opened is None or self.opened.labels is None:
            return None
        left_out = set(self.summary.left_out)
        return [label for i, label in enumerate(self.opened.labels) if i not in left_out]

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Images left out, those that the makers of a statistics file left out included."""
        return [*self.summary.skipped, *((self.file.protocol.get("skipped") or []) if self.file else [])]
