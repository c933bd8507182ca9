"""Where the work runs: device and dtype by name, cores, workers, progress bars."""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any

import torch

from ganmetrics.errors import OptionError
from ganmetrics.printable import brief
from ganmetrics.protocols import DTYPES
from ganmetrics.runtime import launcher


def resolve_device(device: str | torch.device | None = None) -> torch.device:
    """`None` and "auto" mean the first CUDA device if there is one, else the CPU.

    Raises OptionError for a name torch does not know and for a device this machine lacks.
    """
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise OptionError(f"--device: expected auto, cpu, cuda or cuda:N, got {brief(_text(device))}") from None
    if resolved.type == "cuda":
        count = torch.cuda.device_count()
        if (resolved.index or 0) >= count:
            raise OptionError(f"--device {device}: this machine has {count} CUDA devices; use --device cpu")
    elif resolved.type not in ("cpu", "mps"):
        raise OptionError(f"--device: expected auto, cpu, cuda or cuda:N, got {brief(_text(device))}")
    elif resolved.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError(f"--device {device}: this machine has no such device; use --device cpu")
    return resolved


def _text(value: Any) -> Any:
    """A device or dtype as its text; anything else as it is."""
    return str(value) if isinstance(value, (torch.device, torch.dtype)) else value


def numbered(device: torch.device) -> torch.device:
    """A CUDA device with its index, as in `tensor.device`; plain `cuda` is the current device."""
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The dtype a network runs in, from its name or as a torch dtype. Raises OptionError for any other."""
    for name in DTYPES:
        if dtype in (name, candidate := getattr(torch, name)):
            return candidate
    raise OptionError(f"--dtype: expected one of {', '.join(DTYPES)}, got {brief(_text(dtype))}")


def require_tf32(device: torch.device, dtype: torch.dtype) -> None:
    """Raises OptionError where TF32 has no effect: it exists only for float32 products on a CUDA device."""
    if device.type != "cuda":
        raise OptionError(f"--allow-tf32: expected a CUDA device, which alone has TF32, got {device}; leave it out")
    if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < (8, 0):  # Ampere
        raise OptionError(
            "--allow-tf32: expected a card of compute capability 8.0 or more, others lack it; leave it out"
        )
    if dtype != torch.float32:
        got = str(dtype).removeprefix("torch.")
        raise OptionError(f"--allow-tf32: expected --dtype float32, whose products it shortens, got {got}")


def default_workers() -> int:
    """Number of decoding threads: this process's share of the available cores, at most 8."""
    return max(1, min(8, cores() // launcher.local_size()))


def cores() -> int:
    """Number of cores that this process may use."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1


def bar_is_off(progress: bool) -> bool | None:
    """The value for tqdm's `disable`; None shows the bar only if stderr is a terminal."""
    return None if progress and sys.stderr is not None else True


def release_pages(array: Any) -> None:
    """Release the pages read of a memory-mapped array; they count as memory of this process until memory is short."""
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)
