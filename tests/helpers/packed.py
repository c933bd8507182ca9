"""The same files as a folder, a zip and a tar archive, and Fréchet distances of pixels, by SciPy."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.linalg

KINDS = ("folder", "zip", "tar")


def packed(kind: str, place: Path, files: Mapping[str, bytes]) -> Path:
    """Files by relative path, as a folder, a zip or a tar archive at `place` (with the extension of its kind)."""
    if kind == "folder":
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        return place
    path = place.with_suffix(f".{kind}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """Fréchet distance of images `(N, ...)` uint8, by their pixels in [0, 1]."""
    rows = [images.reshape(len(images), -1) / 255 for images in (real, fake)]
    means, covariances = [x.mean(0) for x in rows], [np.cov(x, rowvar=False) for x in rows]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root))


def class_frechet(
    real: np.ndarray, real_classes: Sequence[int], fake: np.ndarray, fake_classes: Sequence[int]
) -> float:
    """Mean over classes of the Fréchet distance of each."""
    chosen = [(real[np.equal(real_classes, c)], fake[np.equal(fake_classes, c)]) for c in sorted(set(real_classes))]
    return float(np.mean([frechet(*pair) for pair in chosen]))
