"""Write `.npz` archives block by block, so that arrays may be larger than memory."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ganmetrics.disk import writing


@dataclass(frozen=True)
class Blocks:
    """An array that arrives in blocks of rows; `shape` is that of all of them together."""

    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Iterable[np.ndarray]


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray | Blocks]) -> None:
    """Write an uncompressed `.npz` as a whole or not at all. Raises OSError."""
    with writing.write_whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            # A ZipInfo has a fixed date, so equal contents are equal files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                if isinstance(array, np.ndarray):
                    np.lib.format.write_array(member, array, allow_pickle=False)
                    continue
                header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(member, header)
                for block in array.blocks:
                    member.write(np.ascontiguousarray(block, dtype=array.dtype).data)
