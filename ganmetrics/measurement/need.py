"""What a metric needs of a side: the vectors of one output of an extractor, as moments or as the vectors themselves.

A side keeps its statistics by need, so metrics with the same need share one statistic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ganmetrics.features.extractor import Extractor
from ganmetrics.measurement.settings import Settings
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.parts import Kind
from ganmetrics.statistics.samples import Samples


@dataclass(frozen=True, eq=False)
class Need:
    """The key of one statistic of a side. The extractor is loaded when it is first asked for.

    Attributes:
        settings: how images are measured. Needs of the same settings, kind and class are equal.
        kind: which output of the extractor: "features", "logits" or "spatial".
        keep: the class of the statistic: `Moments`, or `Samples` if the vectors themselves are needed.
        asking: who needs it, for the message of an extractor that lacks this output.
    """

    settings: Settings
    kind: Kind
    keep: type[Moments] | type[Samples]
    asking: str = "the measurement"

    def _key(self) -> tuple[Any, ...]:
        return id(self.settings), self.kind, self.keep

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Need) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def extractor(self) -> Extractor:
        return self.settings.extractor

    @property
    def tap(self) -> str:
        """Name of the extractor's output. Raises OptionError if it has none of this kind."""
        return self.settings.tap(self.kind, self.asking)

    def describe(self) -> dict[str, Any]:
        """The protocol of these vectors."""
        return self.settings.describe(self.tap)
