"""One checksum over the bytes of all images of a source, in order; names and dates do not count.

An image is represented by its mark: a checksum of its bytes, or the reason why it cannot be read.
SHA-256, because processors have instructions for it: about 2 GB/s a core, faster than disks and than any decoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, TypeVar

from ganmetrics.runtime.device import default_workers

CHUNK = 1 << 20  # bytes
TASK, WAVE = 32, 4096  # files in one task of a thread, and in all tasks that are queued at a time
T = TypeVar("T")


def of_images(marks: Iterable[bytes]) -> str:
    """Checksum of a sequence of images, from their marks."""
    whole = hashlib.sha256()
    for mark in marks:
        # with lengths, so that different sequences of marks never give the same bytes
        whole.update(len(mark).to_bytes(8, "big") + mark)
    return whole.hexdigest()


def mark_of_bytes(content: bytes | memoryview) -> bytes:
    """The mark of a file with this content."""
    return b"=" + hashlib.sha256(content).digest()  # "=" for contents, "!" for reasons: never equal


def mark_of_stream(file: BinaryIO) -> bytes:
    """The same mark for what is left of an open file. Raises OSError."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return b"=" + digest.digest()


def mark_of_problem(reason: str) -> bytes:
    """The mark of an image that cannot be read."""
    return b"!" + reason.encode(errors="backslashreplace")


def marks(mark: Callable[[T], bytes], items: Sequence[T]) -> Iterator[bytes]:
    """Marks of all items, in order, computed by as many threads as decode images."""
    with ThreadPoolExecutor(default_workers(), thread_name_prefix="ganmetrics-checksums") as pool:
        for start in range(0, len(items), WAVE):
            tasks = [items[i : i + TASK] for i in range(start, min(start + WAVE, len(items)), TASK)]
            for done in pool.map(lambda part: [mark(item) for item in part], tasks):
                yield from done
