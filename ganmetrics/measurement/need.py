"""What a metric needs of a side: the vectors of one tap of one extractor, as moments or as the vectors themselves.

A side keeps its statistics by need, so metrics with the same need share one statistic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ganmetrics.features.extractor import Extractor
from ganmetrics.measurement.settings import Settings
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples


@dataclass(frozen=True)
class Need:
    """The key of one statistic of a side.

    Attributes:
        extractor, tap: which vectors.
        keep: the class of the statistic: `Moments`, or `Samples` if the vectors themselves are needed.
        settings: how images are measured. Not compared: the extractor, which they load, already identifies them.
    """

    extractor: Extractor
    tap: str
    keep: type[Moments] | type[Samples]
    settings: Settings = field(compare=False, repr=False)

    def describe(self) -> dict[str, Any]:
        """The protocol of these vectors."""
        return self.settings.describe(self.tap)
