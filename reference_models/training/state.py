"""Everything that a training step changes, as one object: `advance` makes one step, `state` returns all of it.

Several processes share a batch: each draws the same latents and takes its own part of them, and gradients are
averaged after each backward pass, as in StyleGAN's loop. DistributedDataParallel is not used: it does not allow two
calls of the discriminator before one backward pass, nor a frozen discriminator while the generator is updated.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from reference_models.errors import RecipeError, TrainingError
from reference_models.variant import Variant

if TYPE_CHECKING:
    from accelerate import Accelerator

WARM_UP = 10  # steps after which the average's decay begins to count, as in TensorFlow's `num_updates`


def make_accelerator(device: str | None = None, mixed_precision: str = "no", **options: Any) -> Accelerator:
    """An Accelerator: device, processes and precision. Raises RecipeError if accelerate or the device is missing."""
    from ganmetrics.runtime.device import resolve_device

    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError:
        raise RecipeError("training needs accelerate: pip install 'ganmetrics[train]'") from None
    chosen = resolve_device(device)
    earlier = AcceleratorState._shared_state
    if earlier and (earlier["_mixed_precision"], earlier["device"].type) != (mixed_precision, chosen.type):
        # accelerate keeps the first state of a process; another device or precision needs a new one
        AcceleratorState._reset_state(reset_partial_state=earlier["num_processes"] == 1)
    try:
        accelerator = Accelerator(cpu=chosen.type == "cpu", mixed_precision=mixed_precision, **options)
        _require_installed(options.get("log_with", []))
    except ValueError as error:  # an unknown tracker
        raise RecipeError(f"--tracker: {error}") from error
    if chosen.type != accelerator.device.type or (chosen.index or 0) not in (0, accelerator.device.index):
        raise RecipeError(
            f"--device {device}: accelerate runs on {accelerator.device}; choose with CUDA_VISIBLE_DEVICES"
        )
    return accelerator


def _require_installed(trackers: Sequence[str]) -> None:
    from accelerate.tracking import get_available_trackers

    installed = [str(getattr(tracker, "value", tracker)) for tracker in get_available_trackers()]
    missing = [tracker for tracker in trackers if tracker not in installed]
    if missing:
        raise RecipeError(f"--tracker {missing[0]}: is not installed; pip install {missing[0]}, or --tracker none")


class Average:
    """The generator's exponential moving average, batch norm's statistics included.

    It starts as a copy. Its decay is min(`decay`, (1 + t) / (10 + t)) at step t, so that the untrained weights soon
    lose their influence.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the network's present weights; `step` counts from 0."""
        decay = min(self.decay, (1 + step) / (WARM_UP + step))
        averages, currents = zip(*self._floats, strict=True)
        torch._foreach_lerp_(averages, currents, 1 - decay)
        for average, current in self._counts:  # such as batch norm's number of batches
            average.copy_(current)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


class Training:
    """Networks, average, optimisers, schedules, random numbers and step of one run.

    Args:
        variant: with its recipe; `recipe.nc` is set.
        accelerator: from `make_accelerator`; None makes one for the CPU or the first GPU.
        seed: of the initial weights and of all later random numbers.
        steps_per_epoch: for schedules that count epochs.

    Attributes:
        networks: by name, `generator` among them.
        average: of the generator; samples come from `average.network` by default.
        step: number of finished steps.
        drawn: latents of the last call of `latent`, those of all processes.
    """

    def __init__(
        self, variant: Variant, accelerator: Accelerator | None = None, *, seed: int = 0, steps_per_epoch: int = 1
    ):
        self.variant = variant
        self.accelerator = accelerator or make_accelerator(mixed_precision=variant.recipe.mixed_precision)
        self.device = self.accelerator.device
        self.step = 0
        seed_everything(seed)  # the same weights in every process
        networks = variant.networks()  # channels last: convolutions are a sixth faster on a CPU, more on tensor cores
        self.networks = {
            n: net.to(self.device).to(memory_format=torch.channels_last).train() for n, net in networks.items()
        }
        self.average = Average(self.networks["generator"], variant.recipe.ema_decay)
        self.optimizers = variant.optimizers(self.networks)
        self.schedules = variant.schedules(self.optimizers, steps_per_epoch)
        self.random = torch.Generator(self.device).manual_seed(seed)
        self.drawn: Tensor | None = None
        seed_everything(seed + self.accelerator.process_index)  # other dropout in every process

    def advance(self, real: Tensor) -> dict[str, float]:
        """One step on `real`, uint8 or float in the variant's range, images `(n, C, H, W)` or points `(n, D)`.

        Returns the measured values, averaged over the processes.
        """
        real = real.to(self.device, non_blocking=True)
        if real.dtype == torch.uint8:
            low, high = self.variant.value_range
            real = real.float().mul_((high - low) / 255).add_(low)
        measured = self.variant.step(self, real)
        for schedule in self.schedules.values():
            schedule.step()
        self.average.update(self.step)
        self.step += 1
        values = torch.stack([value.float() for value in measured.values()])
        return dict(zip(measured, self.accelerator.reduce(values, "mean").tolist(), strict=True))

    def latent(self, n: int) -> Tensor:
        """Latents for the `n` images of this process: its part of the latents of the whole batch."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        self.drawn = self.variant.latent(n * world, self.random)
        return self.drawn[rank * n : (rank + 1) * n]

    def autocast(self) -> AbstractContextManager:
        """A context to call networks in: mixed precision, if the recipe asks for it."""
        return self.accelerator.autocast()

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """No gradients for the weights of network `name`; gradients still flow through it."""
        self.networks[name].requires_grad_(False)
        try:
            yield
        finally:
            self.networks[name].requires_grad_(True)

    def update(self, name: str, loss: Tensor) -> Tensor:
        """One step of the optimiser `name` that lowers `loss`; returns the Euclidean norm of the gradient."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.accelerator.num_processes > 1:
            self._average_gradients(gradients)
        optimizer.step()
        return torch.nn.utils.get_total_norm(gradients)

    def _average_gradients(self, gradients: list[Tensor]) -> None:
        # one exchange for all gradients, because each has a fixed cost
        flat = self.accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "mean")
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on; `networks` and `average` are state dicts."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "average": self.average.network.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "schedules": {name: schedule.state_dict() for name, schedule in self.schedules.items()},
            "variant": self.variant.state(),
            "random": {"latent": self.random.get_state(), "processes": self._gathered(random_state(self.device))},
            "step": self.step,
        }

    def _gathered(self, own: Any) -> list[Any]:
        if self.accelerator.num_processes == 1:
            return [own]
        from accelerate.utils import gather_object

        return gather_object([own])

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        self.average.network.load_state_dict(state["average"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state["schedules"][name])
        self.variant.load_state(state["variant"])
        self.random.set_state(state["random"]["latent"])
        set_random_state(state["random"]["processes"][self.accelerator.process_index], self.device)
        self.step = state["step"]


def seed_everything(seed: int) -> None:
    """Seed the global random numbers of Python, NumPy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # NumPy takes no larger seeds
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of the global random numbers of Python, NumPy and torch in this process."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state = {  # NumPy's uint32 keys as int64, because torch supports few operations on uint32
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    return {**state, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Restore what `random_state` returned; CUDA's only if the state has it and `device` is a GPU."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def require_finite(measured: Mapping[str, float], step: int) -> None:
    """Raises TrainingError that names every value that is NaN or infinite."""
    broken = [f"{name} is {value}" for name, value in measured.items() if not math.isfinite(value)]
    if broken:
        raise TrainingError(f"step {step}: {', '.join(broken)}")
