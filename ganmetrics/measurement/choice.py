"""Which images of each side are taken: `--include` and `--exclude`, for one side with its name in front, `real:`."""

from __future__ import annotations

from collections.abc import Sequence

from ganmetrics.errors import OptionError
from ganmetrics.images.patterns import Selection, checked
from ganmetrics.metrics.index import METRICS
from ganmetrics.printable import printable

SIDES = {side for entry in METRICS.values() for side in entry.sides}


def stated(option: str, patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Patterns as a tuple. Raises OptionError for anything that is none."""
    checked(option, [_split(pattern)[1] for pattern in checked(option, patterns)])
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def selection(include: Sequence[str], exclude: Sequence[str], side: str | None) -> Selection:
    """The selection for a side; None is the only source of a command.

    Raises OptionError for a pattern that names a side where there are none.
    """
    own = {option: [_split(pattern) for pattern in patterns] for option, patterns in
           (("--include", include), ("--exclude", exclude))}  # fmt: skip
    for option, pairs in own.items():
        for named, pattern in pairs:
            if named and side is None:
                raise OptionError(
                    f"{option} {named}:{printable(pattern)}: names a side, and here is one source; leave {named}: out"
                )
    chosen = {option: tuple(p for named, p in pairs if named in (None, side)) for option, pairs in own.items()}
    shared = frozenset(p for pairs in own.values() for named, p in pairs if named is None and side is not None)
    return Selection(chosen["--include"], chosen["--exclude"], shared)


def require_sides(include: Sequence[str], exclude: Sequence[str], sides: Sequence[str]) -> None:
    """Raises OptionError for a pattern of a side that is not there."""
    for option, patterns in (("--include", include), ("--exclude", exclude)):
        for pattern in patterns:
            side, _ = _split(pattern)
            if side is not None and side not in sides:
                raise OptionError(
                    f"{option} {printable(pattern)}: expected one of the sides {', '.join(sides)}; leave {side}: out, "
                    f"or write [{side[0]}]{side[1:]}: if it is part of a name"
                )


def _split(pattern: str) -> tuple[str | None, str]:
    side, colon, rest = pattern.partition(":")
    return (side, rest) if colon and side in SIDES else (None, pattern)
