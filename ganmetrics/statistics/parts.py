"""A part of saved statistics: moments or vectors of one output of an extractor, with how they were measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples
from ganmetrics.statistics.transfer import Statistic

Kind = Literal["features", "logits", "spatial"]


@dataclass(frozen=True)
class Part:
    """One statistic of a file.

    Attributes:
        kind: which output of an extractor its vectors are.
        statistic: their moments, or the vectors themselves.
        protocol: how they were measured; empty for a file of another tool.
        arrays: names of its arrays in the file, for the score.
    """

    kind: Kind
    statistic: Statistic
    protocol: dict[str, Any] = field(default_factory=dict)
    arrays: str = ""

    def moments(self) -> Moments:
        """Moments, computed from the vectors if those are kept."""
        return self.statistic if isinstance(self.statistic, Moments) else self.statistic.moments()

    @property
    def holding(self) -> str:
        """What it is, for messages: "moments of features"."""
        return f"{'moments' if isinstance(self.statistic, Moments) else 'vectors'} of {self.kind}"

    def holds(self, keep: type[Moments] | type[Samples]) -> bool:
        """Whether it can give moments, or vectors."""
        return keep is Moments or isinstance(self.statistic, Samples)

    def copied(self) -> Part:
        """A part whose statistic may be updated without changing this one."""
        if isinstance(self.statistic, Moments):
            return replace(self, statistic=copy.deepcopy(self.statistic))
        own = Samples()
        own.merge(self.statistic)
        return replace(self, statistic=own)
