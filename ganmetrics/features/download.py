"""Download one file: it is verified (size and SHA-256) and moved into place in one step, or nothing is written.

Nothing here is specific to weights.
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
"""Seconds without an answer after which a download fails."""
CHUNK = 1 << 20  # bytes


class DownloadError(Exception):
    """Only the reason, on one line; callers add the name of the file and what to do."""


def download_file(url: str, target: Path, *, size: int, sha256: str, progress: bool = True) -> None:
    """Download `url` to `target`. A partial file never has the final name, and parallel downloads do not interfere.

    The progress bar goes to stderr, only if that is a terminal.

    Raises:
        DownloadError: no connection, or the answer is not the expected file.
        OSError: the target's folder cannot be created or written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(target) as file:
        got = _copy(_body(url), file, target.name, size, progress=progress)
        if got != sha256:
            raise DownloadError(f"wrong bytes: expected SHA-256 {sha256}, got {got}")


def _body(url: str) -> Iterator[bytes]:
    """The answer in chunks; every error of the network becomes a DownloadError."""
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
    """Write the chunks and return their SHA-256. Raises DownloadError for another size than expected."""
    from tqdm import tqdm

    digest, received = hashlib.sha256(), 0
    quiet = None if progress else True  # None: quiet if stderr is not a terminal
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
