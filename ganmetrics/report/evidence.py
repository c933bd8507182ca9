"""What an evaluation leaves behind for its page: vectors beside the scores, pictures of streams, then the page itself.

`Evidence.measurements()` joins the metrics of an evaluation as one that computes nothing, so that the vectors it needs
are extracted, shared and kept like those of any other; `watchers` keep pictures of what cannot be read twice.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganmetrics.measurement.measurement import SIDES, Measurement
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.base import Metric, Result
from ganmetrics.metrics.index import TWO, Entry
from ganmetrics.printable import printable
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.report.page import require_writable
from ganmetrics.report.pictures import Pictures, Thumbnails, can_be_read_again
from ganmetrics.statistics.samples import Samples

if TYPE_CHECKING:
    from typing_extensions import Self


class Vectors(Metric):
    """The vectors of some sides, and no value."""

    entry = Entry("vectors", "vectors", "", "", "vectors of the report", TWO, "lower", "none", "")
    canonical = ("", "")
    kind = "features"
    statistic = Samples

    def __init__(self, sides: Sequence[str] = TWO):
        self._sides = tuple(sides)
        super().__init__()

    @property
    def sides(self) -> Sequence[str]:
        return self._sides

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> Self:
        return cls()

    def results(self) -> Mapping[str, Result]:
        return {}


class Evidence:
    """Collects what the page of one evaluation shows.

    Args:
        path: of the page; whether it can be written is asked at once.
        sides: opened, not yet read.
        settings: of the evaluation.
        command: what to run to have it again: words of a command line, or a line of Python. None takes the command
            line of the click program that is running, and otherwise writes the call of `gm.evaluate`.

    Raises OptionError for a page that cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sides: Sequence[Side],
        settings: Settings,
        *,
        command: Sequence[str] | str | None = None,
    ):
        require_writable(path)
        self.path, self.settings, self.command = path, settings, command
        self._metric = Vectors([side.name for side in sides if side.file is None])
        self._thumbnails: dict[str, Thumbnails] = {}

    def measurements(self) -> list[Measurement]:
        """To be joined to the metrics that are asked for."""
        return [Measurement(self._metric, self.settings)]

    def watchers(self, side: Side) -> list[Callable[[Tensor], None]]:
        """What is to see the images of a side while they are read; nothing, where they can be read again."""
        if side.file is not None or can_be_read_again(side):
            return []
        self._thumbnails[side.name] = Thumbnails()
        return [self._thumbnails[side.name].watch]

    def vectors(self, side: str) -> Samples | None:
        """Those of a side, or None."""
        found = self._metric.statistics.get(side)
        return found if isinstance(found, Samples) and found.count else None

    def pictures(self, side: Side) -> Pictures | None:
        """Those of a side whose vectors are there."""
        vectors = self.vectors(side.name)
        return None if vectors is None else Pictures(side, self._thumbnails.get(side.name), vectors.count)

    @property
    def seed(self) -> int:
        return self.settings.seed or 0

    def reproduced(self, scores: Iterable[str], sides: Sequence[Side]) -> tuple[str, bool]:
        """The command, and whether it is Python rather than a command line."""
        if isinstance(self.command, str):
            return self.command, True
        if self.command is not None:
            return _quoted(self.command), False
        import click

        context = click.get_current_context(silent=True)
        if context is not None:
            return _quoted([context.find_root().info_name or "ganmetrics", *sys.argv[1:]]), False
        return self._call(scores, {side.name: side.given for side in sides}), True

    def _call(self, scores: Iterable[str], given: Mapping[str, Any]) -> str:
        options = {
            field.name: getattr(self.settings, field.name)
            for field in fields(self.settings)
            if getattr(self.settings, field.name) != field.default and field.name != "progress"
        }
        said = "".join(f", {name}={_python(value)}" for name, value in options.items())
        metrics = list(dict.fromkeys(map(_metric, scores)))
        real, fake = (_python(given.get(name)) for name in SIDES)
        return f"gm.evaluate({real}, {fake}, {metrics!r}{said}, report={_python(self.path)})"


def _metric(value: str) -> str:
    """What is asked for to have a value: "prdc@pixels" for "recall@pixels"."""
    name, at, features = value.partition("@")
    return next((entry.name for entry in METRICS.values() if name in entry.values), name) + at + features


def _quoted(words: Sequence[str]) -> str:
    return printable(shlex.join(words))


def _python(value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, (str, bool, int, float, tuple)):
        return repr(value)
    if isinstance(value, (torch.device, torch.dtype)):
        return repr(str(value).removeprefix("torch."))
    return f"<{type(value).__name__}>"
