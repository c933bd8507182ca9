"""Names of image files: which are read, which are hidden, which class they name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath

from ganmetrics.printable import printable

IMAGE_EXTENSIONS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NOT_SHOWN = "__MACOSX"


def extension(name: str) -> str:
    """The part from the last dot on, in lower case; empty if there is none."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and stem else ""


def is_hidden(name: str) -> bool:
    """Whether a component of a path is skipped: dot files (also `._x.png` of macOS) and `__MACOSX`."""
    return name.startswith(".") or name == NOT_SHOWN


def is_image(name: str) -> bool:
    """Whether a path in an archive names an image file and no part of it is hidden."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return bool(parts) and extension(parts[-1]) in IMAGE_EXTENSIONS and not any(map(is_hidden, parts))


def climbs(name: str) -> bool:
    """Whether the path of a member leads out of its archive."""
    windows = PureWindowsPath(name)
    return bool(windows.drive or windows.root or PurePosixPath(name).is_absolute() or ".." in windows.parts)


def parts_of(name: str) -> list[str]:
    """The folders and the file of a relative path, with `/` or Windows' `\\`; empty parts and `.` are left out."""
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]


def classes(names: Sequence[str]) -> list[str] | None:
    """The class of every file: the name of the topmost folder in which the paths differ; None if a path has none.

    Folders that all paths share are skipped: "images/cat/1.png" and "images/dog/1.png" have the classes cat and dog.
    """
    if not names or not all("/" in name for name in names):
        return None
    folders = [[part for part in name.split("/")[:-1] if part not in ("", ".")] for name in names]
    depth = 0
    while all(len(path) > depth for path in folders):
        if len({path[depth] for path in folders}) > 1:
            shown = {name: printable(name) for name in {path[depth] for path in folders}}
            return [shown[path[depth]] for path in folders]
        depth += 1
    return None


def some(names: list[str], limit: int = 5) -> str:
    """The first few names of a list, for a message."""
    return ", ".join(printable(name) for name in names[:limit]) + (", ..." if len(names) > limit else "")
