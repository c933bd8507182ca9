"""Warnings of a run: a collapsed generator, and those of its variant. Each is reported once, when it begins."""

from __future__ import annotations

from collections.abc import Callable

COLLAPSED = 0.05  # share of the real images' diversity below which a generator has collapsed
SETTLED = 100  # steps before which an untrained generator may look collapsed


def collapse(step: int, spread: float, real: float, n: int, picture: str) -> str | None:
    """A warning if the `n` images of the fixed latents hardly differ, else None.

    Args:
        step: number of finished steps.
        spread: `diversity` of the generated images.
        real: `diversity` of real images.
        n: number of generated images.
        picture: name of the file that shows them.
    """
    if step < SETTLED or spread >= COLLAPSED * real:
        return None
    return (
        f"collapse: the {n} images of the fixed latents differ {spread / real:.1%} as much as real ones; "
        f"look at {picture}, and go back to an earlier checkpoint or lower the learning rate"
    )


class Alarms:
    """The active warnings, so that each is reported once; checkpoints keep them for a resumed run.

    Args:
        tell: called with a warning when it begins.
    """

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell
        self._active: set[str] = set()

    def look(self, kind: str, warning: str | None) -> None:
        """Update one kind of warning with its present text, or None if there is nothing to warn of."""
        if warning is None:
            self._active.discard(kind)
        elif kind not in self._active:
            self._active.add(kind)
            self._tell(warning)

    def state(self) -> list[str]:
        """For the checkpoint."""
        return sorted(self._active)

    def load(self, state: list[str] | bool) -> None:
        """Restore what `state` returned; older checkpoints have a single flag, which means a collapse."""
        self._active = set(state) if isinstance(state, list) else {"collapse"} if state else set()
