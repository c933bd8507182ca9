"""Bad files of every kind, for the tests of the command line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.pictures import NO_IMAGE

BYTES = os.fsdecode(b"caf\xe9")  # a name that is not UTF-8


def spoil(folder: Path, good: bytes) -> dict[str, str]:
    """Put one bad file of every kind into a folder; returns their printed paths and the reasons."""
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    (folder / "cut.png").write_bytes(good[:50])
    Image.fromarray(np.zeros((2, 2), np.float32)).save(folder / "float.tiff")
    os.symlink("nowhere", folder / "link.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "new\nline.png").touch()
    (folder / f"{BYTES}.png").touch()
    reasons = {
        r"caf\xe9.png": "empty file (0 bytes)",
        "cut.png": "truncated file",
        "empty.png": "empty file (0 bytes)",
        "float.tiff": "floating point pixels have no range to scale by; save it with 8 bits a channel",
        "link.png": "broken link",
        r"new\nline.png": "empty file (0 bytes)",
        "pipe.png": "not a regular file",
        "text.jpg": NO_IMAGE,
    }
    return {f"{folder}/{name}": reason for name, reason in reasons.items()}
