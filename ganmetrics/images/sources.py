"""`open_images(anything)`: the table of kinds of source, one line each."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ganmetrics.errors import OptionError, SourceError
from ganmetrics.images import pickles, tar
from ganmetrics.images.array_files import ARRAYS, open_array, open_parts, split_key
from ganmetrics.images.arrays import ArraySource
from ganmetrics.images.base import ImageSource, IndexedSource, PixelRule
from ganmetrics.images.datasets import DATASETS, is_dataset_name, open_dataset
from ganmetrics.images.files import listed, open_folder, open_path_list
from ganmetrics.images.jpeg import JpegDecoder
from ganmetrics.images.names import IMAGE_EXTENSIONS, extension, some
from ganmetrics.images.patterns import ALL, Selection, expanded, is_pattern
from ganmetrics.images.streams import CallableSource, DatasetSource, IterableSource, holds_single_images
from ganmetrics.images.tar import TarSource
from ganmetrics.images.zips import ZipSource
from ganmetrics.printable import natural_order, printable, reason_of

UNDERSTOOD = (
    "a folder, .zip, .tar, .npy or .npz, a dataset (" + ", ".join(DATASETS) + "), a tensor, an array, a Dataset, "
    "a DataLoader, an iterable of batches, or a callable with n_samples"
)


@dataclass(frozen=True)
class Options:
    """The options of `open_images` that concern how a source is read."""

    rule: PixelRule
    n_samples: int | None = None
    data_root: str | os.PathLike[str] | None = None
    selection: Selection = ALL


def open_images(
    source: Any,
    *,
    value_range: tuple[float, float] | None = None,
    layout: str | None = None,
    quantize: str = "round",
    n_samples: int | None = None,
    data_root: str | os.PathLike[str] | None = None,
    jpeg_decoder: JpegDecoder | None = None,
    selection: Selection = ALL,
) -> ImageSource:
    """Open anything that holds images as a source of uint8 images; docs/images.md lists the kinds.

    Args:
        source: path of a folder, `.zip`, `.npy` or `.npz`; name of a dataset slice such as "mnist:test[0:1000]" (an
            existing path is preferred); list of paths; tensor or array `(N, C, H, W)`, `(N, H, W, C)`, `(N, H, W)`;
            Dataset; DataLoader; any iterable of images or batches; a callable `f(n)` that gives n images.
            Objects like a Dataset, with `__len__` and `__getitem__`, are read as one.
        value_range: `(low, high)` of floating-point images, which require it.
        layout: "NCHW", "NHWC" or "NHW", for arrays whose shape can be read in several ways.
        quantize: "round" or "truncate", see `to_uint8`.
        n_samples: the number of images that a callable is asked for, and the maximum that is taken from an iterable
            or a DataLoader, which may be endless. Other sources ignore it.
        data_root: folder of torchvision's datasets; None reads the environment variable GANMETRICS_DATA.
        jpeg_decoder: for plain JPEG files in folders, archives and lists; None uses Pillow.
        selection: which images of a folder, an archive or a list are taken, by their names.

    Raises:
        SourceError: when the source cannot be opened, is of an unknown kind, or holds no image.
        OptionError: for a malformed option.
    """
    options = Options(PixelRule.checked(value_range, layout, quantize), n_samples, data_root, selection)
    for kind in KINDS:
        if kind.fits(source):
            opened = kind.open(source, options)
            if selection and opened.selection != selection:
                raise OptionError(
                    f"{opened.name}: --include and --exclude choose files by their names, and this is no folder, "
                    "archive or list of files; for one side alone write real:PATTERN or fake:PATTERN"
                )
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
        if os.path.islink(path):
            raise SourceError(f"{name}: broken link to {printable(os.readlink(path))}") from None
        pattern, key = split_key(path)
        if key is not None and os.path.isfile(pattern):
            return open_array(pattern, options.rule, key)
        if is_pattern(pattern):
            ending = "" if key is None else f":{key}"
            return _open_together(name, [match + ending for match in expanded(pattern)], options)
        raise SourceError(
            f"{name}: no such file or folder, and no dataset of that name (known: {', '.join(DATASETS)})"
        ) from None
    except OSError as error:
        raise SourceError(f"{name}: cannot be opened: {reason_of(error).lower()}") from error
    if stat.S_ISDIR(mode):
        return _open_folder(path, options)
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


def _open_folder(path: str, options: Options) -> ImageSource:
    """Images in a folder; in one without images, its tar archives, or its arrays in natural order."""
    listing, name = listed(path), printable(path)
    if listing.entries or not (listing.archives or listing.arrays):
        return open_folder(path, listing, options.selection)
    if listing.archives and listing.arrays:
        raise SourceError(
            f"{name}: holds {len(listing.archives)} tar archives and {len(listing.arrays)} .npy or .npz files; "
            f"name one kind, as in '{name}/*.tar'"
        )
    if listing.archives:
        return TarSource(name, sorted(listing.archives), options.selection)
    return open_parts(name, natural_order(listing.arrays), options.rule, options.selection, path)


def _open_together(name: str, paths: Sequence[str], options: Options) -> ImageSource:
    """Files as one source: image files, tar archives, or arrays of NumPy, with their keys."""
    kinds = {path: extension(os.path.basename(split_key(path)[0])) for path in paths}
    if set(kinds.values()) == {".tar"}:
        return TarSource(name, paths, options.selection)
    if set(kinds.values()) <= set(ARRAYS):
        return open_parts(name, paths, options.rule, options.selection)
    if set(kinds.values()) <= set(IMAGE_EXTENSIONS):
        return open_path_list(paths, options.selection)
    for path, kind in kinds.items():
        if kind not in (".tar", *ARRAYS, *IMAGE_EXTENSIONS):
            return _refuse_file(path, options)
    raise SourceError(f"{name}: names files of several kinds, {', '.join(sorted(set(kinds.values())))}; name one kind")


def _open_paths(paths: Sequence[str | os.PathLike[str]], options: Options) -> ImageSource:
    """A list of image files, of tar archives, or of arrays of NumPy."""
    expanded = [os.path.expanduser(os.fsdecode(path)) for path in paths]
    if not any(split_key(path)[0].lower().endswith((".tar", *ARRAYS)) for path in expanded):
        return open_path_list(paths, options.selection)
    return _open_together(f"list of {len(expanded)} paths", expanded, options)


def _open_array(source: Any, options: Options) -> ImageSource:
    name = f"{'tensor' if isinstance(source, Tensor) else 'array'} of shape {tuple(source.shape)}"
    return ArraySource(name, source, options.rule)


def _open_loader(source: Any, options: Options) -> ImageSource:
    has_length = source.batch_size is not None and not source.drop_last and isinstance(source.sampler, Sized)
    n_images = len(source.sampler) if has_length else None
    return IterableSource(source, options.rule, n_images=n_images, n_samples=options.n_samples)


def _open_iterable(source: Any, options: Options) -> ImageSource:
    return IterableSource(source, options.rule, n_images=None, n_samples=options.n_samples)


def _is_map_style(source: Any) -> bool:
    """Whether an object has items by number, as Hugging Face's datasets do, and is no plain container."""
    kind = type(source)
    return not isinstance(source, (list, tuple, deque, range, Set)) and all(
        hasattr(kind, name) for name in ("__getitem__", "__len__")
    )


def _open_map_style(source: Any, options: Options) -> ImageSource:
    if not isinstance(source, Iterable) or holds_single_images(source):
        return DatasetSource(source, options.rule)
    return _open_iterable(source, options)


def _is_path_list(source: Any) -> bool:
    return (
        isinstance(source, list | tuple) and len(source) > 0 and all(isinstance(p, str | os.PathLike) for p in source)
    )


def _refuse_pickle(path: str, options: Options) -> ImageSource:
    raise SourceError(pickles.refusal(printable(path)))


FILES: dict[str, Callable[[str, Options], ImageSource]] = {
    ".zip": lambda path, options: ZipSource(path, options.selection),
    ".tar": lambda path, options: TarSource(printable(path), [path], options.selection),
    ".npy": lambda path, options: open_array(path, options.rule),
    ".npz": lambda path, options: open_array(path, options.rule),
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
    Kind(_is_path_list, _open_paths),
    Kind(_instance(bytes, bytearray, dict, Image.Image), lambda source, options: _refuse(source)),
    Kind(_is_map_style, _open_map_style),
    Kind(callable, lambda source, options: CallableSource(source, options.rule, options.n_samples)),
    Kind(_instance(Iterable), _open_iterable),
)


def _refuse(source: Any) -> ImageSource:
    parts = some(list(map(str, source))) if isinstance(source, Mapping) else ""
    which = f" of {parts}; hand over one of them" if parts else ""
    raise SourceError(f"expected {UNDERSTOOD}; got {type(source).__name__}{which}")
