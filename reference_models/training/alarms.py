"""What a run warns of: a collapsed generator, and whatever its variant says. Told when it begins, and not again."""

from __future__ import annotations

from collections.abc import Callable

COLLAPSED = 0.05  # of the real images' diversity
SETTLED = 100  # steps before which an untrained generator may look collapsed


def collapse(step: int, spread: float, real: float, n: int, picture: str) -> str | None:
    """A warning where `n` images of the fixed latents hardly differ, by `diversity` of them and of real ones."""
    if step < SETTLED or spread >= COLLAPSED * real:
        return None
    return (
        f"collapse: the {n} images of the fixed latents differ {spread / real:.1%} as much as real ones; "
        f"look at {picture}, and go back to an earlier checkpoint or lower the learning rate"
    )


class Alarms:
    """Which warnings are in force, so that each is told once; kept over a resumption.

    Args:
        tell: called with a warning that begins.
    """

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell
        self._raised: set[str] = set()

    def look(self, kind: str, warning: str | None) -> None:
        """The present warning of a kind, or None where all is well."""
        if warning is None:
            self._raised.discard(kind)
        elif kind not in self._raised:
            self._raised.add(kind)
            self._tell(warning)

    def state(self) -> list[str]:
        """For the checkpoint."""
        return sorted(self._raised)

    def load(self, state: list[str] | bool) -> None:
        """Take up what `state` gave; one flag, as older checkpoints have it, is that of a collapse."""
        self._raised = set(state) if isinstance(state, list) else {"collapse"} if state else set()
