"""Samples on disk: a folder of PNG, a `.zip` of PNG, or ADM's `.npz`, with a record of how they were made beside them.

Everything is written into a hidden folder next to the target and renamed at the end, so that a full disk or Ctrl-C
leaves no partial output, and earlier files unchanged.
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.printable import printable, reason_of
from ganmetrics.runtime.device import bar_is_off
from ganmetrics.validation import whole
from reference_models.checkpoints.run_directory import run_around
from reference_models.sampling.sampler import Model

ARCHIVES = (".npz", ".zip")
MISTAKEN = (".npy", ".pt", ".png", ".jpg", ".jpeg", ".tar", ".gz")  # a file of another type, not a folder, was meant
SAMPLE = re.compile(r"\d{6,}\.png")


def write_samples(
    model: Model,
    out: str | os.PathLike[str],
    n: int,
    *,
    seed: int = 0,
    ema: bool = True,
    start: int = 0,
    batch_size: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write `n` images of a seed, all or none, and `model.record` beside them.

    Args:
        model: from `reference_models.load`.
        out: NAME.npz holds uint8 `arr_0` `(n, H, W, C)`; NAME.zip and any other name, which is a folder, hold PNG
            numbered from `start`, 000000.png and so on. The record is NAME.json. Grey images stay grey.
        n: number of images.
        seed: of the latents; see `Sampler.sample`.
        ema: use the generator's moving average, not the weights of the last step.
        start: number of the first image, so that several machines can share a seed.
        batch_size: number of images handled at once; does not change the images.
        overwrite: whether samples and a record of the same name may be replaced.
        progress: whether to show a bar on a terminal.

    Returns:
        The path of the images.

    Raises:
        OptionError: for numbers or a name that cannot be used; no image is made then.
        GanMetricsError: if writing fails, for example on a full disk.
    """
    target = require_writable(out, overwrite=overwrite)
    numbers = range(whole("start", start, 0), start + whole("n", n, 1))
    record = json.dumps(model.record(n, seed=seed, ema=ema, start=start), indent=1) + "\n"
    batches = model.batches(n, seed=seed, ema=ema, batch_size=batch_size, start=start)
    bar = tqdm(total=n, desc="sampling", unit="img", disable=bar_is_off(progress), leave=False)
    try:
        with (
            tempfile.TemporaryDirectory(
                dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True
            ) as hidden,
            bar,
        ):
            place = Path(hidden)
            _FORMS[_form(target)](place / "samples", _counted(batches, bar), numbers, model.image_shape)
            (place / "record").write_text(record)
            _take_place(place, target)
    except OSError as error:
        reason = reason_of(error)
        raise GanMetricsError(
            f"{printable(str(out))}: cannot be written ({reason}); nothing was kept, what was there is as it was"
        ) from error
    return Path(out).expanduser()


def require_writable(out: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check that samples can be written to `out`; call it before they are made.

    Returns:
        The target's absolute path, links followed.

    Raises:
        OptionError: if the name is taken and `overwrite` is not set (an empty folder is free), if it cannot be replaced
            even with `overwrite` (a folder that holds anything but samples), or if its parent is missing or read-only.
    """
    if not os.fspath(out):
        raise OptionError("--out: expected a name for the samples, got an empty one")
    name, target = printable(os.fspath(out)), Path(out).expanduser().resolve()
    if target == Path.cwd() or os.path.ismount(target):
        raise OptionError(f"{name}: expected a name for the samples; give one inside, such as {name}/fake")
    if (run := run_around(target)) is not None:
        raise OptionError(f"{name}: lies in the run {printable(run.name)}; choose a name outside of it")
    if target.suffix.lower() in MISTAKEN and not target.is_dir():
        raise OptionError(f"{name}: expected a name ending .npz or .zip, or one without an ending for a folder of PNG")
    if not target.parent.is_dir():
        raise OptionError(f"{name}: its parent folder does not exist; make it first or choose another name")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OptionError(f"{name}: its parent folder cannot be written to; choose another name")
    _require_replaceable(target, name, overwrite)
    record = record_path(target)
    if record.is_dir():
        raise OptionError(f"{name}: its record {printable(record.name)} is a folder; choose another name")
    if record.exists() and not overwrite:
        raise OptionError(
            f"{name}: its record {printable(record.name)} exists; choose another name or give --overwrite"
        )
    return target


def _require_replaceable(target: Path, name: str, overwrite: bool) -> None:
    if not target.exists():
        return
    if target.is_dir() != (_form(target) == ""):
        kind, expected = ("folder", "a file") if target.is_dir() else ("file", "a folder, .npz or .zip")
        raise OptionError(f"{name}: is a {kind}, expected the name of {expected}; choose another name")
    entries = sorted(os.listdir(target)) if target.is_dir() else [target.name]
    if entries and not overwrite:
        raise OptionError(f"{name}: exists already; choose another name or give --overwrite")
    foreign = [entry for entry in entries if not SAMPLE.fullmatch(entry)] if target.is_dir() else []
    if foreign:
        raise OptionError(f"{name}: holds {printable(foreign[0])}, which is no sample; choose another name")


def record_path(out: str | os.PathLike[str]) -> Path:
    """NAME.json beside NAME.npz, NAME.zip or the folder NAME."""
    path = Path(out)
    return path.with_name((path.stem if _form(path) else path.name) + ".json")


def _form(path: Path) -> str:
    suffix = path.suffix.lower()
    return suffix if suffix in ARCHIVES else ""


def _counted(batches: Iterator[Tensor], bar: tqdm) -> Iterator[np.ndarray]:
    """The batches as arrays `(b, H, W, C)`, counted by the bar."""
    for batch in batches:
        yield batch.permute(0, 2, 3, 1).contiguous().numpy()
        bar.update(len(batch))


def _take_place(hidden: Path, target: Path) -> None:
    """Move samples and record to their names; earlier ones are deleted with the hidden folder.

    The old record is removed first and the new one put in place last, so that a kill in between leaves samples without
    a record, never with a wrong one. A file is replaced by one rename; an old folder is first moved into the hidden
    folder, because a rename cannot replace a folder that holds files.
    """
    record, before, before_record = record_path(target), hidden / "before", hidden / "before.json"
    try:
        if record.exists():
            record.rename(before_record)
        if target.is_dir():
            target.rename(before)
        elif target.exists():
            os.link(target, before)  # a second name, so that the target exists until it is replaced
        os.replace(hidden / "samples", target)
        os.replace(hidden / "record", record)
    except BaseException:
        if before.exists():
            if target.is_dir():
                target.rename(hidden / "samples")
            os.replace(before, target)
        if before_record.exists():
            os.replace(before_record, record)
        raise


def _png(image: np.ndarray) -> bytes:
    """An image `(H, W, C)` as a PNG file of one or three channels."""
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, format="PNG")
    return stream.getvalue()


def _names(numbers: range) -> Iterator[str]:
    """PNG names, all as wide as the last, so that their alphabetical order is the order of the samples."""
    width = max(6, len(str(numbers[-1])))
    return (f"{number:0{width}}.png" for number in numbers)


def _write_folder(path: Path, batches: Iterator[np.ndarray], numbers: range, shape: tuple[int, int, int]) -> None:
    path.mkdir()
    names = _names(numbers)
    for batch in batches:
        for image in batch:
            (path / next(names)).write_bytes(_png(image))


def _write_zip(path: Path, batches: Iterator[np.ndarray], numbers: range, shape: tuple[int, int, int]) -> None:
    names = _names(numbers)
    with open(path, "wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for batch in batches:
                for image in batch:
                    archive.writestr(_member(next(names)), _png(image))
        _sync(file)


def _write_npz(path: Path, batches: Iterator[np.ndarray], numbers: range, shape: tuple[int, int, int]) -> None:
    """The same content as `numpy.savez(path, images)`, written batch by batch to save memory."""
    channels, height, width = shape
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(numbers), height, width, channels)}
    with open(path, "wb") as file:
        with (
            zipfile.ZipFile(file, "w") as archive,
            archive.open(_member("arr_0.npy"), "w", force_zip64=True) as stream,
        ):
            np.lib.format.write_array_header_1_0(stream, header)
            for batch in batches:
                stream.write(batch.data)
        _sync(file)


_FORMS: dict[str, Callable[[Path, Iterator[np.ndarray], range, tuple[int, int, int]], None]] = {
    "": _write_folder,
    ".zip": _write_zip,
    ".npz": _write_npz,
}


def _member(name: str) -> zipfile.ZipInfo:
    """A zip member: stored, readable by all, with a fixed date, so that the same images give the same bytes."""
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o644 << 16
    return info


def _sync(file: io.BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())
