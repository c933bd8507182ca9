"""Parse memory sizes ("512MB"), print them ("33.6 MB"), and give freed memory back. Imports no torch."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress

from ganmetrics.errors import OptionError
from ganmetrics.printable import brief

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_memory(given: str | int) -> int:
    """Bytes from "512MB", "1.5GiB" or a number. Raises OptionError for anything else and for less than 1 MB."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]i?B|B|)\s*", str(given), flags=re.IGNORECASE)
    n_bytes = int(float(match[1]) * UNITS[match[2].upper()]) if match else 0
    if n_bytes < 10**6:
        raise OptionError(f"--memory: expected at least 1MB, such as 512MB or 2GiB, got {brief(given)}")
    return n_bytes


def size(nbytes: float) -> str:
    """Bytes as text of about three digits: "33.6 MB"."""
    for unit in ("B", "kB", "MB"):
        if nbytes < 999.5:  # a larger number rounds to 1000
            return f"{nbytes:.{0 if unit == 'B' else 1}f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} GB"


def trim() -> None:
    """Give freed memory back to the system, which glibc would keep for later use."""
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
