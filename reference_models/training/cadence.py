"""How often a run logs, draws, scores and saves."""

from __future__ import annotations

from dataclasses import dataclass, field

from ganmetrics.printable import brief
from reference_models.errors import RecipeError
from reference_models.training.scoring import Scoring


@dataclass(frozen=True)
class Cadence:
    """How often a run logs, draws, scores and saves; the trained weights are the same bits whatever is chosen.

    Attributes:
        log: steps between two lines of measured values.
        grid: steps between two pictures of the fixed latents, with their diversity.
        checkpoint: steps between two replacements of `last/`; it is always replaced at the end.
        scoring: when and how to score.
        trackers: names of accelerate's trackers, such as "tensorboard".
        progress: whether to show a bar on a terminal, or elsewhere a line every half minute.
    """

    log: int = 10
    grid: int = 500
    checkpoint: int = 500
    scoring: Scoring = field(default_factory=Scoring)
    trackers: tuple[str, ...] = ()
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("log", "grid", "checkpoint"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise RecipeError(f"--{name}-every: expected a whole number of at least 1, got {brief(value)}")
