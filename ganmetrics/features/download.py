"""One file from the network into a folder: whole, verified (size and SHA-256) and moved into place in one step, or not
at all. It knows nothing of weights.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ganmetrics.disk.writing import write_whole
from ganmetrics.printable import reason_of

TIMEOUT = 20.0
"""Seconds without an answer after which a download is given up."""
CHUNK = 1 << 20


class DownloadError(Exception):
    """The reason alone, on one line; the callers add what they know."""


def download_file(url: str, target: Path, *, size: int, sha256: str, progress: bool = True) -> None:
    """Nothing half-written is ever under the final name, and processes that download at once do not disturb each other.

    The bar goes to stderr, and only where that is a terminal.

    Raises:
        DownloadError: no connection, or another answer than the file.
        OSError: the target's folder cannot be made or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(target) as file:
        got = _copy(_body(url), file, target.name, size, progress=progress)
        if got != sha256:
            raise DownloadError(f"wrong bytes: expected SHA-256 {sha256}, got {got}")


def _body(url: str) -> Iterator[bytes]:
    """The answer in chunks; everything a network can do wrong becomes a DownloadError."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            while chunk := response.read(CHUNK):
                yield chunk
    except urllib.error.HTTPError as error:
        raise DownloadError(f"HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise DownloadError(_reason_of(error.reason)) from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise DownloadError(_reason_of(error)) from None


def _reason_of(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    return reason_of(error) if isinstance(error, BaseException) else " ".join(str(error).split())


def _copy(chunks: Iterable[bytes], file: BinaryIO, name: str, size: int, *, progress: bool) -> str:
    """Write the chunks, at most one more than expected, and return their SHA-256."""
    from tqdm import tqdm

    digest, received = hashlib.sha256(), 0
    quiet = None if progress else True  # None: quiet where stderr is no terminal
    with tqdm(total=size, desc=name, disable=quiet, unit="B", unit_scale=True, leave=False) as bar:
        for chunk in chunks:
            received += len(chunk)
            if received > size:
                raise DownloadError(f"expected {size:,} bytes, got more")
            file.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    if received < size:
        raise DownloadError(f"expected {size:,} bytes, got {received:,}")
    return digest.hexdigest()
