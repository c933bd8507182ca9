"""Feature vectors as a source: an array `(N, D)` of one's own extractor, for every metric that reads features."""

from __future__ import annotations

import os
import zipfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import OptionError, SourceError
from ganmetrics.features.inception_network import TAPS
from ganmetrics.images import npy
from ganmetrics.images.array_files import split_key
from ganmetrics.printable import printable
from ganmetrics.statistics.files import StatisticsFile
from ganmetrics.statistics.parts import Kind, Part
from ganmetrics.statistics.plain_numbers import fault_of
from ganmetrics.statistics.samples import Samples

NAME = "vectors"  # of features that nobody named
LABELS = ("labels", "label", "arr_1", "y")  # arrays with the class of each vector


def vectors_of(source: Any, features: str | None = None) -> StatisticsFile | None:
    """The vectors of a source as statistics that keep them; None for any other source.

    Args:
        source: an array or tensor `(N, D)`, or the path of an `.npy`, an `.npz` whose arrays are `(N, D)`, or a `.pt`
            that holds one such tensor.
        features: what they are features of, as in `--features-are`: "inception", "inception:logits-unbiased", or a name
            of one's own, with ":logits" for the class logits of a classifier. None calls them "vectors", so that no
            score of them is called `fid`.

    Raises SourceError for arrays that are not real and finite numbers, OptionError if they cannot be those features.
    """
    array, name = _array(source)
    if array is None:
        return None
    if fault := fault_of(array):
        raise SourceError(f"{name}: {fault}")
    kind, protocol = _protocol(features, array.shape[1], name)
    part = Part(kind, Samples.over(array), protocol, f"vectors of {kind}")
    return StatisticsFile([part], name, _labels(source, len(array)))


def _labels(source: Any, n: int) -> list[str] | None:
    """The classes in an `.npz` of vectors, if it has some."""
    path, _ = split_key(os.path.expanduser(os.fsdecode(source)) if isinstance(source, (str, os.PathLike)) else "")
    if not path.lower().endswith(".npz"):
        return None
    shapes = npy.shapes_in(path)
    key = next((key for key in LABELS if shapes.get(key) == (n,)), None)
    classes = None if key is None else npy.array_in(path, key)
    return None if classes is None or classes.dtype.kind not in "iuU" else [str(label) for label in classes.tolist()]


def _array(source: Any) -> tuple[np.ndarray | Tensor | None, str]:
    """The array of a source of vectors, memory-mapped if possible, and what messages call it."""
    if isinstance(source, (str, os.PathLike)):
        path = os.path.expanduser(os.fsdecode(source))
        file, key = split_key(path)
        if key is not None and os.path.isfile(file):
            return npy.array_in(file, key) if len(npy.shapes_in(file).get(key, ())) == 2 else None, printable(path)
        opener = OPENERS.get(os.path.splitext(path)[1].lower())
        array = opener(path) if opener is not None and os.path.isfile(path) else None
        return array, printable(path)
    if not isinstance(source, (Tensor, np.ndarray)) and hasattr(source, "__array__") and _is_matrix(source):
        source = np.asarray(source)  # of JAX, pandas and others
    if isinstance(source, (Tensor, np.ndarray)) and source.ndim == 2:
        kind = "tensor" if isinstance(source, Tensor) else "array"
        return (source.detach() if isinstance(source, Tensor) else source), f"{kind} of shape {tuple(source.shape)}"
    return None, ""


def _is_matrix(source: Any) -> bool:
    return len(getattr(source, "shape", ())) == 2


def _of_npy(path: str) -> np.ndarray | None:
    try:
        array = npy.mapped_npy(path)
    except SourceError:
        return None  # the image reader then says what is wrong with the file
    return array if array.ndim == 2 else None


def _of_npz(path: str) -> np.ndarray | None:
    try:
        shapes = npy.shapes_in(path)
    except SourceError:
        return None
    found = [key for key, shape in shapes.items() if len(shape) == 2]
    if not found or any(len(shape) in (3, 4) for shape in shapes.values()):
        return None  # images, or nothing that is understood
    if len(found) > 1 and "arr_0" not in found:
        keys = ", ".join(f"{printable(key)} {shapes[key]}" for key in found)
        raise SourceError(
            f"{printable(path)}: holds several arrays of vectors: {keys}; name one, as in {printable(path)}:{found[0]}"
        )
    chosen = "arr_0" if "arr_0" in found else found[0]
    array = npy.array_in(path, chosen)
    if (mean := _mean_beside(shapes, chosen)) and _is_covariance(array):
        raise SourceError(
            f"{printable(path)}: {printable(chosen)} {array.shape} is symmetric, and beside {printable(mean)} it is a "
            f"covariance, not vectors; save them as statistics with numpy.savez(file, mu={printable(mean)}, "
            f"sigma={printable(chosen)}), or name {printable(path)}:{printable(chosen)} if its rows are vectors"
        )
    return array


def _mean_beside(shapes: dict[str, tuple[int, ...]], key: str) -> str | None:
    """The array that could be the mean of which a square array is the covariance; None if there is none."""
    n, d = shapes[key]
    others = (other for other, shape in shapes.items() if shape == (d,) and other not in LABELS)
    return next(others, None) if n == d > 1 else None


def _is_covariance(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and np.allclose(array, array.T, rtol=1e-5) and bool((np.diagonal(array) >= 0).all())


def _of_pt(path: str) -> Tensor | None:
    try:
        # The format of torch before 1.6 is no zip and cannot be mapped.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises many kinds for files that are not its own
        raise SourceError(
            f"{printable(path)}: expected one tensor saved by torch.save; it is damaged, or holds something else"
        ) from error
    if isinstance(loaded, Tensor) and loaded.ndim == 2:
        return loaded.detach()
    got = f"shape {tuple(loaded.shape)}" if isinstance(loaded, Tensor) else f"a {type(loaded).__name__}"
    raise SourceError(f"{printable(path)}: expected one tensor of vectors (N, D), got {got}")


OPENERS = {".npy": _of_npy, ".npz": _of_npz, ".pt": _of_pt}


def _protocol(features: str | None, dim: int, name: str) -> tuple[Kind, dict[str, Any]]:
    """Which output of an extractor the vectors are, and their protocol."""
    label, _, tap = (features or NAME).partition(":")
    if label != "inception":
        own: Kind = "logits" if tap == "logits" else "spatial" if tap == "spatial" else "features"
        shown = f"{label}-{tap}" if tap and own == "features" else label
        return own, {"features": shown, "tap": None, "stated": True}
    tap = tap or "2048"
    if tap not in TAPS:
        raise OptionError(f"--features-are inception:{tap}: expected one of {', '.join(TAPS)} after the colon")
    if dim != TAPS[tap]:
        raise OptionError(f"--features-are {features}: that has {TAPS[tap]} dimensions, and {name} has {dim}")
    kind: Kind = "logits" if tap.startswith("logits") else "spatial" if tap == "spatial" else "features"
    shown = "inception" if tap in ("2048", "logits-unbiased", "spatial") else f"inception-{tap}"
    return kind, {"features": shown, "tap": tap, "stated": True}
