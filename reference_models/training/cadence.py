"""How often a run logs, draws, scores and saves. None of it changes a bit of what is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from reference_models.errors import RecipeError
from reference_models.training.scoring import Scoring


@dataclass(frozen=True)
class Cadence:
    """How often things are done, in steps; none of it changes a bit of what is trained.

    Attributes:
        log: a line of measured values.
        grid: a picture of the fixed latents, and its diversity.
        checkpoint: `last/` is replaced; it always is at the end.
        scoring: when and how to score.
        trackers: of accelerate, such as "tensorboard".
        progress: a bar on a terminal, else a line every half minute.
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
                raise RecipeError(f"--{name}-every: expected a whole number of at least 1, got {value!r}")
