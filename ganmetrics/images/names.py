"""Names of image files: which are taken, which are hidden, how they are listed."""

from __future__ import annotations

from ganmetrics.text import printable

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NOT_SHOWN = "__MACOSX"


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
