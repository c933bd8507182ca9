"""Reads statistics files: our own, and the `mu`/`sigma` files of pytorch-fid, TTUR, ADM and EDM. Never unpickles."""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ganmetrics.errors import SourceError, StatisticsError
from ganmetrics.images import npy
from ganmetrics.images.pickles import EXTENSIONS, is_pickle, refusal
from ganmetrics.printable import printable
from ganmetrics.statistics.files import FORMAT, FORMAT_OF_PARTS, SUFFIXES, StatisticsFile
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.parts import Kind, Part
from ganmetrics.statistics.samples import Samples

Arrays = Mapping[str, np.ndarray]
MOMENTS = {"mu": "mu", "sigma": "sigma", "rows": "rows"}  # role -> name of the array
OF_OTHERS: dict[Kind, dict[str, str]] = {
    "features": {"mu": "mu", "sigma": "sigma"},
    "spatial": {"mu": "mu_s", "sigma": "sigma_s"},
}
READ = re.compile(
    r"(mu|sigma|rows)(_s|_logits)?(_\d+)?|count|format|protocol|parts"
)  # names of arrays that are read whole
LARGEST_DIVISOR = 2**16
KEPT_AS = {"uint8": torch.uint8, "float32": torch.float32, "float64": torch.float64}


def is_statistics_file(source: object) -> bool:
    """Whether a path is an `.npz` that holds statistics (and maybe more)."""
    if not isinstance(source, (str, os.PathLike)) or not str(source).lower().endswith(".npz"):
        return False
    try:
        with zipfile.ZipFile(os.path.expanduser(source)) as archive:
            names = set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return any(marks <= names for marks in ({"mu.npy", "sigma.npy"}, {"mu_s.npy", "sigma_s.npy"}, {"parts.npy"}))


def load(path: str | os.PathLike[str]) -> StatisticsFile:
    """Read a statistics file, ours or one of pytorch-fid, TTUR, ADM or EDM. Vectors in it stay on the disk.

    Raises StatisticsError for a file that cannot be read, needs pickle, or holds arrays that do not fit together.
    """
    name = printable(os.fspath(path))
    path = os.path.expanduser(path)
    arrays, shapes = _read(path, name)
    tag = str(arrays.get("format", ""))
    if tag.startswith("ganmetrics-") and tag not in (FORMAT, FORMAT_OF_PARTS):
        raise StatisticsError(f"{name}: written as {printable(tag)} by another version, expected {FORMAT}; upgrade")
    if tag == FORMAT:
        parts = [Part("features", _moments(name, arrays, MOMENTS, _count(name, arrays)), _protocol(name, arrays))]
    elif tag == FORMAT_OF_PARTS:
        parts = [_listed(path, name, arrays, part) for part in _parts(name, arrays)]
    else:
        parts = [
            Part(kind, _moments(name, arrays, names, None), {}, " and ".join(names.values()))
            for kind, names in OF_OTHERS.items()
            if set(names.values()) <= arrays.keys()
        ]
    labels = arrays["labels"].tolist() if tag == FORMAT_OF_PARTS and "labels" in arrays else None
    has_images = any(len(shape) in (3, 4) for shape in shapes.values())
    return StatisticsFile(parts, name, labels, has_images)


def _listed(path: str, name: str, arrays: Arrays, about: dict[str, Any]) -> Part:
    """One part of a file of several."""
    try:
        kind, names, count, keep = (about[key] for key in ("kind", "arrays", "count", "keep"))
        protocol, divisor = dict(about["protocol"]), int(about.get("divisor", 1))
        if kind not in SUFFIXES or keep not in ("Moments", "Samples") or not 1 <= divisor <= LARGEST_DIVISOR:
            raise ValueError(f"{kind} as {keep}, divided by {divisor}")
        if count is not None and (type(count) is not int or count < 1):
            raise ValueError(f"over {count!r} images")
        if keep == "Moments":
            moments = _moments(name, arrays, names, count)
            return Part(kind, moments, protocol, f"{names['mu']} and {names['sigma']}")
        vectors = npy.array_in(path, names["vectors"])
        if vectors.shape != (count, *vectors.shape[1:]) or vectors.ndim != 2 or vectors.dtype.name not in KEPT_AS:
            raise ValueError(f"vectors of shape {vectors.shape} {vectors.dtype}")
    except (LookupError, TypeError, ValueError, SourceError) as error:
        raise StatisticsError(f"{name}: its list of parts does not fit its arrays ({error})") from error
    samples = Samples.over(vectors, KEPT_AS[vectors.dtype.name], divisor=divisor)
    return Part(kind, samples, protocol, names["vectors"])


def _moments(name: str, arrays: Arrays, names: Mapping[str, str], count: int | None) -> Moments:
    mu, sigma = (arrays[names[role]] for role in ("mu", "sigma"))
    _check(name, mu, sigma, names)
    if "rows" in names and names["rows"] in arrays:
        rows = arrays[names["rows"]]
        moments = Moments()
        moments.update(torch.from_numpy(rows))
        if moments.count != count or moments.dim != len(mu):
            raise StatisticsError(f"{name}: expected {count} rows of {len(mu)}, got {rows.shape}")
        return moments
    mean, covariance = (torch.from_numpy(np.asarray(array, dtype=np.float64)) for array in (mu, sigma))  # native order
    return Moments.from_covariance(mean, covariance, count)


def _read(path: str, name: str) -> tuple[Arrays, dict[str, tuple[int, ...]]]:
    """All arrays of the file but vectors and images, and the shape of every array."""
    try:
        with open(path, "rb") as stream:
            if not zipfile.is_zipfile(stream):  # np.load would treat it as a pickle
                if is_pickle(path) or path.lower().endswith(EXTENSIONS):
                    raise StatisticsError(refusal(name))
                raise zipfile.BadZipFile
        with np.load(path, allow_pickle=False) as archive:
            known = set(archive.files)
            if not any(set(names.values()) <= known for names in OF_OTHERS.values()) and "parts" not in known:
                names = ", ".join(sorted(archive.files)) or "nothing"
                raise StatisticsError(f"{name}: expected a statistics file with mu and sigma, it holds {names}")
            shapes = npy.shapes_in(path)
            wanted = [key for key in archive.files if READ.fullmatch(key) or (key == "labels" and "parts" in known)]
            return {key: archive[key] for key in wanted}, shapes
    except StatisticsError:
        raise
    except ValueError as error:
        if "pickle" in str(error):
            raise StatisticsError(refusal(name)) from error
        raise StatisticsError(f"{name}: expected a statistics file (.npz with mu and sigma): {error}") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, LookupError, AttributeError, RuntimeError,
            SourceError) as error:  # fmt: skip
        reason = getattr(error, "strerror", None) or "it is no .npz archive, or a damaged one"
        raise StatisticsError(f"{name}: expected a statistics file (.npz with mu and sigma): {reason}") from error


def _check(path: str, mu: np.ndarray, sigma: np.ndarray, names: Mapping[str, str]) -> None:
    both = f"{names['mu']} or {names['sigma']}"
    floats = mu.dtype.kind == "f" and sigma.dtype.kind == "f"
    if not floats or mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or not len(mu):
        raise StatisticsError(
            f"{path}: expected {names['mu']} (D,) and {names['sigma']} (D, D) in floating point, "
            f"got {mu.shape} {mu.dtype} and {sigma.shape} {sigma.dtype}"
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise StatisticsError(f"{path}: NaN or infinity in {both}; the file was made from bad features")
    if np.abs(sigma - sigma.T).max() > 1e-6 * max(np.abs(sigma).max(), 1e-300) or (np.diagonal(sigma) < 0).any():
        raise StatisticsError(
            f"{path}: {names['sigma']} is no covariance matrix (not symmetric, or a negative variance)"
        )


def _count(path: str, arrays: Arrays) -> int:
    count = arrays.get("count", np.array(None))
    if count.shape != () or count.dtype.kind not in "iu" or count < 1:
        raise StatisticsError(f"{path}: expected a whole number of images as its count, got {count.tolist()!r}")
    return int(count)


def _parts(path: str, arrays: Arrays) -> list[dict[str, Any]]:
    try:
        parts = json.loads(str(arrays.get("parts", "")))
    except ValueError as error:
        raise StatisticsError(f"{path}: its list of parts is no JSON ({error})") from error
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise StatisticsError(f"{path}: expected a list of parts, got {str(parts)[:40]!r}")
    return parts


def _protocol(path: str, arrays: Arrays) -> dict[str, Any]:
    try:
        protocol = json.loads(str(arrays.get("protocol", "")))
    except ValueError as error:
        raise StatisticsError(f"{path}: its protocol entry is no JSON ({error})") from error
    if not isinstance(protocol, dict):
        raise StatisticsError(f"{path}: expected a JSON object as its protocol entry, got {str(protocol)[:40]!r}")
    return protocol
