"""Exact float32 arithmetic, regardless of the caller's settings for speed, which are restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ganmetrics.runtime.guards import ordinary_modes


class _Products:
    """Precision of float32 products before torch 2.9: restoring `allow_tf32` would turn "medium" into "high"."""

    @property
    def precision(self) -> str:
        return torch.get_float32_matmul_precision()

    @precision.setter
    def precision(self, value: str) -> None:
        torch.set_float32_matmul_precision(value)


def _fp32_knobs(device: torch.device, *, tf32: bool) -> list[tuple[Any, str, Any]]:
    """(object, attribute, value) for every switch that lets torch compute float32 at a lower precision on this device.

    Switches of other devices are left alone, because cuDNN's default cannot be restored: once the value that was read
    is written back, `torch.backends.cudnn.fp32_precision` no longer has any effect on it.
    """
    backends: Any = torch.backends
    if hasattr(backends.cudnn, "conv") and hasattr(backends.cudnn.conv, "fp32_precision"):  # torch >= 2.9
        on_cuda = device.type == "cuda"
        owners = (
            (backends.cuda.matmul, backends.cudnn.conv) if on_cuda else (backends.mkldnn.matmul, backends.mkldnn.conv)
        )
        return [(owner, "fp32_precision", "tf32" if tf32 else "ieee") for owner in owners]
    return [(_Products(), "precision", "high" if tf32 else "highest"), (backends.cudnn, "allow_tf32", tf32)]


@contextmanager
def exact_arithmetic(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """No gradient, no TF32, no float32 products of lower precision, no autocast; the caller's settings are restored.

    tf32: allow TF32 on a CUDA device after all (products of 10-bit mantissas, summed in float32).

    The caller's inference mode and default device are off inside, so that tensors made here can be changed later.

    Training loops lower the precision for speed: TF32 alone made FID depend on the batch size (torchmetrics#1620), and
    `set_float32_matmul_precision("medium")` means bfloat16 on some CPUs.
    """
    knobs = _fp32_knobs(device, tf32=tf32 and device.type == "cuda")
    before = [getattr(owner, name) for owner, name, _ in knobs]
    with ordinary_modes(gradients=False, dtype=None), torch.autocast(device.type, enabled=False):
        try:
            for owner, name, exact in knobs:
                setattr(owner, name, exact)
            yield
        finally:
            for (owner, name, _), value in zip(knobs, before, strict=True):
                setattr(owner, name, value)
