"""What is kept of reference images for the next time: under what key, and how statistics become an entry and back.

The key holds the bytes of every image in order and everything that decides a vector: the extractor with its weights,
resize and dtype, the kind of device, the packages that decode and compute, and the code of this one. The entry holds
the statistics bit by bit and what reading the images brought to light, so that the score is the same.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import ImageFile
from PIL import features as pillow
from torch import Tensor

from ganmetrics.features import EXTRACTORS
from ganmetrics.features.pixels import Pixels
from ganmetrics.images import Summary
from ganmetrics.measurement import cache_files as entries
from ganmetrics.measurement.need import Need
from ganmetrics.measurement.side import Side
from ganmetrics.runtime.device import bar_is_off
from ganmetrics.runtime.guards import ordinary_modes
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples
from ganmetrics.statistics.transfer import Statistic
from ganmetrics.version import __version__

PACKAGES = ("torchvision", "timm", "numpy", "pillow")  # torch is in the description of the extractor
CODE = ("features", "images", "runtime", "statistics")  # of this package: what lies between a file and its statistics
DTYPES = {"uint8": torch.uint8, "float32": torch.float32, "float64": torch.float64}


class ReferenceCache:
    """What the cache holds of the real side, and where the rest of it is put; of any other side it knows nothing.

    Attributes:
        missing: needs whose statistics are still to be taken of the images.
    """

    def __init__(self, side: Side, needs: Sequence[Need], *, enabled: bool, skip: bool, progress: bool):
        self.side, self.missing = side, list(needs)
        self._keys: dict[Need, str] = {}
        if not enabled or side.name != "real" or not entries.limit():
            return
        started = time.perf_counter()
        self._fingerprint = self._look(skip=skip)
        if side.cached and bar_is_off(progress) is None and sys.stderr.isatty():
            seconds = time.perf_counter() - started
            print(f"real: {side.summary.n_images} images from the cache (compared in {seconds:.1f} s)", file=sys.stderr)

    def _look(self, *, skip: bool) -> str | None:
        """Take what is there out of the cache. Returns the checksum of the images where it is known."""
        fresh = [need for need in self.missing if is_cacheable(need) and not self.side.statistic_for(need).count]
        fingerprint = self.side.opened.fingerprint() if fresh and self.side.opened is not None else None
        if fingerprint is None:
            return None
        self._keys = {need: cache_key(need, fingerprint) for need in fresh}
        try:
            for need in fresh:
                self._take(need, skip=skip)
        except OSError as error:
            self._keys = {}
            entries.warn_once(entries.unusable(error))
        return fingerprint

    def _take(self, need: Need, *, skip: bool) -> None:
        entry = entries.read(self._keys[need])
        if entry is None or self.side.opened is None:
            return
        if entry.about["summary"]["left_out"] and not skip:  # the reader is to stop at the first of them
            entry.file.close()
            return
        extractor = need.extractor
        with ordinary_modes(gradients=False):
            statistic = restored(entry, extractor.device)
            self.side.summary = Summary.from_dict(entry.about["summary"], self.side.opened)
        if isinstance(extractor, Pixels):
            _show_shape(extractor, statistic, self.side.summary)
        self.side.statistics[need] = statistic
        self.side.cached.add(need)
        self.missing.remove(need)

    def keep(self) -> None:
        """Put what was missing into the cache, unless the images changed while they were read."""
        kept = [need for need in self.missing if need in self._keys]
        if not kept or self.side.opened is None or self.side.opened.fingerprint() != self._fingerprint:
            return
        try:
            for need in kept:
                entries.write(self._keys[need], about(self.side, need), arrays(self.side.statistic_for(need)))
        except entries.TooLargeError as error:
            entries.warn_once(f"{self.side.opened.name}: its statistics are not kept: {error}")
        except OSError as error:
            entries.warn_once(entries.unusable(error))


def _show_shape(extractor: Pixels, statistic: Statistic, summary: Summary) -> None:
    """Vectors of images of another shape may be as long, so the extractor has to know of this one."""
    ((height, width),) = summary.sizes
    channels = (statistic.dim or 0) // (height * width)
    extractor.extract([torch.empty((0, channels, height, width), dtype=torch.uint8)], extractor.taps)


def is_cacheable(need: Need) -> bool:
    """Whether the code of the extractor comes with this package or its requirements, and its weights are known.

    A callable may compute another thing tomorrow under the same name and the same weights.
    """
    features = need.settings.features
    if need.keep not in (Moments, Samples) or not isinstance(features, str):
        return False
    name = features.partition(":")[0]
    return name in EXTRACTORS and (name == "pixels" or bool(need.describe()["weights_sha256"]))


def cache_key(need: Need, fingerprint: str) -> str:
    """Name of an entry: SHA-256 of all that decides the statistics of images with this checksum."""
    decides = {
        **need.describe(),
        "device": need.extractor.device.type,
        "images": fingerprint,
        "statistic": need.keep.__name__,
        "version": __version__,
        "format": entries.FORMAT,
        **_surroundings(),
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,  # which a caller may have set
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


@cache
def _surroundings() -> dict[str, Any]:
    """Packages that decode and compute, and this one's own code, which may have been edited under one version."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    here, code = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(path for name in CODE for path in (here / name).glob("*.py")):
        code.update(path.read_bytes())
    return {"packages": versions, "jpeg": pillow.version("jpg"), "code": code.hexdigest()}


def about(side: Side, need: Need) -> dict[str, Any]:
    """What an entry says of itself: what a listing shows, and what was noticed while reading."""
    path = isinstance(side.source, (str, os.PathLike)) and os.path.exists(side.source)
    described = need.describe()
    return {
        "source": os.path.abspath(side.source) if path else getattr(side.opened, "name", None),
        "features": described["features"],
        "statistic": need.keep.__name__,
        "folded": getattr(side.statistic_for(need), "folded", 0),
        "protocol": described,
        "summary": side.summary.to_dict(),
    }


def arrays(statistic: Statistic) -> dict[str, entries.Array]:
    """Everything it holds, exactly."""
    if isinstance(statistic, Samples):
        dtype = str(statistic.dtype).removeprefix("torch.")
        blocks = (block.contiguous().numpy().reshape(-1) for block in statistic.blocks())
        return {"rows": entries.Array(dtype, (statistic.count, statistic.dim or 0), blocks)}
    return {
        name: entries.Array("float64", tuple(held.shape), [held.contiguous().cpu().numpy().reshape(-1)])
        for name, held in statistic.arrays().items()
    }


def restored(entry: entries.Entry, device: torch.device) -> Statistic:
    """The statistics of an entry: moments where their extractor runs, samples left in the file."""
    if entry.about["statistic"] == "Samples":
        rows = entry.arrays["rows"]
        count, dim = rows.shape
        return Samples.from_file(entry.file, rows.start, count, dim, DTYPES[rows.dtype])
    home = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    with entry.file as file:
        return Moments.from_arrays(entry.about["folded"], _tensors(file, entry.arrays, home))


def _tensors(file: IO[bytes], held: Mapping[str, entries.Array], device: torch.device) -> dict[str, Tensor]:
    found = {}
    for name, array in held.items():
        file.seek(array.start)
        values = np.fromfile(file, array.dtype, array.nbytes // entries.ITEMSIZE[array.dtype])
        found[name] = torch.from_numpy(values.reshape(array.shape)).to(device)
    return found
