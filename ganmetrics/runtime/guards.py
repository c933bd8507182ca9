"""Global state around our work: random states, modes and caches of torch are restored as the caller had them."""

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

FEW = 1000  # members of the largest container that is searched
DEPTH = 6  # levels of nested containers and objects that are searched


@contextmanager
def restored_random(seed: int | None = None) -> Iterator[None]:
    """Restore all random states on exit (Python, NumPy, torch, every CUDA device); inside they start from `seed`.

    CUDA is left alone if nothing has used it yet: reading its state would initialise the device, and a seed set before
    would be applied later, when the caller uses it.
    """
    on_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    python_state, numpy_state, cpu_state = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if on_cuda else []
    try:
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)
            if on_cuda:
                torch.cuda.manual_seed_all(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(cpu_state)
        if on_cuda:
            torch.cuda.set_rng_state_all(cuda_states)


@contextmanager
def evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Every submodule in evaluation mode; each one's own flag is restored, since some may be frozen while others train.

    `train()` and `eval()` are not called, because an overridden one may do more than can be undone.
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
    """No gradient, and a surrounding autocast caches no weights that are cast inside.

    torch before 2.11 would reuse them, without gradient, in training: https://github.com/pytorch/pytorch/issues/112583.
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
def refusing_training_mode(message: str = SAMPLER, known: Iterable[nn.Module] = ()) -> Iterator[None]:
    """Raises OptionError before a module runs in training mode that has dropout or buffers (batch norm) and is neither
    in `known` nor a part of one. `{}` in `message` stands for its class.
    """
    seen = {id(part) for module in known for part in module.modules()}

    def look(module: nn.Module, _: Any) -> None:
        if (
            module.training
            and (isinstance(module, _DropoutNd) or next(module.buffers(recurse=False), None) is not None)
            and id(module) not in seen
        ):
            raise OptionError(message.replace("{}", type(module).__name__))

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def modules_of(sampler: Any) -> list[nn.Module]:
    """The networks of a sampler or generator, each once, the nearest first, without those that are parts of another.

    Searched are the object (for a method, the object that it belongs to) and its attributes, also inside lists,
    dictionaries and other objects.
    """
    level: list[Any] = [getattr(sampler, "__self__", sampler)]
    networks: list[nn.Module] = []
    seen: set[int] = set()
    for _ in range(DEPTH):
        level = [item for item in level if id(item) not in seen][: 10 * FEW]  # bounds the time for large objects
        seen.update(map(id, level))
        networks += [item for item in level if isinstance(item, nn.Module)]
        level = [member for item in level for member in _members(item)]
    parts = {id(part) for module in networks for part in module.modules() if part is not module}
    return [item for item in dict.fromkeys(networks) if id(item) not in parts]


def _members(owner: Any) -> list[Any]:
    """Attributes of an object that is no network, and the members of a container with at most FEW of them."""
    if isinstance(owner, (nn.Module, Tensor, type, ModuleType, FunctionType)):
        return []
    items = owner.values() if isinstance(owner, dict) else owner if isinstance(owner, (list, tuple, set)) else []
    attributes = getattr(owner, "__dict__", {})
    return [*(items if len(items) <= FEW else []), *(attributes.values() if isinstance(attributes, dict) else [])]


@contextmanager
def ordinary_modes(*, gradients: bool = True, dtype: torch.dtype | None = torch.float32) -> Iterator[None]:
    """No inference mode, no autocast, the CPU and `dtype` as defaults; the caller's modes are restored.

    gradients: whether gradients are recorded.
    dtype: None keeps the caller's default, for the caller's own code that runs inside.
    """
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        # A device mode slows every call, so it is entered only where the default is another. An empty tensor tells:
        # `torch.get_default_device` of torch 2.6 fails after a default was unset.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(before if dtype is None else dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
