"""Cache of the statistics of reference images: its keys, and how statistics are stored and restored.

The key is a hash of the bytes of every image in order and of everything that a vector depends on: the extractor with
its weights, resize and dtype, the kind of device, the packages that decode and compute, and the code of this package.
The entry holds the exact statistics and everything noticed while reading, so the score is the same to the last bit.
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
from ganmetrics.features.extractor import Extractor
from ganmetrics.features.pixels import Pixels
from ganmetrics.images import Summary
from ganmetrics.images.base import IndexedSource
from ganmetrics.measurement import cache_files as entries
from ganmetrics.measurement.need import Need
from ganmetrics.measurement.side import Side
from ganmetrics.runtime.device import bar_is_off
from ganmetrics.runtime.guards import ordinary_modes
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples
from ganmetrics.statistics.transfer import Statistic
from ganmetrics.version import __version__

PACKAGES = ("torchvision", "timm", "numpy", "pillow")  # the description of a need already includes torch
CODE = ("features", "images", "runtime", "statistics")  # folders of this package that turn a file into statistics
DTYPES = {"uint8": torch.uint8, "float32": torch.float32, "float64": torch.float64}


class ReferenceCache:
    """Restores statistics of the real side from the cache, and stores new ones; does nothing for any other side.

    Attributes:
        missing: needs whose statistics have to be computed from the images.
    """

    def __init__(self, side: Side, needs: Sequence[Need], *, enabled: bool, skip: bool, progress: bool):
        self.side, self.missing = side, list(needs)
        self._keys: dict[Need, str] = {}
        if not enabled or side.name != "real" or not entries.limit():
            return
        started = time.perf_counter()
        self._fingerprint = self._restore_all(skip=skip)
        if side.cached and bar_is_off(progress) is None and sys.stderr.isatty():
            seconds = time.perf_counter() - started
            print(f"real: {side.summary.n_images} images from the cache (compared in {seconds:.1f} s)", file=sys.stderr)

    def _restore_all(self, *, skip: bool) -> str | None:
        """Restore all statistics that the cache has. Returns the checksum of the images, None if not computed."""
        fresh = [need for need in self.missing if is_cacheable(need) and not self.side.statistic_for(need).count]
        fingerprint = self.side.opened.fingerprint() if fresh and self.side.opened is not None else None
        if fingerprint is None:
            return None
        naming = self.side.opened.naming() if isinstance(self.side.opened, IndexedSource) else ""
        self._keys = {need: cache_key(need, fingerprint, naming) for need in fresh}
        try:
            for need in fresh:
                self._restore(need, skip=skip)
        except OSError as error:
            self._keys = {}
            entries.warn_once(entries.unusable(error))
        return fingerprint

    def _restore(self, need: Need, *, skip: bool) -> None:
        entry = entries.read(self._keys[need])
        if entry is None or self.side.opened is None:
            return
        if entry.about["summary"]["left_out"] and not skip:  # with on_error="fail" the reader must fail at them
            entry.file.close()
            return
        extractor = need.extractor
        with ordinary_modes(gradients=False):
            statistic = restored(entry, extractor)
            self.side.summary = Summary.from_dict(entry.about["summary"], self.side.opened)
        if isinstance(extractor, Pixels):
            _set_shape(extractor, statistic, self.side.summary)
        self.side.statistics[need] = statistic
        self.side.cached.add(need)
        self.missing.remove(need)

    def keep(self) -> None:
        """Store the statistics that were missing, unless the images changed while they were read."""
        stored = [need for need in self.missing if need in self._keys]
        if not stored or self.side.opened is None or self.side.opened.fingerprint() != self._fingerprint:
            return
        try:
            for need in stored:
                entries.write(self._keys[need], about(self.side, need), arrays(self.side.statistic_for(need)))
        except entries.TooLargeError as error:
            entries.warn_once(f"{self.side.opened.name}: its statistics are not kept: {error}")
        except OSError as error:
            entries.warn_once(entries.unusable(error))


def _set_shape(extractor: Pixels, statistic: Statistic, summary: Summary) -> None:
    """Tell the extractor the image shape: images of another shape can have vectors of the same length."""
    ((height, width),) = summary.sizes
    channels = (statistic.dim or 0) // (height * width)
    extractor.extract([torch.empty((0, channels, height, width), dtype=torch.uint8)], extractor.taps)


def is_cacheable(need: Need) -> bool:
    """Whether the key identifies the extractor: it is built in, and the checksum of its weights is known.

    Your own extractors are not cached: their code may change under the same name and weights.
    """
    features = need.settings.features
    if need.keep not in (Moments, Samples) or not isinstance(features, str):
        return False
    name = features.partition(":")[0]
    return name in EXTRACTORS and (name == "pixels" or bool(need.describe()["weights_sha256"]))


def cache_key(need: Need, fingerprint: str, naming: str = "") -> str:
    """Name of an entry: SHA-256 of all that the statistics of images with this checksum, and their notes, depend on."""
    inputs = {
        **need.describe(),
        "device": need.extractor.device.type,
        "images": fingerprint,
        "naming": naming,
        "statistic": need.keep.__name__,
        "version": __version__,
        "format": entries.FORMAT,
        **_surroundings(),
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,  # the caller may change this global flag of Pillow
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


@cache
def _surroundings() -> dict[str, Any]:
    """Versions of the packages that decode and compute, and a hash of this package's code.

    The version of this package is not enough: its code may have been edited.
    """
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    root, code = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(path for name in CODE for path in (root / name).glob("*.py")):
        code.update(path.read_bytes())
    return {"packages": versions, "jpeg": pillow.version("jpg"), "code": code.hexdigest()}


def about(side: Side, need: Need) -> dict[str, Any]:
    """Description of an entry: what `ganmetrics cache list` shows, and what was noticed while reading."""
    is_path = isinstance(side.source, (str, os.PathLike)) and os.path.exists(side.source)
    described = need.describe()
    return {
        "source": os.path.abspath(side.source) if is_path else getattr(side.opened, "name", None),
        "features": described["features"],
        "statistic": need.keep.__name__,
        "folded": getattr(side.statistic_for(need), "folded", 0),
        "protocol": described,
        "summary": side.summary.to_dict(),
    }


def arrays(statistic: Statistic) -> dict[str, entries.Array]:
    """The exact contents of a statistic, by name."""
    if isinstance(statistic, Samples):
        dtype = str(statistic.dtype).removeprefix("torch.")
        blocks = (block.contiguous().numpy().reshape(-1) for block in statistic.kept())
        return {"rows": entries.Array(dtype, (statistic.count, statistic.dim or 0), blocks)}
    return {
        name: entries.Array("float64", tuple(array.shape), [array.contiguous().cpu().numpy().reshape(-1)])
        for name, array in statistic.arrays().items()
    }


def restored(entry: entries.Entry, extractor: Extractor) -> Statistic:
    """The statistic of an entry: moments on the extractor's device; samples stay in the file."""
    if entry.about["statistic"] == "Samples":
        rows = entry.arrays["rows"]
        count, dim = rows.shape
        return Samples.from_file(entry.file, rows.start, count, dim, DTYPES[rows.dtype], divisor=extractor.divisor)
    home = torch.device("cpu") if extractor.device.type == "mps" else extractor.device  # MPS has no float64
    with entry.file as file:
        return Moments.from_arrays(entry.about["folded"], _tensors(file, entry.arrays, home))


def _tensors(file: IO[bytes], arrays: Mapping[str, entries.Array], device: torch.device) -> dict[str, Tensor]:
    tensors = {}
    for name, array in arrays.items():
        file.seek(array.start)
        values = np.fromfile(file, array.dtype, array.nbytes // entries.ITEMSIZE[array.dtype])
        tensors[name] = torch.from_numpy(values.reshape(array.shape)).to(device)
    return tensors
