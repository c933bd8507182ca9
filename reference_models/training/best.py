"""Which step's checkpoint is the best: by the score or, if none is taken, by a value that the variant names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference_models.training.scoring import Scoring
from reference_models.variant import Variant


class Best:
    """The best value so far of one score or measured value; a run resumed with another one starts without a best value.

    Attributes:
        name: of the value, from a metric of `Scoring` or from what the variant measures; None compares nothing.
        lower: whether lower is better.
        value: the best so far; None before the first.
        measured: whether `name` is measured at every step, which a score is not.
    """

    def __init__(self, scoring: Scoring, variant: Variant):
        self.measured = not scoring.every and variant.best_by is not None
        self.name: str | None = scoring.best_by if scoring.every else None
        self.lower = scoring.lower_is_better
        if self.measured and variant.best_by is not None:
            self.name, self.lower = variant.best_by[0], variant.best_by[1] == "lower"
        self.value: float | None = None

    def improves(self, value: float) -> bool:
        """Whether a value is the best so far; if so, it becomes the new best."""
        better = self.value is None or (value < self.value if self.lower else value > self.value)
        self.value = value if better else self.value
        return better

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"name": self.name, "value": self.value}

    def load(self, state: Any) -> None:
        """Restore what `state` returned, if it has the same name; older checkpoints have only the number."""
        saved = state if isinstance(state, Mapping) else {"name": self.name, "value": state}
        self.value = saved["value"] if saved["name"] == self.name else None
