"""Global state around our work: random numbers, modes and caches of torch come back as the caller had them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ganmetrics.errors import OptionError

FEW = 1000  # members of a container that is looked into
DEPTH = 6  # containers and objects within each other that are searched for networks


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


SAMPLER = (
    "sampler: runs a {} in training mode; name the network, generator=G, and it samples in evaluation mode "
    "(generator=[] leaves every mode as it is)"
)


@contextmanager
def refusing_training_mode(said: str = SAMPLER, known: Iterable[nn.Module] = ()) -> Iterator[None]:
    """Raises OptionError when a module other than the known ones runs that drops out, or moves its buffers, in
    training mode: before it does. `said` has a place for its kind.
    """
    seen = {id(part) for module in known for part in module.modules()}

    def look(module: nn.Module, _: Any) -> None:
        if (
            module.training
            and (isinstance(module, _DropoutNd) or next(module.buffers(recurse=False), None) is not None)
            and id(module) not in seen
        ):
            raise OptionError(said.replace("{}", type(module).__name__))

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def modules_of(sampler: Any) -> list[nn.Module]:
    """The networks that can be seen to be a sampler's or generator's, each once: itself, what its method belongs to,
    or what that holds, also in lists, dictionaries and other objects, those nearest to it first.
    """
    level: list[Any] = [getattr(sampler, "__self__", sampler)]
    found: list[nn.Module] = []
    seen: set[int] = set()
    for _ in range(DEPTH):
        level = [one for one in level if id(one) not in seen][: 10 * FEW]
        seen.update(map(id, level))
        found += [one for one in level if isinstance(one, nn.Module)]
        level = [held for one in level for held in _held(one)]
    parts = {id(part) for module in found for part in module.modules() if part is not module}
    return [one for one in dict.fromkeys(found) if id(one) not in parts]


def _held(owner: Any) -> list[Any]:
    """What an object that is no network has as attributes, or a container of a few holds."""
    if isinstance(owner, (nn.Module, Tensor, type, ModuleType, FunctionType)):
        return []
    several = owner.values() if isinstance(owner, dict) else owner if isinstance(owner, (list, tuple, set)) else []
    attributes = getattr(owner, "__dict__", {})
    return [*(several if len(several) <= FEW else []), *(attributes.values() if isinstance(attributes, dict) else [])]


@contextmanager
def ordinary_modes(*, gradients: bool = True, dtype: torch.dtype | None = torch.float32) -> Iterator[None]:
    """No inference mode, no autocast, the CPU and `dtype` as defaults; the caller's modes come back.

    gradients: whether they are recorded.
    dtype: None leaves the caller's, for code of the caller's own that runs inside.
    """
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        # The mode costs time at every call, so only where it is needed; `torch.get_default_device` of torch 2.6 breaks
        # once a default was taken back.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(before if dtype is None else dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
