"""Names of files as one printable line, whatever bytes they are made of."""

from __future__ import annotations

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NOT_SHOWN = "__MACOSX"


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


def extension(name: str) -> str:
    """The part from the last dot on, in lower case; empty where there is none."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and stem else ""


def is_hidden(name: str) -> bool:
    """Whether one component of a path is left out: dot files (also `._x.png` of macOS) and `__MACOSX`."""
    return name.startswith(".") or name == NOT_SHOWN


def some(names: list[str], limit: int = 5) -> str:
    """The first few of a list, for a message."""
    return ", ".join(printable(name) for name in names[:limit]) + (", ..." if len(names) > limit else "")
