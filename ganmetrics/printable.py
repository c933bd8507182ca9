"""Names of files and reasons of errors as one printable line. Imports nothing, so that errors appear at once."""

from __future__ import annotations


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


def reason_of(error: BaseException) -> str:
    """What went wrong, in a few words on one line; the operating system's own text for its errors."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
