"""SHA-256 of a file. Imports no torch."""

from __future__ import annotations

import hashlib
import os

CHUNK = 1 << 20  # bytes


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, 64 hexadecimal digits. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
