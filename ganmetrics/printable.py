"""Names of files and reasons of errors as one printable line. Imports nothing: errors are told at once."""

from __future__ import annotations


def printable(name: str) -> str:
    r"""`name` with undecodable bytes, control characters and newlines as backslash escapes.

    Python hands over a byte that is no UTF-8 as a lone surrogate, which no terminal and no JSON file can take:

    >>> printable("caf\udce9\n.png")
    'caf\\xe9\\n.png'
    """
    return name if name.isprintable() else "".join(map(_escape, name))


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def reason_of(error: BaseException) -> str:
    """What went wrong, in a few words on one line: the system's own words where it is the system's error."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
