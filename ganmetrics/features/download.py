"""Download one file: it is verified (size and SHA-256) and moved into place in one step, or nothing is written.

A download that fails on the way is tried again, and goes on where it stopped if the server allows that: a Range request
(RFC 9110, section 14), with If-Range where the server names its version of the file by an ETag. Proxies are those of
the environment: http_proxy, https_proxy, no_proxy. Nothing here is specific to weights.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ganmetrics.disk.writing import write_whole
from ganmetrics.printable import TOLD, cut, reason_of

TIMEOUT = 20.0
"""Seconds without an answer after which a try fails."""
TRIES = 3
PAUSE = 1.0  # seconds before the second try; twice as long before the third
LONGEST_PAUSE = 30.0  # seconds, if the server asks for one by Retry-After
TEMPORARY = (408, 416, 425, 429, 500, 502, 503, 504)  # HTTP errors after which another try may succeed
CHUNK = 1 << 16  # bytes; what is lost at most when a connection breaks off


class DownloadError(Exception):
    """Only the reason and the number of tries, on one line; callers add the name of the file and what to do."""


class _TryError(Exception):
    """Why one try failed, on one line; whether another may succeed, the pause that the server asks for, and a hint."""

    def __init__(self, reason: str, *, again: bool = True, pause: float = 0.0, hint: str = ""):
        super().__init__(reason)
        self.again, self.pause, self.hint = again, pause, hint


def download_file(url: str, target: Path, *, size: int, sha256: str, progress: bool = True) -> None:
    """Download `url` to `target`. A partial file never has the final name, and parallel downloads do not interfere.

    The progress bar goes to stderr, only if that is a terminal.

    Raises:
        DownloadError: no connection, or the answer is not the expected file.
        OSError: the target's folder cannot be created or written to.
    """
    from tqdm import tqdm

    target.parent.mkdir(parents=True, exist_ok=True)
    quiet = None if progress else True  # None: quiet if stderr is not a terminal
    bar = tqdm(total=size, desc=target.name, disable=quiet, unit="B", unit_scale=True, leave=False)
    with write_whole(target) as file, bar:
        arriving = _Arriving(file, bar, size, sha256)
        for tries in range(1, TRIES + 1):
            try:
                arriving.fetch(url)
                break
            except _TryError as failure:
                if not failure.again or tries == TRIES:
                    many = "1 try" if tries == 1 else f"{tries} tries"
                    raise DownloadError(f"{failure} ({many}{failure.hint})") from None
                time.sleep(min(max(PAUSE * 2 ** (tries - 1), failure.pause), LONGEST_PAUSE))


class _Arriving:
    """The file while it arrives, over several tries: what has been written, its hash, and the server's ETag of it."""

    def __init__(self, file: BinaryIO, bar: Any, size: int, sha256: str):
        self.file, self.bar, self.size, self.sha256 = file, bar, size, sha256
        self.restart()

    def restart(self) -> None:
        """Forget what has arrived."""
        self.file.seek(0)
        self.file.truncate()
        self.bar.reset(self.size)
        self.count, self.digest, self.etag = 0, hashlib.sha256(), ""

    def fetch(self, url: str) -> None:
        """One try. Raises _TryError unless afterwards the whole file has arrived."""
        resumed = self.count > 0
        if self.count < self.size:
            with self._answer(url) as answer:
                resumed = self._continues(answer)
                for chunk in _chunks(answer):
                    self._write(chunk)
        if self.count < self.size:
            raise _TryError(f"expected {self.size:,} bytes, got {self.count:,}")
        if (got := self.digest.hexdigest()) != self.sha256:
            self.restart()
            # The parts of a resumed file may be of two versions; a file from one answer is what the server has.
            raise _TryError(f"wrong bytes: expected SHA-256 {self.sha256}, got {got}", again=resumed)

    def _answer(self, url: str) -> Any:
        """The server's answer, to a request for the rest if a part has arrived."""
        headers = {"Range": f"bytes={self.count}-", "If-Range": self.etag} if self.count else {}
        try:
            request = urllib.request.Request(url, headers={name: value for name, value in headers.items() if value})
            # Not `urlopen`, which remembers the proxies of its first call.
            return urllib.request.build_opener().open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the server's file is no longer than the part that has arrived
                self.restart()
            raise _TryError(
                f"HTTP {error.code} {error.reason}", again=error.code in TEMPORARY, pause=_pause_of(error)
            ) from None
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise _failed(error) from None

    def _continues(self, answer: Any) -> bool:
        """Whether the answer is the rest of the file; if it is the whole, what has arrived is forgotten.

        Raises _TryError for an answer that is neither.
        """
        if self.count and answer.status == 206:
            stated = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if stated and int(stated[1]) == self.count and stated[2] in ("*", str(self.size)):
                return True
            self.restart()
            raise _TryError("the server answered with another part of the file than was asked for")
        self.restart()
        etag = answer.headers.get("ETag") or ""
        self.etag = "" if etag.startswith("W/") else etag  # RFC 9110, section 13.1.5: If-Range takes no weak ones
        length = answer.headers.get("Content-Length", "")
        if length.isdigit() and int(length) != self.size:
            raise _TryError(f"expected {self.size:,} bytes, the server has {int(length):,}", again=False)
        return False

    def _write(self, chunk: bytes) -> None:
        self.count += len(chunk)
        if self.count > self.size:
            raise _TryError(f"expected {self.size:,} bytes, got more", again=False)
        self.file.write(chunk)
        self.digest.update(chunk)
        self.bar.update(len(chunk))


def _chunks(answer: Any) -> Iterator[bytes]:
    """The body of an answer. Raises _TryError for errors of the network alone, not for those of writing."""
    while True:
        try:
            chunk = answer.read(CHUNK)
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise _failed(error) from None
        if not chunk:
            return
        yield chunk


def _failed(error: Exception) -> _TryError:
    """An error of the network. Another try is of no use for a malformed address or a certificate that is refused."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    final = isinstance(cause, (ssl.SSLCertVerificationError, FileNotFoundError))
    if final or not isinstance(cause, (http.client.HTTPException, OSError)):
        return _TryError(reason_of(cause) if isinstance(cause, Exception) else cut(str(cause), TOLD), again=False)
    reason = f"no answer within {TIMEOUT:.0f} s" if isinstance(cause, TimeoutError) else reason_of(cause)
    return _TryError(reason, hint="; behind a proxy, name it in https_proxy")


def _pause_of(error: urllib.error.HTTPError) -> float:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3); 0 if it names none, or a date."""
    stated = error.headers.get("Retry-After") or ""
    return float(stated) if stated.isdigit() else 0.0
