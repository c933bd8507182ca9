"""What a metric needs of a side: the vectors of one tap of one extractor, as moments or one by one.

It is the key under which a side keeps a statistic, so that metrics with the same need share one.
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
    """One statistic of a side.

    Attributes:
        extractor, tap: whose vectors.
        keep: `Moments`, or `Samples` where the vectors themselves are needed.
        settings: how images are measured; they belong to the extractor and tell no needs apart.
    """

    extractor: Extractor
    tap: str
    keep: type[Moments] | type[Samples]
    settings: Settings = field(compare=False, repr=False)

    def describe(self) -> dict[str, Any]:
        """The protocol of these vectors."""
        return self.settings.describe(self.tap)
