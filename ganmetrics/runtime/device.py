"""Where and how the arithmetic runs: device, dtype, and the settings that would silently change a number."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from ganmetrics.errors import OptionError
from ganmetrics.protocols import DTYPES
from ganmetrics.runtime import launcher


def resolve_device(device: str | torch.device | None = None) -> torch.device:
    """`None` and "auto" take the first CUDA device where there is one, else the CPU.

    Raises OptionError for a name torch does not know and for a device this machine lacks.
    """
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise OptionError(f"--device: expected auto, cpu, cuda or cuda:N, came {str(device)!r}") from None
    if resolved.type == "cuda":
        count = torch.cuda.device_count()
        if (resolved.index or 0) >= count:
            raise OptionError(f"--device {device}: this machine has {count} CUDA devices; use --device cpu")
    elif resolved.type not in ("cpu", "mps"):
        raise OptionError(f"--device: expected auto, cpu, cuda or cuda:N, came {str(device)!r}")
    elif resolved.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError(f"--device {device}: this machine has no such device; use --device cpu")
    return resolved


def numbered(device: torch.device) -> torch.device:
    """A CUDA device with its number, as tensors on it say it; `cuda` alone is the one that is current."""
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The dtype a network runs in, by name or as torch has it. Raises OptionError for any other."""
    for name in DTYPES:
        if dtype in (name, known := getattr(torch, name)):
            return known
    raise OptionError(f"--dtype: expected one of {', '.join(DTYPES)}, came {str(dtype)!r}")


def require_tf32(device: torch.device, dtype: torch.dtype) -> None:
    """Raises OptionError where TF32 would change nothing: it is how a CUDA device may multiply float32."""
    if device.type != "cuda":
        raise OptionError(f"--allow-tf32: expected a CUDA device, which alone has TF32, came {device}; leave it out")
    if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < (8, 0):
        raise OptionError(
            "--allow-tf32: expected a card of compute capability 8.0 or more, others lack it; leave it out"
        )
    if dtype != torch.float32:
        came = str(dtype).removeprefix("torch.")
        raise OptionError(f"--allow-tf32: expected --dtype float32, whose products it shortens, came {came}")


def default_workers() -> int:
    """Decoding threads: the cores this process may use, shared with others of its launcher, at most 8."""
    return max(1, min(8, cores() // launcher.local_size()))


def cores() -> int:
    """Those this process may use."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1


def _fp32_knobs(device: torch.device, *, tf32: bool) -> list[tuple[Any, str, Any]]:
    """(object, attribute, value) for every switch that lets torch round float32 to something shorter there.

    Only those of the device: cuDNN's default cannot be written back, only the value that it reads as, which from then
    on ignores the wider switch `torch.backends.cudnn.fp32_precision`.
    """
    backends: Any = torch.backends
    if hasattr(backends.cudnn, "conv") and hasattr(backends.cudnn.conv, "fp32_precision"):  # torch >= 2.9
        on_cuda = device.type == "cuda"
        owners = (
            (backends.cuda.matmul, backends.cudnn.conv) if on_cuda else (backends.mkldnn.matmul, backends.mkldnn.conv)
        )
        return [(owner, "fp32_precision", "tf32" if tf32 else "ieee") for owner in owners]
    return [(backends.cuda.matmul, "allow_tf32", tf32), (backends.cudnn, "allow_tf32", tf32)]


@contextmanager
def exact_arithmetic(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """No gradient, no TF32, no shortened float32 products, no ambient autocast; the caller's settings come back.

    tf32: let a CUDA device multiply float32 in TF32 after all (a product of 10-bit mantissas, summed in float32).

    Neither inference mode nor another default device reaches inside, so that what is kept can be added to later.

    A metric inside somebody's training loop meets whatever they set for speed: TF32 alone made FID depend on the
    batch size (torchmetrics#1620), and `set_float32_matmul_precision("medium")` is bfloat16 on this kind of CPU.
    """
    knobs = _fp32_knobs(device, tf32=tf32 and device.type == "cuda")
    before = [getattr(owner, name) for owner, name, _ in knobs]
    plain = (
        torch.inference_mode(False),  # which would switch gradients on
        torch.no_grad(),
        torch.device("cpu"),
        torch.autocast(device.type, enabled=False),
    )
    with ExitStack() as stack:
        for context in plain:
            stack.enter_context(context)
        try:
            for owner, name, exact in knobs:
                setattr(owner, name, exact)
            yield
        finally:
            for (owner, name, _), value in zip(knobs, before, strict=True):
                setattr(owner, name, value)


def bar_is_off(progress: bool) -> bool | None:
    """Tqdm's `disable`: None leaves it to whether stderr is a terminal, where there is a stderr at all."""
    return None if progress and sys.stderr is not None else True


def release_pages(array: Any) -> None:
    """Let go of what was read of a memory-mapped array: its pages would count as ours until memory runs short."""
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)
