"""The files of the statistics cache: one file per entry, below the user's cache folder.

An entry is a line of JSON (its description, which arrays follow), the arrays as raw bytes, and the SHA-256 of all that.
It is written under a temporary name and renamed, so it is whole or absent, and never changed. An entry that does not
match its checksum is dropped. If there is not enough room, the least recently used entries are removed first. Nothing
is unpickled. Imports no torch.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import IO, Any

from ganmetrics.disk.cache_folder import cache_dir
from ganmetrics.disk.writing import write_whole
from ganmetrics.errors import OptionError
from ganmetrics.printable import printable, reason_of
from ganmetrics.runtime.memory import parse_memory, size

FORMAT = "ganmetrics-reference-statistics-2"
LIMIT = 4 * 10**9  # bytes of all entries together
SHARE = 4  # one entry may take at most 1 / SHARE of the limit
ABANDONED = 600  # seconds; an unfinished file older than this was left by a process that was killed
ITEMSIZE = {"uint8": 1, "float32": 4, "float64": 8}
CHUNK = 1 << 20
DIGEST = hashlib.sha256().digest_size
SUFFIX, UNFINISHED = ".statistics", ".part"


@dataclass(frozen=True)
class Array:
    """One array: its dtype and shape; its bytes are `blocks` when written, and at offset `start` when read."""

    dtype: str
    shape: tuple[int, ...]
    blocks: Iterable[Any] = ()
    start: int = 0

    @property
    def nbytes(self) -> int:
        return ITEMSIZE[self.dtype] * prod(self.shape)


@dataclass(frozen=True)
class Entry:
    """A verified entry: its description, its arrays by name, and the open file that holds them."""

    about: dict[str, Any]
    arrays: dict[str, Array]
    file: IO[bytes]


@dataclass(frozen=True)
class Listed:
    """An entry in a listing. `about` is empty if it cannot be read; `used` is in seconds since 1970."""

    path: Path
    about: dict[str, Any]
    nbytes: int
    used: float


class TooLargeError(Exception):
    """An entry above its share of the limit; the message is written for the user."""


def folder() -> Path:
    """The folder of the entries, which may not exist yet. Raises OSError for a user without a home directory."""
    try:
        path = cache_dir() / "statistics"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    if str(path).startswith("~"):
        raise OSError("this user has no home directory; set GANMETRICS_CACHE")
    return path


def limit() -> int:
    """Bytes that all entries together may take: `GANMETRICS_CACHE_LIMIT`, else 4 GB; 0 disables the cache.

    Raises OptionError for a limit that is no size.
    """
    stated = os.environ.get("GANMETRICS_CACHE_LIMIT", "").strip()
    if not stated:
        return LIMIT
    if stated == "0":
        return 0
    try:
        return parse_memory(stated)
    except OptionError:
        raise OptionError(
            f"GANMETRICS_CACHE_LIMIT: expected at least 1MB, such as 500MB or 4GB, or 0 for no cache, got {stated!r}"
        ) from None


def read(key: str) -> Entry | None:
    """The entry, or None if there is none. A damaged one is removed with a warning. Raises OSError."""
    path = folder() / f"{key}{SUFFIX}"
    try:
        file = open(path, "rb")  # noqa: SIM115  (samples of the entry are read from it later)
    except FileNotFoundError:
        return None
    try:
        entry = _verified(file, key)
    except BaseException:
        file.close()
        raise
    if entry is None:
        file.close()
        with contextlib.suppress(OSError):
            path.unlink()
        warn_once(f"{path}: an entry of the cache was damaged; it was dropped, and the images are measured again")
    else:
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of last use, by which `make_room` chooses
    return entry


def _verified(file: IO[bytes], key: str) -> Entry | None:
    """The entry; None unless its checksum, format and key match."""
    end = file.seek(0, os.SEEK_END) - DIGEST
    file.seek(0)
    digest, left = hashlib.sha256(), end
    while left > 0 and (chunk := file.read(min(CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    if end < 0 or file.read(DIGEST) != digest.digest():
        return None
    file.seek(0)
    try:
        header = json.loads(file.readline())
        if (header["format"], header["key"]) != (FORMAT, key):
            return None
        arrays, start = {}, file.tell()
        for name, dtype, shape in header["arrays"]:
            arrays[name] = Array(dtype, tuple(shape), start=start)
            start += arrays[name].nbytes
    except (ValueError, KeyError, TypeError):
        return None
    return Entry(header["about"], arrays, file) if start == end else None


def write(key: str, about: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Store an entry, whole or not at all. Raises OSError; TooLargeError for an entry above its share."""
    described = [[name, array.dtype, list(array.shape)] for name, array in arrays.items()]
    header = {"format": FORMAT, "key": key, "about": dict(about), "arrays": described}
    line = json.dumps(header).encode() + b"\n"
    needed = len(line) + sum(array.nbytes for array in arrays.values()) + DIGEST
    if needed > limit() / SHARE:
        raise TooLargeError(
            f"{size(needed)} are more than a quarter of the cache's {size(limit())}; set GANMETRICS_CACHE_LIMIT to "
            f"{size(needed * SHARE)} or more to keep them"
        )
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    make_room(limit() - needed)
    digest = hashlib.sha256()
    with write_whole(place / f"{key}{SUFFIX}") as file:
        for part in (line, *_parts(arrays)):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())


def _parts(arrays: Mapping[str, Array]) -> Iterator[Any]:
    for array in arrays.values():
        yield from array.blocks


def make_room(allowed: int) -> None:
    """Remove abandoned files, and the least recently used entries until the rest takes at most `allowed` bytes."""
    _drop_abandoned()
    entries = listed(about=False)
    total = sum(entry.nbytes for entry in entries)
    for entry in reversed(entries):
        if total <= allowed:
            return
        with contextlib.suppress(FileNotFoundError):  # another process may have removed it
            entry.path.unlink()
        total -= entry.nbytes


def _drop_abandoned() -> None:
    for path in _files(UNFINISHED):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def listed(*, about: bool = True) -> list[Listed]:
    """All entries, the most recently used first. Raises OSError if the folder cannot be read."""
    entries = []
    for path in _files(SUFFIX):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            entries.append(Listed(path, _about(path) if about else {}, status.st_size, status.st_mtime))
    return sorted(entries, key=lambda entry: (-entry.used, entry.path.name))


def _files(suffix: str) -> list[Path]:
    place = folder()
    if place.is_dir():
        return [path for path in place.iterdir() if path.suffix == suffix and path.is_file()]
    for path in (place, place.parent):
        if path.exists():
            if not path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "is no folder; name one by GANMETRICS_CACHE", str(path))
            break
    return []


def _about(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            header = json.loads(file.readline(CHUNK))
            return dict(header["about"]) if header["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def clear(older_than: float = 0.0) -> tuple[int, int]:
    """Remove the entries not used for `older_than` seconds. Returns their number and their bytes. Raises OSError."""
    removed = [entry for entry in listed(about=False) if time.time() - entry.used >= older_than]
    for entry in removed:
        entry.path.unlink(missing_ok=True)
    _drop_abandoned()
    return len(removed), sum(entry.nbytes for entry in removed)


def unusable(error: OSError) -> str:
    """The warning for a cache that cannot be used."""
    return f"the cache in {cache_name()} cannot be used ({reason_of(error)}); going on without it"


def cache_name() -> str:
    """The folder, for a message."""
    try:
        return str(folder())
    except OSError:
        return "the home directory"


@cache
def warn_once(text: str) -> None:
    """Print a warning on stderr, once per process. Not a warning of the score: the cache does not change its value."""
    if sys.stderr is not None:
        print(f"Warning: {printable(text)}", file=sys.stderr)
