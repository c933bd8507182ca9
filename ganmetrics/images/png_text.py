"""PNG files whose texts or colour profile are larger than Pillow accepts: the same picture without them.

Pillow unpacks every text and the colour profile of a PNG while it opens it, and refuses the whole file if one is above
1 MB, or all are above 64 MB together. None of them changes a pixel. These limits are settings of the process, so they
are left alone, and no more is unpacked here than they allow.
"""

from __future__ import annotations

import io
import os
import zlib
from typing import BinaryIO

from PIL import PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"iCCP", b"iTXt", b"tEXt", b"zTXt")
LARGEST_FILE = 1 << 30  # bytes; a larger one is not copied


def without_large_texts(stream: BinaryIO) -> io.BytesIO | None:
    """The file without the texts that Pillow refuses; None if it is no PNG, or has none of them. Moves the stream."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size > LARGEST_FILE or stream.read(len(SIGNATURE)) != SIGNATURE:
        return None
    kept, left = io.BytesIO(), PngImagePlugin.MAX_TEXT_MEMORY
    kept.write(SIGNATURE)
    while len(head := stream.read(8)) == 8:
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        chunk = stream.read(length + 4)  # with its checksum
        if name in TEXTS:
            unpacked = _unpacked_size(name, chunk[:-4]) if left > 0 else None
            left -= PngImagePlugin.MAX_TEXT_CHUNK if unpacked is None else unpacked
            if unpacked is None or left < 0:
                continue
        kept.write(head + chunk)
    return kept if kept.tell() < stream.tell() else None


def _unpacked_size(name: bytes, data: bytes) -> int | None:
    """The bytes of the text or profile in a chunk; None if it is malformed or above Pillow's limit."""
    _, _, data = data.partition(b"\0")  # after the key
    if name == b"tEXt":
        return len(data)
    packed = name != b"iTXt" or data[:1] != b"\0"
    if name == b"iTXt":
        data = data[1:2] + b"\0".join(data[2:].split(b"\0", 2)[2:])  # after the language and the translated key
    if not packed:
        return len(data)
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data[1:], PngImagePlugin.MAX_TEXT_CHUNK)
    except zlib.error:
        return None
    return None if data[:1] != b"\0" or unpacker.unconsumed_tail else len(text)
