"""Checks of option values; each error is one line that names the option. Imports no torch."""

from __future__ import annotations

import operator
from typing import Any

from ganmetrics.errors import OptionError
from ganmetrics.printable import brief


def whole(name: str, value: Any, least: int, below: int | None = None) -> int:
    """`value` as an int, `least` <= value < `below` (a power of two). Raises OptionError that names the option."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1  # fails the check below
    if number < least or isinstance(value, bool) or (below is not None and number >= below):
        bounds = f"of at least {least}" if below is None else f"from {least} to below 2^{below.bit_length() - 1}"
        raise OptionError(f"{name}: expected a whole number {bounds}, got {brief(value)}")
    return number
