"""A score: its value, and how it was measured (spread, protocol, warnings, skipped images)."""

from __future__ import annotations

import json
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ganmetrics.errors import OptionError
from ganmetrics.printable import natural_order, printable, some
from ganmetrics.version import __version__

SMALLEST, LARGEST = 1e-6, 1e12  # outside, decimals would print zeros alone, or a row of digits that mean nothing


def format_of(value: float, *others: float) -> str:
    """How a value is printed, and others beside it: four decimals, six for small values, or with an exponent.

    Small values are kernel distances and squared errors. A value near 0 by chance has the decimals of its deviation.
    """
    scale = max(map(abs, (value, *others)))
    if scale and not SMALLEST <= scale < LARGEST:
        return ".4e"
    return ".6f" if 0 < abs(value) < 0.1 else ".4f"


@dataclass(frozen=True)
class Score:
    """One value of one metric, with everything needed to measure it again.

    Attributes:
        metric: the index name ("fid", "is"); with another feature space than the metric's standard one, a name that
            says so ("fd-efficientnet-lite0"), because such values compare only with each other.
        value: the number to quote. `float(score)` is the same.
        interval: low and high end of a 95 % interval of the value at these image counts, or None.
        spread: what the protocol calls its uncertainty (the standard deviation over splits for the Inception
            Score), or None.
        better: which direction is better.
        n_real, n_fake: images used on each side; None if the metric lacks the side or a statistics file has no count.
        protocol: how it was measured; can be written as JSON.
        warnings: full sentences about what may mislead.
        skipped: images left out under `on_error="skip"`, as `{"image": ..., "reason": ...}`.
        raw: the value before clamping to the metric's range (FID may come out below 0); else equal to `value`.
        seconds: wall time of the whole measurement.
    """

    metric: str
    value: float
    better: Literal["lower", "higher"]
    spread: float | None = None
    interval: tuple[float, float] | None = None
    n_real: int | None = None
    n_fake: int | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    skipped: Sequence[Mapping[str, str]] = ()
    raw: float | None = None
    seconds: float | None = None
    version: str = __version__

    def __float__(self) -> float:
        return self.value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """The value as an array of no dimensions, as NumPy and TensorBoard ask for it."""
        import numpy as np

        return np.array(self.value, dtype=dtype)

    def __format__(self, spec: str) -> str:
        """`f"{score:.2f}"` formats the value; without a format it is the text of `str`."""
        return format(self.value, spec) if spec else str(self)

    def __round__(self, digits: int | None = None) -> float:
        return round(self.value, digits)

    def __lt__(self, other: Any) -> bool:
        return self._compared(other, operator.lt)

    def __le__(self, other: Any) -> bool:
        return self._compared(other, operator.le)

    def __gt__(self, other: Any) -> bool:
        return self._compared(other, operator.gt)

    def __ge__(self, other: Any) -> bool:
        return self._compared(other, operator.ge)

    def _compared(self, other: Any, comparison: Callable[[Any, Any], bool]) -> bool:
        """By value, with a number or a score of the same metric. Raises TypeError for a score of another metric."""
        if isinstance(other, Score):
            if other.metric != self.metric:
                raise TypeError(f"{self.metric} and {other.metric} are different metrics: their values do not compare")
            return comparison(self.value, other.value)
        return comparison(self.value, other) if isinstance(other, numbers.Real) else NotImplemented

    def figures(self) -> tuple[str, str, str]:
        """Value, spread and interval as text, in one format; empty for those that are not known."""
        spec = format_of(self.value, self.spread or 0.0, *(self.interval or ()))
        spread = "" if self.spread is None else f"{self.spread:{spec}}"
        ends = "" if self.interval is None else "[{:{spec}}, {:{spec}}]".format(*self.interval, spec=spec)
        return f"{self.value:{spec}}", spread, ends

    def __str__(self) -> str:
        value, spread, ends = self.figures()
        over = f"over {self.classes()}" if self.classes() else ""
        parts = (self.metric, value, spread and f"+- {spread}", ends, over)
        return " ".join(part for part in parts if part)

    def classes(self) -> str:
        """The number of classes and the first ones, of a metric over classes; else empty."""
        names = natural_order(map(str, self.protocol.get("per_class") or ()))
        return f"{len(names)} {'class' if len(names) == 1 else 'classes'}: {some(names)}" if names else ""

    def counts(self) -> str:
        """Number of images of each side, as text."""
        counts = {name[2:]: n for name, n in self.protocol.items() if name.startswith("n_")}
        sides = counts or {"real": self.n_real, "fake": self.n_fake}
        return ", ".join(f"{n} {side}" for side, n in sides.items() if n is not None) or "counts unknown"

    def description(self) -> str:
        """How it was measured: counts and protocol, in one line."""
        return f"{self.counts()}; {self.protocol_line()}"

    def protocol_line(self) -> str:
        """The protocol in one line, without counts: features, weights, resize, dtype and so on."""
        sha256 = self.protocol.get("weights_sha256")
        weights = f" {sha256[:8]}" if sha256 else ""
        parts = [
            f"{self.protocol.get('features') or 'features unknown'}{weights}",
            self.protocol.get("resize"),
            self.protocol.get("dtype"),
            self.protocol.get("held_fixed") and f"interval with {self.protocol['held_fixed']} held fixed",
            "fresh_real" in self.protocol and f"fresh real images {self.protocol['fresh_real']:.4f}",
            self.protocol.get("bandwidth") and f"bandwidth {self.protocol['bandwidth']:.4g}",
            self.protocol.get("baseline") and f"baseline {self.protocol['baseline']}",
            self.protocol.get("method") and f"{self.protocol['method']}, at most {self.protocol['steps']} steps",
            self.protocol.get("psnr") and f"PSNR {self.protocol['psnr']:.2f} dB",
            self.protocol.get("protocol") and f"protocol {self.protocol['protocol']}",
            *self._chosen("include", "only"),
            *self._chosen("exclude", "without"),
        ]
        return "; ".join(str(part) for part in parts if part)

    def _chosen(self, option: str, word: str) -> list[str]:
        """Which images were taken of each side, by patterns of their names."""
        by_side = self.protocol.get(option) or {}
        return [f"{side} {word} {', '.join(map(printable, patterns))}" for side, patterns in by_side.items()]

    def with_(self, **changes: Any) -> Score:
        return replace(self, **changes)

    def to_json(self) -> str:
        """One JSON object on one line, keys in the documented order; floats keep all their digits."""
        fields = asdict(self)
        # The documented order, which is not that of the fields: readers may rely on it.
        order = "metric value spread better n_real n_fake protocol warnings skipped raw interval seconds version"
        return json.dumps({key: fields[key] for key in order.split()}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Score:
        """Inverse of `to_json`. Raises OptionError for a line that is not a score."""
        try:
            fields = json.loads(line)
            ends = fields.get("interval")
            return cls(**{**fields, "interval": None if ends is None else tuple(ends)})
        except (ValueError, TypeError, AttributeError) as error:
            raise OptionError(f"expected one score as `--json` prints it, got {line[:60]!r}: {error}") from error


numbers.Number.register(Score)  # NumPy and TensorBoard take it for a scalar
