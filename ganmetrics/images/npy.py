"""`.npy` and `.npz` files of images: memory-mapped if stored uncompressed, never unpickled."""

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
from ganmetrics.images.arrays import ArraySource
from ganmetrics.images.base import PixelRule
from ganmetrics.images.files import ENCRYPTED
from ganmetrics.images.names import some
from ganmetrics.images.pickles import is_pickle, refusal
from ganmetrics.printable import printable, reason_of

STATISTICS, LABELS = {"mu", "sigma"}, "arr_1"
Header = tuple[tuple[int, ...], bool, np.dtype[Any]]  # shape, Fortran order, dtype
# version 3.0 is only for structured arrays, which are not images
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def open_npy(path: str, rule: PixelRule) -> ArraySource:
    """One array of images, memory-mapped. Raises SourceError for a file that is not an array or needs pickle."""
    return ArraySource(printable(path), mapped_npy(path), rule)


def open_npz(path: str, rule: PixelRule) -> ArraySource:
    """The images of an `.npz`: its array `arr_0`, or its only array with three or four axes.

    Whole numbers in `arr_1`, one for each image, are the classes (the format of guided-diffusion's samples).
    Raises SourceError if there is no such array or several, for a file of statistics, and if pickle is needed.
    """
    name = printable(path)
    with _archive(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        key = _choose({key: _peek(archive, info, name) for key, info in members.items()}, name)
        where = f"{name}: array {printable(key)!r}"
        source = ArraySource(name, _member(path, archive, members[key], where), rule)
        if key == "arr_0" and LABELS in members:
            source.labels = _labels(path, archive, members[LABELS], len(source))
        return source


def shapes_in(path: str) -> dict[str, tuple[int, ...]]:
    """The shape of every array of an `.npz`, from the headers only; empty for a member that is none.

    Raises SourceError for a damaged or encrypted archive.
    """
    with _archive(path) as archive:
        infos = archive.infolist()
        return {info.filename.removesuffix(".npy"): _peek(archive, info, printable(path)) for info in infos}


def array_in(path: str, key: str) -> np.ndarray:
    """One array of an `.npz`: memory-mapped if stored uncompressed. Raises SourceError if it cannot be read."""
    with _archive(path) as archive:
        return _member(path, archive, archive.getinfo(f"{key}.npy"), f"{printable(path)}: array {printable(key)!r}")


def mapped_npy(path: str) -> np.ndarray:
    """The array of an `.npy`, memory-mapped. Raises SourceError for a file that is not an array or needs pickle."""
    name = printable(path)
    try:
        if is_pickle(path):
            raise SourceError(refusal(name))
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


def _labels(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, n_images: int) -> list[str] | None:
    """One whole number for each image, as text; None if the array is something else."""
    with archive.open(info) as stream:
        try:
            shape, _, dtype = _header(stream, path)
        except SourceError:
            return None
    fits = shape == (n_images,) and dtype.kind in "iu"
    return [str(label) for label in _member(path, archive, info, path).tolist()] if fits else None


def _header(stream: BinaryIO | Any, where: str) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = READERS[version](stream)
    except (ValueError, KeyError, EOFError) as error:
        raise SourceError(f"{where}: is no array in NumPy's format ({' '.join(str(error).split())})") from error
    return shape, fortran, dtype


def _refuse_pickle(dtype: np.dtype[Any], where: str) -> None:
    if dtype.hasobject:
        raise SourceError(refusal(where))


def _mapped(path: str, header: Header, offset: int, where: str) -> np.ndarray:
    shape, fortran, dtype = header
    _refuse_pickle(dtype, where)
    needed = int(np.prod(shape, dtype=object)) * dtype.itemsize  # Python integers do not overflow
    if not needed:
        raise SourceError(f"{where}: holds no image, its shape is {shape}")
    if os.path.getsize(path) < offset + needed:
        raise SourceError(f"{where}: truncated file: the shape {shape} needs {needed:,} bytes of pixels")
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def _peek(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> tuple[int, ...]:
    """Shape of one member, read from its header only; empty if it is not an array."""
    if info.flag_bits & ENCRYPTED:
        raise SourceError(f"{name}: encrypted archive; unpack it with its password first")
    with archive.open(info) as stream:
        try:
            return _header(stream, name)[0]
        except SourceError:
            return ()


def _choose(shapes: dict[str, tuple[int, ...]], name: str) -> str:
    candidates = [key for key, shape in shapes.items() if len(shape) in (3, 4)]
    if "arr_0" in candidates:
        return "arr_0"
    if len(candidates) == 1:
        return candidates[0]
    if not candidates and shapes.keys() >= STATISTICS:
        raise SourceError(f"{name}: holds statistics (mu and sigma), not images; this use needs the images themselves")
    keys = some([f"{key} {shape}" for key, shape in shapes.items()], limit=12) or "no array"
    raise SourceError(
        f"{name}: expected images in an array arr_0, or in the only array with 3 or 4 axes; found {keys}; "
        "save them again with numpy.savez(file, images)"
    )


def _member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> np.ndarray:
    """One member: memory-mapped if stored uncompressed, as numpy.savez does, else unpacked once."""
    with archive.open(info) as stream:
        header = _header(stream, where)
        _refuse_pickle(header[2], where)
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
