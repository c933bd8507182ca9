"""What the page of an evaluation needs besides the scores: the vectors of images, and pictures of streams.

`Evidence.need` is added to the needs of the metrics. So the vectors of the page are computed in the same pass, and
shared with any metric of the same need. `watchers` keep pictures of sources that cannot be read twice.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from ganmetrics.measurement.need import Need
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.index import SIDES
from ganmetrics.printable import printable
from ganmetrics.report.page import require_writable
from ganmetrics.report.pictures import Pictures, Thumbnails, can_be_read_again
from ganmetrics.statistics.samples import Samples


class Evidence:
    """Collects the vectors and pictures for the page of one evaluation.

    Args:
        path: of the page.
        settings: of the evaluation, on whose extractor the vectors are computed.
        command: what reproduces the page: words of a command line, or a line of Python. None uses the command line of
            the running click program, or else a call of `gm.evaluate`.

    Raises OptionError, at once, for a page that cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Settings,
        *,
        command: Sequence[str] | str | None = None,
    ):
        require_writable(path)
        self.path, self.settings, self.command = path, settings, command
        self._thumbnails: dict[str, Thumbnails] = {}

    @property
    def need(self) -> Need:
        """The vectors that the page needs of each side with images."""
        return Need(self.settings, "features", Samples, "the report")

    def watchers(self, side: Side) -> list[Callable[[Tensor], None]]:
        """Functions that keep pictures of a side while it is read; none if the side can be read again."""
        if side.opened is None or can_be_read_again(side):
            return []
        self._thumbnails[side.name] = Thumbnails()
        return [self._thumbnails[side.name].watch]

    def vectors(self, side: Side) -> Samples | None:
        """The vectors of a side, or None."""
        part = side.part(self.need) if side.opened is None else None
        statistic = part.statistic if part is not None else side.statistics.get(self.need)
        return statistic if isinstance(statistic, Samples) and statistic.count else None

    def pictures(self, side: Side) -> Pictures | None:
        """The pictures of a side, or None if it has no vectors."""
        vectors = self.vectors(side)
        if vectors is None or side.opened is None:
            return None
        return Pictures(side, self._thumbnails.get(side.name), vectors.count)

    @property
    def seed(self) -> int:
        return self.settings.seed or 0

    def reproduced(self, scores: Iterable[str], sides: Sequence[Side]) -> tuple[str, bool]:
        """The command that reproduces the page, and whether it is Python (True) or a command line."""
        if isinstance(self.command, str):
            return self.command, True
        if self.command is not None:
            return _quoted(self.command), False
        import click

        context = click.get_current_context(silent=True)
        if context is not None:
            return _quoted([context.find_root().info_name or "ganmetrics", *sys.argv[1:]]), False
        return self._call(scores, {side.name: side.source for side in sides}), True

    def _call(self, scores: Iterable[str], sources: Mapping[str, Any]) -> str:
        options = {
            field.name: getattr(self.settings, field.name)
            for field in fields(self.settings)
            if getattr(self.settings, field.name) != field.default and field.name != "progress"
        }
        keywords = "".join(f", {name}={_python(value)}" for name, value in options.items())
        metrics = list(dict.fromkeys(map(_metric, scores)))
        real, fake = (_python(sources.get(name)) for name in SIDES)
        return f"gm.evaluate({real}, {fake}, {metrics!r}{keywords}, report={_python(self.path)})"


def _metric(value: str) -> str:
    """The metric to request for a value: "prdc@pixels" for "recall@pixels"."""
    name, at, features = value.partition("@")
    return next((entry.name for entry in METRICS.values() if name in entry.values), name) + at + features


def _quoted(words: Sequence[str]) -> str:
    return printable(shlex.join(words))


def _python(value: Any) -> str:
    """A value as Python source, or "<Type>" if it has no short literal."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, (str, bool, int, float, tuple)):
        return repr(value)
    if isinstance(value, (torch.device, torch.dtype)):
        return repr(str(value).removeprefix("torch."))
    return f"<{type(value).__name__}>"
