"""Saved statistics, and how they are written: our own `.npz`, which other tools read too.

It holds `mu` and `sigma` of the features, as the files of pytorch-fid, TTUR, ADM and EDM do. It adds the count, the
protocol of the measurement and, if there are no more images than dimensions, the vectors themselves. A file of several
parts (vectors, logits, spatial features) lists them in `parts`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ganmetrics.disk import writing
from ganmetrics.errors import StatisticsError
from ganmetrics.printable import printable, reason_of
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.npz import Blocks, write_npz
from ganmetrics.statistics.parts import Kind, Part
from ganmetrics.statistics.samples import STORED, Samples
from ganmetrics.statistics.transfer import Statistic

WIDEST = 16_384  # dimensions; their covariance takes 2 GB
FORMAT, FORMAT_OF_PARTS = "ganmetrics-moments-1", "ganmetrics-statistics-2"
Array = np.ndarray | Blocks
SUFFIXES: dict[Kind, str] = {"features": "", "spatial": "_s", "logits": "_logits"}  # mu_s, sigma_s: the names of ADM


@dataclass(frozen=True)
class StatisticsFile:
    """The parts of a statistics file, or statistics to save as one.

    Attributes:
        parts: in the order of the file. A need is served by the first part that fits.
        origin: name of the file in messages.
        labels: the class of every vector, in order, if known.
        has_images: whether the file also holds images, as the reference batches of ADM do.
    """

    parts: Sequence[Part]
    origin: str = ""
    labels: Sequence[str] | None = None
    has_images: bool = False

    @classmethod
    def of(cls, moments: Moments, protocol: dict[str, Any] | None = None, origin: str = "") -> StatisticsFile:
        """A file of the moments of features alone."""
        return cls([Part("features", moments, protocol or {})], origin)

    @property
    def moments(self) -> Moments:
        """Moments of the features, or of the first part if it has none."""
        return self._main.moments()

    @property
    def protocol(self) -> dict[str, Any]:
        """How the features, or else the vectors of the first part, were measured; empty for a file of another tool."""
        return self._main.protocol

    @property
    def count(self) -> int | None:
        """The number of images; None if the file does not say it."""
        return self._main.statistic.count

    @property
    def dim(self) -> int | None:
        """Length of the vectors of the features."""
        return self._main.statistic.dim

    @property
    def _main(self) -> Part:
        return next((part for part in self.parts if part.kind == "features"), self.parts[0])

    def part(
        self, kind: Kind, keep: type[Moments] | type[Samples], suits: Callable[[Mapping[str, Any]], bool]
    ) -> Part | None:
        """The first part of a kind that can give moments or vectors; of several that whose protocol suits."""
        fitting = [part for part in self.parts if part.kind == kind and part.holds(keep)]
        return next(iter([part for part in fitting if suits(part.protocol)] or fitting), None)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write to an `.npz`, as a whole or not at all; see the function `write`."""
        write(path, self, overwrite=overwrite)


def require_same_parts(files: Sequence[StatisticsFile]) -> None:
    """Raises StatisticsError unless all files hold the same kinds of parts in the same order."""
    described = [[part.holding for part in file.parts] for file in files]
    for file, parts in zip(files, described, strict=True):
        if parts != described[0]:
            raise StatisticsError(
                f"{files[0].origin} holds {', '.join(described[0])}, and {file.origin} {', '.join(parts)}; "
                "make all files by the same command"
            )


def require_writable(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Check a path before slow work begins. Raises StatisticsError if it cannot be written."""
    writing.require_writable(path, ".npz", overwrite=overwrite, error=StatisticsError)


def write(
    path: str | os.PathLike[str],
    statistics: StatisticsFile,
    *,
    overwrite: bool = False,
    images: Mapping[str, Array] | None = None,
) -> None:
    """Write as a whole or not at all, so that nobody reads half a file.

    Statistics of unknown count, from another tool's file, are written in that tool's format.

    images: more arrays to put into the file, by name.
    Raises StatisticsError; an existing file then stays as it is.
    """
    if not all(part.statistic.count is None or part.statistic.count for part in statistics.parts):
        raise StatisticsError("cannot write statistics: there are no images")
    require_writable(path, overwrite=overwrite)
    arrays = {**_arrays(statistics), **(images or {})}
    try:
        write_npz(path, arrays)
    except OSError as error:
        raise StatisticsError(f"{printable(os.fspath(path))}: cannot be written ({reason_of(error)})") from error


def _arrays(statistics: StatisticsFile) -> dict[str, Array]:
    """Every array of the file by its name."""
    parts = _with_moments(statistics.parts)
    arrays: dict[str, Array] = {}
    described = []
    for part in parts:
        own = _arrays_of(part.statistic)
        names = {role: _name(f"{role}{SUFFIXES[part.kind]}", arrays) for role in own}
        arrays.update({names[role]: array for role, array in own.items()})
        described.append({
            "kind": part.kind, "keep": type(part.statistic).__name__, "count": part.statistic.count,
            "arrays": names, "protocol": part.protocol, "divisor": getattr(part.statistic, "divisor", 1),
        })  # fmt: skip
    main = parts[0]
    if len(parts) == 1 and main.kind == "features" and isinstance(main.statistic, Moments):
        if main.statistic.count is None:
            return arrays  # as the other tool wrote them
        arrays["format"], arrays["count"] = np.array(FORMAT), np.array(main.statistic.count)
    else:
        arrays["format"], arrays["parts"] = np.array(FORMAT_OF_PARTS), np.array(json.dumps(described))
    arrays["protocol"] = np.array(json.dumps(main.protocol))
    if statistics.labels is not None:
        arrays["labels"] = np.array(list(statistics.labels), dtype=np.str_)
    return arrays


def _name(name: str, taken: Mapping[str, Any]) -> str:
    """A name that no array has yet: mu, mu_2, mu_3."""
    names = [name, *(f"{name}_{i}" for i in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _with_moments(parts: Sequence[Part]) -> list[Part]:
    """The parts; vectors of features come after their moments, since other tools read mu and sigma."""
    complete: list[Part] = []
    for part in parts:
        known = any(p.kind == "features" and isinstance(p.statistic, Moments) for p in [*parts, *complete])
        if part.kind == "features" and not known and (part.statistic.dim or 0) <= WIDEST:
            complete.append(replace(part, statistic=part.moments()))
        complete.append(part)
    return complete


def _arrays_of(statistic: Statistic) -> dict[str, Array]:
    """The arrays of one part by their role."""
    if isinstance(statistic, Samples):
        dtype = np.dtype(STORED[statistic.dtype or torch.float32])
        return {"vectors": Blocks((statistic.count, statistic.dim or 0), dtype, map(_numpy, statistic.kept()))}
    rows = None if statistic.count is None else statistic.rows()
    arrays: dict[str, Array] = {"mu": _numpy(statistic.mean()), "sigma": _numpy(_covariance(statistic))}
    return arrays if rows is None else {**arrays, "rows": _numpy(rows)}


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def _covariance(moments: Moments) -> torch.Tensor:
    dim = moments.dim or 0
    if dim > WIDEST:
        raise StatisticsError(
            f"statistics of {dim} dimensions would hold a covariance of {dim**2 * 8 / 1e9:.0f} GB; expected at most "
            f"{WIDEST} dimensions; use features that pool, or compare the images directly"
        )
    # One image has no covariance, but a file without `sigma` is none. The vector itself is in `rows`.
    return torch.zeros(dim, dim) if moments.count == 1 else moments.covariance()
