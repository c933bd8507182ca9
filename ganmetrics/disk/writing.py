"""Writing a file: whole or not at all, and asked before the work whether it can be written. Imports no torch."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.printable import printable

UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part")


@contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` in one move when the block ends; after an error nothing is left of it.

    It lies in the same folder until then, because only a move within a file system is one step, and it is on the disk
    before it takes the name. Raises OSError.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(path: Path) -> str | None:
    """The name that a file left behind by a kill was to take; None for any other file."""
    found = UNFINISHED.fullmatch(path.name)
    return None if found is None else found[1]


def require_writable(
    path: str | os.PathLike[str],
    *endings: str,
    option: str = "",
    overwrite: bool = False,
    error: type[GanMetricsError] = OptionError,
) -> None:
    """Whether a file can be made there, asked before anything slow begins.

    Args:
        path: of the file.
        endings: that its name may have, the first of which is named in the message.
        option: of the command line that named it, for the message.
        overwrite: whether it may replace a file that is there.
        error: the kind to raise.

    Raises: `error` for another ending, a folder, a file that is there, or a folder that is absent or not writable.
    """
    target, name = Path(path), printable(os.fspath(path))
    if target.suffix.lower() not in endings:
        said = f"expected a name that ends in {endings[0]}"
        raise error(f"{option}: {said}, got {name!r}" if option else f"{name}: {said}")
    where = f"{option} {name}" if option else name
    if target.is_dir():
        raise error(f"{where}: is a folder; choose another name")
    if target.exists() and not overwrite:
        raise error(f"{where}: exists already; choose another name or give --overwrite")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise error(f"{where}: its folder does not exist or cannot be written to")
