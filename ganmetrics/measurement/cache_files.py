"""Statistics kept on disk from one measurement to the next: one file an entry, below the user's cache folder.

An entry is a line of JSON (what it is about, which arrays follow), the arrays as raw bytes, and the SHA-256 of all
that. It appears under its name in one move, whole, and is never changed; whatever does not match its checksum is no
entry. The least recently used go first where room is needed. Nothing is ever unpickled. Imports no torch.
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

FORMAT = "ganmetrics-reference-statistics-1"
LIMIT = 4 * 10**9  # bytes in all
SHARE = 4  # an entry may take one part in so many of it
ABANDONED = 600  # seconds after which an unfinished file is taken to be of a process that was killed
ITEMSIZE = {"uint8": 1, "float32": 4, "float64": 8}
CHUNK = 1 << 20
DIGEST = hashlib.sha256().digest_size
SUFFIX, UNFINISHED = ".statistics", ".part"


@dataclass(frozen=True)
class Array:
    """One array: its dtype, shape, and bytes, to be written in `blocks` or to be found at `start` of the entry."""

    dtype: str
    shape: tuple[int, ...]
    blocks: Iterable[Any] = ()
    start: int = 0

    @property
    def nbytes(self) -> int:
        return ITEMSIZE[self.dtype] * prod(self.shape)


@dataclass(frozen=True)
class Entry:
    """A verified entry: what it is about, its arrays by name, and the open file that holds them."""

    about: dict[str, Any]
    arrays: dict[str, Array]
    file: IO[bytes]


@dataclass(frozen=True)
class Listed:
    """An entry as a listing has it; `about` is empty where it cannot be read. `used` is in seconds since 1970."""

    path: Path
    about: dict[str, Any]
    nbytes: int
    used: float


class TooLargeError(Exception):
    """An entry that would take more than its share; the message says so in whole words."""


def folder() -> Path:
    """Where the entries lie. It may not exist yet. Raises OSError for a user without a home directory."""
    try:
        found = cache_dir() / "statistics"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    if str(found).startswith("~"):
        raise OSError("this user has no home directory; set GANMETRICS_CACHE")
    return found


def limit() -> int:
    """Bytes that all entries together may take: `GANMETRICS_CACHE_LIMIT`, else 4 GB; 0 keeps nothing.

    Raises OptionError.
    """
    named = os.environ.get("GANMETRICS_CACHE_LIMIT", "").strip()
    if not named:
        return LIMIT
    if named == "0":
        return 0
    try:
        return parse_memory(named)
    except OptionError:
        raise OptionError(
            f"GANMETRICS_CACHE_LIMIT: expected at least 1MB, such as 500MB or 4GB, or 0 for no cache, got {named!r}"
        ) from None


def read(key: str) -> Entry | None:
    """The entry, or None where there is none; one that is damaged is dropped, and said to be. Raises OSError."""
    path = folder() / f"{key}{SUFFIX}"
    try:
        file = open(path, "rb")  # noqa: SIM115  (it lives as long as what is in it)
    except FileNotFoundError:
        return None
    try:
        found = _verified(file, key)
    except BaseException:
        file.close()
        raise
    if found is None:
        file.close()
        with contextlib.suppress(OSError):
            path.unlink()
        warn_once(f"{path}: an entry of the cache was damaged; it was dropped, and the images are measured again")
    else:
        with contextlib.suppress(OSError):
            os.utime(path)
    return found


def _verified(file: IO[bytes], key: str) -> Entry | None:
    """None unless every byte is what was written."""
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
    """Keep an entry, in one move. Raises OSError, and TooLargeError for what alone takes more than its share."""
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
    """Drop the least recently used entries until the others take at most `allowed` bytes, and what was abandoned."""
    _drop_abandoned()
    kept = listed(about=False)
    total = sum(one.nbytes for one in kept)
    for one in reversed(kept):
        if total <= allowed:
            return
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            one.path.unlink()
        total -= one.nbytes


def _drop_abandoned() -> None:
    for path in _files(UNFINISHED):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def listed(*, about: bool = True) -> list[Listed]:
    """All entries, those last used first. Raises OSError where the folder cannot be read."""
    found = []
    for path in _files(SUFFIX):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append(Listed(path, _about(path) if about else {}, status.st_size, status.st_mtime))
    return sorted(found, key=lambda one: (-one.used, one.path.name))


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
    """Drop what was not used for so many seconds; how many entries that were, and how many bytes. Raises OSError."""
    dropped = [one for one in listed(about=False) if time.time() - one.used >= older_than]
    for one in dropped:
        one.path.unlink(missing_ok=True)
    _drop_abandoned()
    return len(dropped), sum(one.nbytes for one in dropped)


def unusable(error: OSError) -> str:
    """What to say of a cache that cannot be used."""
    return f"the cache in {cache_name()} cannot be used ({reason_of(error)}); going on without it"


def cache_name() -> str:
    """The folder, for a message."""
    try:
        return str(folder())
    except OSError:
        return "the home directory"


@cache
def warn_once(text: str) -> None:
    """One line on stderr, once in a process: a cache that fails is no reason to doubt the score."""
    if sys.stderr is not None:
        print(f"Warning: {printable(text)}", file=sys.stderr)
