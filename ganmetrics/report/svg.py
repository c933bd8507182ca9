"""Plots as inline SVG. Colours come from the page's style, so plots follow its light or dark scheme."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from torch import Tensor

Scale = Callable[[float], float]
STYLES = 8  # colours of runs, each with its own dash pattern
WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 12, 34


@dataclass(frozen=True)
class Line:
    """One run: its values over steps, their intervals if known, and the index of the best value."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]
    intervals: Sequence[tuple[float, float] | None]
    best: int


def scatter(groups: Sequence[tuple[str, str, Tensor]], title: str, description: str) -> str:
    """A scatter plot of groups (shape, CSS class, points `(N, 2)` in [0, 1]); shapes are "circle" and "triangle"."""
    marks = []
    for shape, style, points in groups:
        drawn = "".join(_mark(shape, 8 + x * 384, 8 + y * 284) for x, y in points.tolist())
        marks.append(f'<g class="{style}">{drawn}</g>')
    return _svg(400, 300, "map", title, description, "".join(marks))


def _mark(shape: str, x: float, y: float) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
    return f'<path d="M{x:.1f} {y - 3:.1f}l2.8 5h-5.6z"/>'


def swatch(shape: str, style: str) -> str:
    """The mark of a scatter plot, for its legend."""
    return (
        f'<svg class="swatch" viewBox="0 0 10 10" aria-hidden="true"><g class="{style}">{_mark(shape, 5, 5)}</g></svg>'
    )


def dash(number: int) -> str:
    """The line style of run `number`, for a legend."""
    line = f'<path class="run r{number % STYLES}" d="M0 5H26"/>'
    return f'<svg class="stroke" viewBox="0 0 26 10" aria-hidden="true">{line}</svg>'


def curves(lines: Sequence[tuple[int, Line]], title: str, description: str) -> str:
    """Curves of numbered runs over their steps; intervals are bands, the best value of each run is a ring."""
    steps = [step for _, line in lines for step in line.steps]
    ends = [end for _, line in lines for pair in line.intervals if pair for end in pair]
    low, high = _widened([value for _, line in lines for value in line.values] + ends)
    first, last = min(steps), max(steps)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((step - first) / (last - first) if last > first else 0.5)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    parts = [_axes(first, last, low, high, x, y)]
    for number, line in lines:
        style = f"r{number % STYLES}"
        parts += [f'<path class="band {style}" d="{d}"/>' for d in _bands(line, x, y)]
        points = [(x(step), y(value)) for step, value in zip(line.steps, line.values, strict=True)]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        parts.append(f'<path class="run {style}" d="{path}"/>')
        if len(points) == 1:
            parts.append(f'<circle class="dot {style}" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="2.5"/>')
        a, b = points[line.best]
        parts.append(f'<circle class="best {style}" cx="{a:.1f}" cy="{b:.1f}" r="5"/>')
    return _svg(WIDTH, HEIGHT, "curves", title, description, "".join(parts))


def _bands(line: Line, x: Scale, y: Scale) -> list[str]:
    """Outlines of the bands, one for each stretch of consecutive values with intervals."""
    stretches: list[list[tuple[int, tuple[float, float]]]] = [[]]
    for step, pair in zip(line.steps, line.intervals, strict=True):
        if pair is None:
            stretches.append([])
        else:
            stretches[-1].append((step, pair))
    outlines = []
    for stretch in (stretch for stretch in stretches if len(stretch) > 1):
        upper = [f"{x(step):.1f} {y(pair[1]):.1f}" for step, pair in stretch]
        lower = [f"{x(step):.1f} {y(pair[0]):.1f}" for step, pair in reversed(stretch)]
        outlines.append("M" + "L".join(upper + lower) + "Z")
    return outlines


def _axes(first: float, last: float, low: float, high: float, x: Scale, y: Scale) -> str:
    parts = []
    for value in ticks(low, high, 5):
        at = f"{y(value):.1f}"
        parts.append(f'<path class="rule" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at}" dy="0.35em" text-anchor="end">{value:.4g}</text>')
    for value in ticks(first, last, 4) or [first]:
        if value == int(value):
            at = f"{x(value):.1f}"
            parts.append(f'<path class="rule" d="M{at} {HEIGHT - BOTTOM}v4"/>')
            parts.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{short(int(value))}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end" class="axis">step</text>')
    return "".join(parts)


def short(step: int) -> str:
    """A step in short form: 12000 is 12k, 1500000 is 1.5M."""
    for unit, size in (("M", 10**6), ("k", 1000)):
        if step >= 10 * size or (step >= size and step % (size // 10) == 0):
            return f"{step / size:.4g}{unit}"
    return str(step)


def ticks(low: float, high: float, about: int) -> list[float]:
    """About `about` round numbers from low to high; their distance is 1, 2 or 5 times a power of ten."""
    if not high > low:
        return []
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    return [round(i * step, 12) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _widened(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _svg(width: int, height: int, style: str, title: str, description: str, inside: str) -> str:
    words = f"{title}. {description}"
    return (
        f'<svg class="{style}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">'
        f"<title>{escape(title)}</title>{inside}</svg>"
    )
