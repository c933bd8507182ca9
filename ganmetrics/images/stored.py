"""Images that are files, on disk or in archives: reading, their checksum, and which of them two sources share.

Files of two sources are compared by their bytes. Hardly any are read for that: while a file is decoded or its checksum
is taken, its length and 128 of its bytes are kept as a number (its trace), and only files of equal traces are compared.
"""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from functools import partial
from typing import BinaryIO
from weakref import WeakKeyDictionary

import numpy as np

from ganmetrics.errors import ImageError
from ganmetrics.images import fingerprint
from ganmetrics.images.base import IndexedSource, Picture
from ganmetrics.images.decode import BadImageError, decode
from ganmetrics.printable import reason_of

UNKNOWN, NONE = 0, -1  # traces: not taken yet; of a file that is empty or cannot be read
PROBE = 64  # bytes


class StoredFiles(IndexedSource):
    """Images that are files. Several threads may read them."""

    def __init__(self, name: str, n_images: int):
        super().__init__(name, n_images)
        self._traces = np.full(n_images, UNKNOWN, np.int64)
        self._shared: WeakKeyDictionary[StoredFiles, list[int]] = WeakKeyDictionary()

    @abstractmethod
    def stream(self, index: int) -> BinaryIO:
        """File `index`, opened for reading. Raises BadImageError or OSError."""

    @abstractmethod
    def location(self, index: int) -> tuple[str, int]:
        """Where the file is: a path on disk, and the offset in an archive."""

    def fingerprint(self) -> str:
        """Over the bytes of every file in order, or why it cannot be read; equal wherever the same files are stored."""
        return fingerprint.of_images(fingerprint.marks(self.mark, range(self.count)))

    def mark(self, index: int) -> bytes:
        """The checksum of a file, or the reason why it cannot be read."""
        try:
            with self.stream(index) as stream:
                self._traces[index] = _trace(stream)
                return fingerprint.mark_of_stream(getattr(stream, "raw", stream))  # without a buffer
        except BadImageError as error:
            return self._mark_of_problem(index, str(error))
        except OSError as error:
            return self._mark_of_problem(index, reason_of(error).lower())

    def _mark_of_problem(self, index: int, reason: str) -> bytes:
        self._traces[index] = NONE
        return fingerprint.mark_of_problem(reason)

    def read(self, index: int) -> Picture:
        """Decode one file. Raises ImageError with its name and the reason."""
        try:
            with self.stream(index) as stream:
                self._traces[index] = _trace(stream)
                return decode(stream, self.jpeg)
        except BadImageError as error:
            raise ImageError(self.where(index), str(error)) from error
        except OSError as error:
            raise ImageError(self.where(index), reason_of(error).lower()) from error

    def shared_with(self, other: StoredFiles) -> list[int]:
        """The indices of the files whose bytes are also a file of the other source."""
        if other not in self._shared:
            self._shared[other] = self._compared_with(other)
        return self._shared[other]

    def _compared_with(self, other: StoredFiles) -> list[int]:
        own, theirs = self._all_traces(), other._all_traces()
        both = np.intersect1d(own[own != NONE], theirs[theirs != NONE])
        mine, others = (np.flatnonzero(np.isin(traces, both)).tolist() for traces in (own, theirs))
        places = {_on_disk(*other.location(index)) for index in others}
        alike = {index for index in mine if _on_disk(*self.location(index)) in places}
        rest = [index for index in mine if index not in alike]
        marks = set(fingerprint.marks(other.mark, others)) if rest else set()
        equal = [index for index, mark in zip(rest, fingerprint.marks(self.mark, rest), strict=True) if mark in marks]
        return sorted([*alike, *equal])

    def _all_traces(self) -> np.ndarray:
        """Traces of all files; those of files that other processes read are taken now."""
        missing = np.flatnonzero(self._traces == UNKNOWN).tolist()
        for _ in fingerprint.marks(self._take_trace, missing):
            pass
        return self._traces

    def _take_trace(self, index: int) -> bytes:
        try:
            with self.stream(index) as stream:
                self._traces[index] = _trace(stream)
        except (BadImageError, OSError):
            self._traces[index] = NONE
        return b""


def _trace(stream: BinaryIO) -> int:
    """A number that files of equal bytes share, and hardly any others. The stream stays where it is, at its start."""
    if isinstance(stream, io.BytesIO):
        content = stream.getbuffer()
        size, read = len(content), lambda start: bytes(content[start : start + PROBE])
    else:
        size, read = os.fstat(stream.fileno()).st_size, partial(_read_at, stream)
    found = hash((size, read(size // 2), read(max(0, size - PROBE))))
    return found if size and found not in (UNKNOWN, NONE) else NONE


def _read_at(stream: BinaryIO, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(stream.fileno(), PROBE, start)
    stream.seek(start)  # on Windows
    found = stream.read(PROBE)
    stream.seek(0)
    return found


def _on_disk(path: str, offset: int) -> tuple[int, int, int] | str:
    """The same for the same place on disk, by whatever path."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino, offset
