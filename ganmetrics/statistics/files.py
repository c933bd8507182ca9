"""Statistics on disk: our own `.npz`, and the `mu`/`sigma` files of pytorch-fid, TTUR, ADM and EDM.

Our file holds `mu` and `sigma` too, so the other tools can read it. It adds the count, the protocol of the measurement
and, if there are no more images than dimensions, the vectors themselves. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ganmetrics.disk import writing
from ganmetrics.errors import StatisticsError
from ganmetrics.printable import printable, reason_of
from ganmetrics.statistics.moments import Moments

WIDEST = 16_384  # dimensions; their covariance takes 2 GB
FORMAT = "ganmetrics-moments-1"


@dataclass
class StatisticsFile:
    """Moments and how they were measured; `protocol` is empty for a file of another tool."""

    moments: Moments
    protocol: dict[str, Any] = field(default_factory=dict)
    origin: str = ""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write to an `.npz`, as a whole or not at all; see `write`."""
        write(path, self, overwrite=overwrite)


def is_statistics_file(source: object) -> bool:
    """Whether a path is an `.npz` that holds `mu` and `sigma` (and maybe more)."""
    if not isinstance(source, (str, os.PathLike)) or not str(source).lower().endswith(".npz"):
        return False
    try:
        with zipfile.ZipFile(os.path.expanduser(source)) as archive:
            return {"mu.npy", "sigma.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def require_writable(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Check a path before slow work begins. Raises StatisticsError if it cannot be written."""
    writing.require_writable(path, ".npz", overwrite=overwrite, error=StatisticsError)


def write(path: str | os.PathLike[str], statistics: StatisticsFile, *, overwrite: bool = False) -> None:
    """Write as a whole or not at all, so that nobody reads half a file. On StatisticsError an existing file stays."""
    moments = statistics.moments
    if not moments.count:
        raise StatisticsError("cannot write statistics: there are no images, or their number is unknown")
    require_writable(path, overwrite=overwrite)
    rows = moments.rows()
    sigma = _covariance(moments)
    arrays = {
        "mu": moments.mean().cpu().numpy(),
        "sigma": sigma.cpu().numpy(),
        "count": np.array(moments.count),
        "format": np.array(FORMAT),
        "protocol": np.array(json.dumps(statistics.protocol)),
        **({} if rows is None else {"rows": rows.cpu().numpy()}),
    }
    try:
        with writing.write_whole(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type] # mypy takes an array for allow_pickle
    except OSError as error:
        raise StatisticsError(f"{printable(os.fspath(path))}: cannot be written ({reason_of(error)})") from error


def _covariance(moments: Moments) -> torch.Tensor:
    dim = moments.dim or 0
    if dim > WIDEST:
        raise StatisticsError(
            f"statistics of {dim} dimensions would hold a covariance of {dim**2 * 8 / 1e9:.0f} GB; expected at most "
            f"{WIDEST} dimensions; use features that pool, or compare the images directly"
        )
    # One image has no covariance, but a file without `sigma` is none. The vector itself is in `rows`.
    return moments.covariance() if (moments.count or 0) > 1 else torch.zeros(dim, dim)


def load(path: str | os.PathLike[str]) -> StatisticsFile:
    """Read a statistics file, ours or one of pytorch-fid, TTUR, ADM or EDM.

    Raises StatisticsError for a file that cannot be read, needs pickle, or holds arrays that do not fit together.
    """
    name = printable(os.fspath(path))
    arrays = _read(os.path.expanduser(path), name)
    _check(name, arrays["mu"], arrays["sigma"])
    mu, sigma = (np.asarray(arrays[key], dtype=np.float64) for key in ("mu", "sigma"))  # in native byte order
    tag = str(arrays.get("format", ""))
    if tag.startswith(FORMAT.rpartition("-")[0]) and tag != FORMAT:
        raise StatisticsError(f"{name}: written as {printable(tag)} by another version, expected {FORMAT}; upgrade")
    if tag != FORMAT:
        return StatisticsFile(Moments.from_covariance(torch.from_numpy(mu), torch.from_numpy(sigma)), {}, name)
    count, protocol = _count(name, arrays), _protocol(name, arrays)
    if "rows" in arrays:
        moments = Moments()
        moments.update(torch.from_numpy(arrays["rows"]))
        if moments.count != count or moments.dim != len(mu):
            raise StatisticsError(f"{name}: expected {count} rows of {len(mu)}, got {arrays['rows'].shape}")
    else:
        moments = Moments.from_covariance(torch.from_numpy(mu), torch.from_numpy(sigma), count)
    return StatisticsFile(moments, protocol, name)


def _read(path: str | os.PathLike[str], name: str) -> dict[str, np.ndarray]:
    wanted = ("mu", "sigma", "count", "format", "protocol", "rows")
    try:
        with open(path, "rb") as stream:
            if not zipfile.is_zipfile(stream):  # np.load would treat it as a pickle
                raise zipfile.BadZipFile
        with np.load(path, allow_pickle=False) as archive:
            missing = {"mu", "sigma"} - set(archive.files)
            if missing:
                names = ", ".join(sorted(archive.files)) or "nothing"
                raise StatisticsError(f"{name}: expected a statistics file with mu and sigma, it holds {names}")
            return {key: archive[key] for key in wanted if key in archive.files}
    except StatisticsError:
        raise
    except ValueError as error:
        reason = "it needs pickle, which can run code and is never read" if "pickle" in str(error) else error
        raise StatisticsError(f"{name}: expected a statistics file (.npz with mu and sigma): {reason}") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, AttributeError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it is no .npz archive, or a damaged one"
        raise StatisticsError(f"{name}: expected a statistics file (.npz with mu and sigma): {reason}") from error


def _check(path: str, mu: np.ndarray, sigma: np.ndarray) -> None:
    floats = mu.dtype.kind == "f" and sigma.dtype.kind == "f"
    if not floats or mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or not len(mu):
        raise StatisticsError(
            f"{path}: expected mu (D,) and sigma (D, D) in floating point, "
            f"got {mu.shape} {mu.dtype} and {sigma.shape} {sigma.dtype}"
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise StatisticsError(f"{path}: NaN or infinity in mu or sigma; the file was made from bad features")
    if np.abs(sigma - sigma.T).max() > 1e-6 * max(np.abs(sigma).max(), 1e-300) or (np.diagonal(sigma) < 0).any():
        raise StatisticsError(f"{path}: sigma is no covariance matrix (not symmetric, or a negative variance)")


def _count(path: str, arrays: dict[str, np.ndarray]) -> int:
    count = arrays.get("count", np.array(None))
    if count.shape != () or count.dtype.kind not in "iu" or count < 1:
        raise StatisticsError(f"{path}: expected a whole number of images as its count, got {count.tolist()!r}")
    return int(count)


def _protocol(path: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    try:
        protocol = json.loads(str(arrays.get("protocol", "")))
    except ValueError as error:
        raise StatisticsError(f"{path}: its protocol entry is no JSON ({error})") from error
    if not isinstance(protocol, dict):
        raise StatisticsError(f"{path}: expected a JSON object as its protocol entry, got {str(protocol)[:40]!r}")
    return protocol
