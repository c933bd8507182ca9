"""Measuring in the middle of somebody's training leaves no trace: random numbers, modes and caches as they were."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ganmetrics.errors import OptionError


@contextmanager
def restored_random(seed: int | None = None) -> Iterator[None]:
    """The global random numbers of Python, NumPy, torch and every CUDA device come back; inside they start from `seed`.

    CUDA is left alone where nothing has used it yet: asking would claim the device, and a seed would reach it later.
    """
    on_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    python, array, cpu = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if on_cuda else []
    try:
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)
            if on_cuda:
                torch.cuda.manual_seed_all(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(cpu)
        if on_cuda:
            torch.cuda.set_rng_state_all(devices)


@contextmanager
def evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Every submodule in evaluation mode; each gets its own flag back, also one that was frozen in a trained network.

    The flags alone are set: a `train()` that somebody has written may do more than can be undone.
    """
    flags = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for part, _ in flags:
            part.training = False
        yield
    finally:
        for part, training in flags:
            part.training = training


@contextmanager
def no_traces_of_autocast() -> Iterator[None]:
    """No gradient, and an autocast around us keeps none of our casts, which training would find to be without one.

    torch before 2.11 does so: https://github.com/pytorch/pytorch/issues/112583.
    """
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_autocast_cache_enabled(cached)


@contextmanager
def refusing_training_mode() -> Iterator[None]:
    """Raises OptionError when a module runs that drops out, or moves its buffers, in training mode."""

    def look(module: nn.Module, _: Any) -> None:
        if module.training and (
            isinstance(module, _DropoutNd) or next(module.buffers(recurse=False), None) is not None
        ):
            raise OptionError(
                f"sampler: runs a {type(module).__name__} in training mode; name the network, generator=G, and it "
                "samples in evaluation mode (generator=[] leaves every mode as it is)"
            )

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def modules_of(sampler: Any) -> list[nn.Module]:
    """The networks that can be seen to be a sampler's: itself, what its method belongs to, or what it holds."""
    owner = getattr(sampler, "__self__", sampler)
    if isinstance(owner, nn.Module):
        return [owner]
    return [value for value in getattr(owner, "__dict__", {}).values() if isinstance(value, nn.Module)]


def latents(generator: Any, start: int, n: int, seed: int, like: Tensor) -> Tensor:
    """Latents `start` to `start + n` of the generator's own prior where it has one, else the next of N(0, I)."""
    own = getattr(generator, "latents", None)
    drawn = own(range(start, start + n), seed=seed) if callable(own) else None
    drawn = torch.randn(n, *generator.latent_shape, device="cpu") if drawn is None else drawn
    return drawn.to(like.device, like.dtype)
