"""Pickled files, which are recognised and never read: a pickle can run any code. What to do instead, in one line."""

from __future__ import annotations

import os

EXTENSIONS = (".p", ".pickle", ".pkl")
ARRAY, OBJECTS, HEAD = b"\x93NUMPY", b"'|O'", 128  # NumPy's format, the dtype in its header, bytes that hold both
START, PROTOCOLS = 0x80, range(2, 6)  # the first two bytes of a pickle; protocols 0 and 1 have none of their own


def is_pickle(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` is a pickle, or an array of Python objects in NumPy's format. Raises OSError."""
    with open(path, "rb") as stream:
        return is_pickled(stream.read(HEAD))


def is_pickled(head: bytes) -> bool:
    """`is_pickle` of a file that begins with these bytes."""
    if head.startswith(ARRAY):
        return OBJECTS in head
    return len(head) > 1 and head[0] == START and head[1] in PROTOCOLS


def refusal(where: str) -> str:
    """The error for what only pickle could read; `where` names it."""
    return (
        f"{where}: holds Python objects, which only pickle could read, and a pickle can run any code; if you trust it, "
        "load it yourself and save statistics with np.savez('ref.npz', mu=..., sigma=...), or images as one uint8 "
        "array with np.save('images.npy', ...)"
    )
