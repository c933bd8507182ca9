"""Arrays in `.npy` and `.npz` files: memory-mapped if stored uncompressed, never unpickled."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from ganmetrics.errors import SourceError
from ganmetrics.images.pickles import HEAD, is_pickle, is_pickled, refusal
from ganmetrics.images.zips import ENCRYPTED
from ganmetrics.printable import printable, reason_of

Header = tuple[tuple[int, ...], bool, np.dtype[Any]]  # shape, Fortran order, dtype
# version 3.0 is only for structured arrays, which are not images
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def headers_in(path: str) -> dict[str, Header | None]:
    """The header of every array of an `.npz`; None for a member that is none.

    Raises SourceError for a damaged or encrypted archive.
    """
    with _archive(path) as archive:
        infos = archive.infolist()
        return {info.filename.removesuffix(".npy"): _peek(archive, info, printable(path)) for info in infos}


def shapes_in(path: str) -> dict[str, tuple[int, ...]]:
    """The shape of every array of an `.npz`, from the headers only; empty for a member that is none.

    Raises SourceError for a damaged or encrypted archive.
    """
    return {key: header[0] if header else () for key, header in headers_in(path).items()}


def array_in(path: str, key: str) -> np.ndarray:
    """One array of an `.npz`: memory-mapped if stored uncompressed. Raises SourceError if it cannot be read."""
    with _archive(path) as archive:
        return _member(path, archive, archive.getinfo(f"{key}.npy"), f"{printable(path)}: array {printable(key)!r}")


def npy_header(path: str) -> Header:
    """Shape, order and dtype of an `.npy`. Raises SourceError for a file that is not an array."""
    try:
        with open(path, "rb") as stream:
            return _header(stream, printable(path))
    except OSError as error:
        raise SourceError(f"{printable(path)}: cannot be read: {reason_of(error).lower()}") from error


def mapped_npy(path: str) -> np.ndarray:
    """The array of an `.npy`, memory-mapped. Raises SourceError for a file that is not an array or needs pickle."""
    name = printable(path)
    try:
        with open(path, "rb") as stream:
            header = _header(stream, name)
            return _mapped(path, header, stream.tell(), name)
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {reason_of(error).lower()}") from error


@contextmanager
def _archive(path: str) -> Iterator[zipfile.ZipFile]:
    """An opened `.npz`, whose faults become SourceErrors."""
    name = printable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        reason = refusal(name) if is_pickle(path) else f"{name}: is no .npz archive, or a damaged one ({error})"
        raise SourceError(reason) from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{name}: damaged .npz archive ({error})") from error
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {reason_of(error).lower()}") from error


def _header(stream: BinaryIO | Any, where: str) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = READERS[version](stream)
    except (ValueError, KeyError, EOFError) as error:
        stream.seek(0)
        if is_pickled(stream.read(HEAD)):
            raise SourceError(refusal(where)) from error
        raise SourceError(f"{where}: is no array in NumPy's format ({' '.join(str(error).split())})") from error
    return shape, fortran, dtype


def refuse_pickle(dtype: np.dtype[Any], where: str) -> None:
    if dtype.hasobject:
        raise SourceError(refusal(where))


def _mapped(path: str, header: Header, offset: int, where: str) -> np.ndarray:
    shape, fortran, dtype = header
    refuse_pickle(dtype, where)
    needed = int(np.prod(shape, dtype=object)) * dtype.itemsize  # Python integers do not overflow
    if not needed:
        raise SourceError(f"{where}: holds no image, its shape is {shape}")
    if os.path.getsize(path) < offset + needed:
        raise SourceError(f"{where}: truncated file: the shape {shape} needs {needed:,} bytes of pixels")
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def _peek(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Header | None:
    """The header of one member; None if it is not an array."""
    if info.flag_bits & ENCRYPTED:
        raise SourceError(f"{name}: encrypted archive; unpack it with its password first")
    with archive.open(info) as stream:
        try:
            return _header(stream, name)
        except SourceError:
            return None


def _member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> np.ndarray:
    """One member: memory-mapped if stored uncompressed, as numpy.savez does, else unpacked once."""
    with archive.open(info) as stream:
        header = _header(stream, where)
        refuse_pickle(header[2], where)
        size = stream.tell()
        if info.compress_type == zipfile.ZIP_STORED:
            return _mapped(path, header, _data_offset(path, info) + size, where)
        shape, fortran, dtype = header
        pixels = np.empty(int(np.prod(shape, dtype=object)) * dtype.itemsize, np.uint8)
        if _fill(stream, pixels) < pixels.nbytes:
            raise SourceError(f"{where}: truncated: the shape {shape} needs {pixels.nbytes:,} bytes of pixels")
    return pixels.view(dtype).reshape(shape, order="F" if fortran else "C")


def _fill(stream: Any, pixels: np.ndarray) -> int:
    """Read into the bytes `pixels` until it is full or the stream ends; returns the number of bytes read."""
    filled = 0
    while filled < pixels.nbytes and (part := stream.read(min(1 << 24, pixels.nbytes - filled))):
        pixels[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    return filled


def _data_offset(path: str, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin: after 30 bytes of local header, the name and the extra field."""
    with open(path, "rb") as stream:
        stream.seek(info.header_offset + 26)  # the lengths of name and extra field
        name_length, extra_length = struct.unpack("<HH", stream.read(4))
    return info.header_offset + 30 + int(name_length) + int(extra_length)
