"""Progress of a run on stderr: a bar on a terminal, elsewhere a line every half minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm

PAUSE = 30.0  # seconds between two lines if stderr is not a terminal


class Progress:
    """Counts images instead of steps, so that the bar shows images/s."""

    def __init__(self, step: int, total: int, batch_size: int, *, shown: bool):
        self._total, self._batch_size = total, batch_size
        self._shown = shown and sys.stderr is not None  # None in a Windows program without a console
        terminal = self._shown and sys.stderr.isatty()
        self._bar = tqdm(
            total=total * batch_size, initial=step * batch_size, unit="img", unit_scale=True, disable=not terminal
        )
        self._prints_lines = self._shown and not terminal
        self._last_time, self._last_step = time.monotonic(), step

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bar.close()

    def advance(self, step: int, measured: Mapping[str, float]) -> None:
        """Show that `step` is finished."""
        if not self._shown:
            return
        if not self._prints_lines:
            self._bar.update(self._batch_size)
            if step % 10 == 0:
                self._bar.set_postfix_str(_losses(measured), refresh=False)
            return
        now = time.monotonic()
        if now - self._last_time >= PAUSE:
            rate = (step - self._last_step) * self._batch_size / (now - self._last_time)
            self.say(f"step {step} of {self._total}  {_losses(measured)}  {rate:.0f} images/s")
            self._last_time, self._last_step = now, step

    def say(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._shown:
            tqdm.write(line, file=sys.stderr)


def _losses(measured: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in measured.items() if name.startswith("Loss"))
