"""Write a file completely or not at all, and check before slow work that it can be written. Imports no torch."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.printable import printable

UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part")  # temporary names of `write_whole`
LONGEST = 255  # bytes of a file's name on the usual file systems
ROOM = 23  # bytes that a temporary name adds


@contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file, moved to `path` in one step when the block ends; after an error nothing of it is left.

    Until then it has a temporary name in the same folder, because a move is atomic only within a file system. It is
    flushed to the disk before the move. A file that is replaced hands on its permissions; a link is replaced itself,
    and the file that it points to does not change. Raises OSError, which names `path`.
    """
    target = Path(path)
    fits = len(os.fsencode(target.name)) <= LONGEST - ROOM
    temporary = target.with_name(f".{target.name if fits else 'long name'}.{os.urandom(8).hex()}.part")
    try:
        with open(temporary, "xb") as file:
            if target.is_file():
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.filename == os.fspath(temporary):
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(path: Path) -> str | None:
    """The final name of a temporary file that a killed process left behind; None for any other file."""
    match = UNFINISHED.fullmatch(path.name)
    return None if match is None else match[1]


def require_writable(
    path: str | os.PathLike[str],
    *endings: str,
    option: str = "",
    overwrite: bool = False,
    error: type[GanMetricsError] = OptionError,
) -> None:
    """Check that a file can be written, before anything slow begins.

    Args:
        path: the file to write.
        endings: allowed suffixes of its name; the message names the first.
        option: the command-line option that named the file, for the message.
        overwrite: whether an existing file may be replaced.
        error: the class of the error to raise.

    Raises: `error` for another suffix, a folder, an existing file, or a parent folder that is absent or not writable.
    """
    target, name = Path(path), printable(os.fspath(path))
    if target.suffix.lower() not in endings:
        expected = f"expected a name that ends in {endings[0]}"
        raise error(f"{option}: {expected}, got {name!r}" if option else f"{name}: {expected}")
    where = f"{option} {name}" if option else name
    if len(os.fsencode(target.name)) > LONGEST:
        raise error(f"{where[:60]}...: its name has more than {LONGEST} bytes; choose a shorter one")
    if target.is_dir():
        raise error(f"{where}: is a folder; choose another name")
    if target.exists() and not target.is_file():
        raise error(f"{where}: is no regular file; choose another name")
    if target.exists() and not overwrite:
        raise error(f"{where}: exists already; choose another name or give --overwrite")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise error(f"{where}: its folder does not exist or cannot be written to")
