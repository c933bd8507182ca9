"""`open_images(anything)`: the table of kinds of source, one line each."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ganmetrics.errors import SourceError
from ganmetrics.images import pickles, tar
from ganmetrics.images.arrays import ArraySource
from ganmetrics.images.base import ImageSource, IndexedSource, PixelRule
from ganmetrics.images.datasets import DATASETS, is_dataset_name, open_dataset
from ganmetrics.images.files import ZipSource, open_folder, open_path_list
from ganmetrics.images.jpeg import JpegDecoder
from ganmetrics.images.names import IMAGE_EXTENSIONS, extension
from ganmetrics.images.npy import open_npy, open_npz
from ganmetrics.images.streams import CallableSource, DatasetSource, IterableSource
from ganmetrics.images.tar import TarSource
from ganmetrics.printable import printable, reason_of

UNDERSTOOD = (
    "a folder, .zip, .tar, .npy or .npz, a dataset (" + ", ".join(DATASETS) + "), a tensor, an array, a Dataset, "
    "a DataLoader, an iterable of batches, or a callable with n_samples"
)


@dataclass(frozen=True)
class Options:
    """The options of `open_images` that concern how a source is read."""

    rule: PixelRule
    n_samples: int | None
    data_root: str | os.PathLike[str] | None


def open_images(
    source: Any,
    *,
    value_range: tuple[float, float] | None = None,
    layout: str | None = None,
    quantize: str = "round",
    n_samples: int | None = None,
    data_root: str | os.PathLike[str] | None = None,
    jpeg_decoder: JpegDecoder | None = None,
) -> ImageSource:
    """Open anything that holds images as a source of uint8 images; docs/images.md lists the kinds.

    Args:
        source: path of a folder, `.zip`, `.npy` or `.npz`; name of a dataset slice such as "mnist:test[0:1000]" (an
            existing path is preferred); list of paths; tensor or array `(N, C, H, W)`, `(N, H, W, C)`, `(N, H, W)`;
            Dataset; DataLoader; any iterable of images or batches; a callable `f(n)` that gives n images.
        value_range: `(low, high)` of floating-point images, which require it.
        layout: "NCHW", "NHWC" or "NHW", for arrays whose shape can be read in several ways.
        quantize: "round" or "truncate", see `to_uint8`.
        n_samples: the number of images that a callable is asked for, and the maximum that is taken from an iterable
            or a DataLoader, which may be endless. Other sources ignore it.
        data_root: folder of torchvision's datasets; None reads the environment variable GANMETRICS_DATA.
        jpeg_decoder: for plain JPEG files in folders, archives and lists; None uses Pillow.

    Raises:
        SourceError: when the source cannot be opened, is of an unknown kind, or holds no image.
        OptionError: for a malformed option.
    """
    options = Options(PixelRule.checked(value_range, layout, quantize), n_samples, data_root)
    for kind in KINDS:
        if kind.fits(source):
            opened = kind.open(source, options)
            if isinstance(opened, IndexedSource):
                opened.jpeg = jpeg_decoder
            return opened
    raise SourceError(f"expected {UNDERSTOOD}; got {type(source).__name__}")


def _open_path(source: str | os.PathLike[str], options: Options) -> ImageSource:
    text = os.fsdecode(source)
    path = os.path.expanduser(text)
    name = printable(text) or "''"
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte in the name
        if is_dataset_name(text):
            return open_dataset(text, options.rule, options.data_root)
        if tar.is_pattern(text):
            return _open_tars(name, tar.expanded(text))
        if os.path.islink(path):
            raise SourceError(f"{name}: broken link to {printable(os.readlink(path))}") from None
        raise SourceError(
            f"{name}: no such file or folder, and no dataset of that name (known: {', '.join(DATASETS)})"
        ) from None
    except OSError as error:
        raise SourceError(f"{name}: cannot be opened: {reason_of(error).lower()}") from error
    if stat.S_ISDIR(mode):
        return open_folder(path, TarSource)
    if not stat.S_ISREG(mode):
        raise SourceError(f"{name}: neither a folder nor a regular file")
    return FILES.get(extension(os.path.basename(path)), _refuse_file)(path, options)


def _refuse_file(path: str, options: Options) -> ImageSource:
    name = printable(path)
    if extension(os.path.basename(path)) in IMAGE_EXTENSIONS:
        raise SourceError(f"{name}: is one image; expected a folder of images, so name the folder it lies in")
    if path.lower().endswith(tar.COMPRESSED):
        raise SourceError(f"{name}: a compressed tar archive cannot be read in place; unpack it to a .tar")
    raise SourceError(
        f"{name}: not a kind of file that is understood; expected a folder of images, .zip, .tar, .npy or .npz"
    )


def _open_tars(name: str, paths: Sequence[str]) -> ImageSource:
    for path in paths:
        if extension(os.path.basename(path)) != ".tar":
            return _refuse_file(path, Options(PixelRule(), None, None))
    return TarSource(name, paths)


def _open_paths(paths: Sequence[str | os.PathLike[str]]) -> ImageSource:
    """A list of image files, or of tar archives."""
    expanded = [os.path.expanduser(os.fsdecode(path)) for path in paths]
    if not any(path.lower().endswith(".tar") for path in expanded):
        return open_path_list(paths)
    return _open_tars(f"list of {len(expanded)} paths", expanded)


def _open_array(source: Any, options: Options) -> ImageSource:
    name = f"{'tensor' if isinstance(source, Tensor) else 'array'} of shape {tuple(source.shape)}"
    return ArraySource(name, source, options.rule)


def _open_loader(source: Any, options: Options) -> ImageSource:
    has_length = source.batch_size is not None and not source.drop_last and isinstance(source.sampler, Sized)
    n_images = len(source.sampler) if has_length else None
    return IterableSource(source, options.rule, n_images=n_images, n_samples=options.n_samples)


def _open_iterable(source: Any, options: Options) -> ImageSource:
    return IterableSource(source, options.rule, n_images=None, n_samples=options.n_samples)


def _is_path_list(source: Any) -> bool:
    return (
        isinstance(source, list | tuple) and len(source) > 0 and all(isinstance(p, str | os.PathLike) for p in source)
    )


def _refuse_pickle(path: str, options: Options) -> ImageSource:
    raise SourceError(pickles.refusal(printable(path)))


FILES: dict[str, Callable[[str, Options], ImageSource]] = {
    ".zip": lambda path, options: ZipSource(path),
    ".tar": lambda path, options: TarSource(printable(path), [path]),
    ".npy": lambda path, options: open_npy(path, options.rule),
    ".npz": lambda path, options: open_npz(path, options.rule),
    **dict.fromkeys(pickles.EXTENSIONS, _refuse_pickle),
}


@dataclass(frozen=True)
class Kind:
    """A kind of source: which objects are of this kind, and how they are opened."""

    fits: Callable[[Any], bool]
    open: Callable[[Any, Options], ImageSource]


def _instance(*types: type) -> Callable[[Any], bool]:
    def fits(source: Any) -> bool:
        return isinstance(source, types)

    return fits


# The first that fits is used, so special kinds come before general ones: an IterableDataset is also a Dataset.
KINDS = (
    Kind(_instance(ImageSource), lambda source, options: source),
    Kind(_instance(str, os.PathLike), _open_path),
    Kind(_instance(Tensor, np.ndarray), _open_array),
    Kind(_instance(IterableDataset), _open_iterable),
    Kind(_instance(Dataset), lambda source, options: DatasetSource(source, options.rule)),
    Kind(_instance(DataLoader), _open_loader),
    Kind(_is_path_list, lambda source, options: _open_paths(source)),
    Kind(_instance(bytes, bytearray, dict, Image.Image), lambda source, options: _refuse(source)),
    Kind(callable, lambda source, options: CallableSource(source, options.rule, options.n_samples)),
    Kind(_instance(Iterable), _open_iterable),
)


def _refuse(source: Any) -> ImageSource:
    raise SourceError(f"expected {UNDERSTOOD}; got {type(source).__name__}")
