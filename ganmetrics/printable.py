"""Names, values and reasons as one short printable line. Light to import, so that errors appear at once."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Iterable, Sequence
from numbers import Complex

SHOWN = 80  # characters of a user's value in a message
TOLD = 300  # characters of an error's text in a message


def printable(name: str) -> str:
    r"""`name` with undecodable bytes, control characters and newlines as backslash escapes.

    Python represents a byte that is not UTF-8 as a lone surrogate, which neither a terminal nor a file can encode:

    >>> printable("caf\udce9\n.png")
    'caf\\xe9\\n.png'
    """
    return name if name.isprintable() else "".join(map(_escape, name))


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # byte 0xNN as U+DCNN, see PEP 383
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def cut(text: str, length: int) -> str:
    """`text` on one line, at most `length` characters of it."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 3]}..."


def reason_of(error: BaseException) -> str:
    """What went wrong, in a few words on one line; the operating system's own text for its errors."""
    return cut(str(getattr(error, "strerror", None) or error or ""), TOLD) or type(error).__name__


def name_of(value: object) -> str:
    """What a message or a score calls an object: the text itself, the name of a function, else that of the class.

    The repr of a network has a line for each layer, that of a dataset or a tensor shows what it holds.
    """
    if isinstance(value, (str, os.PathLike)):
        return printable(os.fsdecode(value))
    name = getattr(value, "__name__", None)
    return cut(printable(name if isinstance(name, str) and name else type(value).__name__), SHOWN)


def brief(value: object) -> str:
    """A value that a user passed, for `got ...`: a number, a text or a short container as Python writes it.

    Anything else by `name_of`, and with its shape if it has one.
    """
    return cut(_BRIEF.repr(value), SHOWN)


class _Brief(reprlib.Repr):
    """Python's own shortened repr, in which objects that are no plain values are named only."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = SHOWN

    def repr_instance(self, value: object, level: int) -> str:
        if isinstance(value, (str, os.PathLike)):
            return self.repr_str(os.fsdecode(value), level)
        if value is None or isinstance(value, (Complex, bytes)):
            return super().repr_instance(value, level)
        shape = getattr(value, "shape", None)
        return f"{name_of(value)} of shape {tuple(shape)}" if isinstance(shape, tuple) else name_of(value)


_BRIEF = _Brief()


def natural_order(names: Iterable[str]) -> list[str]:
    """Names sorted with the numbers in them by value: "samples_2" comes before "samples_10"."""
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def some(names: Sequence[str]) -> str:
    """The first five names and the number of the rest, for a message."""
    return ", ".join(map(printable, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
