"""The bandwidth of a Parzen window, chosen on validation data: a grid, a golden-section search, or a given value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.printable import brief

PUBLISHED = tuple(10 ** (-1 + i / 9) for i in range(10))  # np.logspace(-1, 0, 10), Goodfellow's parzen_ll.py
GOLDEN = (math.sqrt(5) - 1) / 2
COARSE = 2.0  # ratio of neighbours in the first grid of `auto`
SMALLEST = 1e-100  # below this or above its inverse, squares come near the limits of float64
PRECISION = 0.01  # relative precision of the bandwidth found by `auto`

Curve = Callable[[Sequence[float]], list[float]]  # bandwidths -> mean validation log-likelihoods


@dataclass(frozen=True)
class Choice:
    """The bandwidth, how it was chosen, and every (bandwidth, mean validation log-likelihood) that was computed."""

    bandwidth: float
    rule: str
    curve: Sequence[tuple[float, float]] = ()
    warnings: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Rule:
    """How the bandwidth is chosen.

    name: "published" or "grid" (best of the grid), "auto" (search; the grid is empty) or "fixed" (one value, used as it
    is, without the validation data).
    """

    name: str
    grid: tuple[float, ...] = ()

    @classmethod
    def parse(cls, given: str | float | Sequence[float]) -> Rule:
        """From "published", "auto", a number, numbers separated by commas, LOW:HIGH:COUNT (logarithmic), or a sequence.

        Raises OptionError.
        """
        if isinstance(given, str) and given in ("published", "auto"):
            return cls(given, PUBLISHED if given == "published" else ())
        try:
            grid = _numbers(given)
        except (ValueError, TypeError, OverflowError, ZeroDivisionError):
            grid = ()
        if not grid or not all(SMALLEST <= h <= 1 / SMALLEST for h in grid):
            raise OptionError(
                "--bandwidths: expected published, auto, a number from 1e-100 to 1e100, several with commas, or "
                f"LOW:HIGH:COUNT, got {brief(given)}"
            )
        return cls("fixed" if len(grid) == 1 else "grid", tuple(sorted(set(grid))))

    def choose(self, curve: Curve, scale: Callable[[], float]) -> Choice:
        """The bandwidth with the highest mean validation log-likelihood.

        Args:
            curve: computes these means for several bandwidths in one pass.
            scale: computes the root mean square distance of validation points to their nearest sample, per dimension;
                called by "auto" only, as the start of its search.
        """
        if self.name == "fixed":
            return Choice(self.grid[0], self.name)
        return golden_section(curve, scale()) if self.name == "auto" else _best_of_grid(curve, self)


def _numbers(bandwidths: str | float | Sequence[float]) -> tuple[float, ...]:
    if isinstance(bandwidths, str) and ":" in bandwidths:
        low, high, count = bandwidths.split(":")
        return log_grid(float(low), float(high), int(count))
    if isinstance(bandwidths, str):
        return tuple(float(part) for part in bandwidths.split(","))
    return tuple(map(float, bandwidths)) if isinstance(bandwidths, Sequence) else (float(bandwidths),)


def log_grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` bandwidths from low to high, with equal ratios."""
    return tuple(low * (high / low) ** (i / (count - 1)) for i in range(count))


def _best_of_grid(curve: Curve, rule: Rule) -> Choice:
    values = curve(rule.grid)
    if max(values) == -math.inf:
        raise StatisticsError(
            f"at every bandwidth up to {rule.grid[-1]:g} the validation likelihood is below the range of float64: the "
            "points lie too far from the samples; use --bandwidths auto or a wider grid"
        )
    best = max(range(len(values)), key=values.__getitem__)
    warnings = []
    if best in (0, len(values) - 1):
        end = "smallest" if best == 0 else "largest"
        warnings.append(
            f"the best bandwidth, {rule.grid[best]:g}, is the {end} of the grid: the optimum lies beyond it; "
            "use --bandwidths auto or a wider grid"
        )
    return Choice(rule.grid[best], rule.name, tuple(zip(rule.grid, values, strict=True)), warnings)


def golden_section(curve: Curve, scale: float) -> Choice:
    """Bracket the optimum on a grid of ratio COARSE around `scale`, then golden-section search (Kiefer 1953) in log h.

    Raises StatisticsError if the likelihood grows without bound as the bandwidth shrinks, because validation points
    are among the samples.
    """
    seen: dict[float, float] = {}  # log h -> mean log-likelihood; each costs a pass over the samples

    def value(log_h: float) -> float:
        if log_h not in seen:
            (seen[log_h],) = curve([math.exp(log_h)])
        return seen[log_h]

    low, high = _bracket(curve, scale, seen)
    a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    while high - low > math.log1p(PRECISION):
        if value(a) >= value(b):
            high, b = b, a
            a = high - GOLDEN * (high - low)
        else:
            low, a = a, b
            b = low + GOLDEN * (high - low)
    best = max(seen, key=seen.__getitem__)
    return Choice(math.exp(best), "auto", tuple((math.exp(log_h), seen[log_h]) for log_h in sorted(seen)))


def _bracket(curve: Curve, scale: float, seen: dict[float, float], steps: int = 3) -> tuple[float, float]:
    """Log bandwidths on both sides of the best; the grid moves until the best is not at its end."""
    step = math.log(COARSE)
    centre = math.log(scale) if scale > 0 else -math.inf
    for _ in range(12):  # at most 12 grids, each reaching 3 steps beyond the last best: a factor of about 1e10
        if not math.isfinite(centre):
            break
        grid = [centre + i * step for i in range(-steps, steps + 1)]
        for log_h, value in zip(grid, curve([math.exp(log_h) for log_h in grid]), strict=True):
            seen[log_h] = value
        best = max(seen, key=seen.__getitem__)
        if min(seen) < best < max(seen):
            return best - step, best + step
        centre = best
    raise StatisticsError(
        "the validation likelihood grows without bound as the bandwidth shrinks: validation points stand among the "
        "samples; give samples that were not made from them, or a bandwidth of your own"
    )
