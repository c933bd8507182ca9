"""Exact float32 arithmetic, whatever the caller has set for speed; the caller's settings come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ganmetrics.runtime.guards import ordinary_modes


class _Products:
    """The switch for float32 products before torch 2.9: to write back `allow_tf32` turns a "medium" into "high"."""

    @property
    def precision(self) -> str:
        return torch.get_float32_matmul_precision()

    @precision.setter
    def precision(self, value: str) -> None:
        torch.set_float32_matmul_precision(value)


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
    return [(_Products(), "precision", "high" if tf32 else "highest"), (backends.cudnn, "allow_tf32", tf32)]


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
    with ordinary_modes(gradients=False, dtype=None), torch.autocast(device.type, enabled=False):
        try:
            for owner, name, exact in knobs:
                setattr(owner, name, exact)
            yield
        finally:
            for (owner, name, _), value in zip(knobs, before, strict=True):
                setattr(owner, name, value)
