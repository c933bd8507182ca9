"""A generator as the metrics see it: images in [0, 1], nothing of its own changed, every promise of it looked at once.

Written against models in the middle of their training: modes and `requires_grad` come back exactly as they were, no
`.grad` is touched (gradients are asked for with respect to the latent alone) and no random number of the caller's used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganmetrics.errors import GanMetricsError, OptionError, StatisticsError
from ganmetrics.features.custom import blame
from ganmetrics.features.extractor import state_dict_sha256
from ganmetrics.images.base import PixelRule
from ganmetrics.runtime import exact_arithmetic

PROBES = 8  # samples of the prior that are looked at
SLACK = 1e-3  # of the range: what rounding may overshoot, and how far two calls may differ
SEED = 20170411


class OpenGenerator:
    """Wraps `generator`, any object with `latent_shape`, `value_range` and a differentiable `__call__(z)`.

    Optional, where it says them: `n_classes` (it is then called with labels beside z: `(N,)` int64, or `(N, n_classes)`
    floating point where they are searched), `latents(indices, seed=)` (its prior; else N(0, I)), `dtype`.

    Attributes:
        latent_shape, value_range, n_classes: as it says.
        image_shape: `(C, H, W)` of what it makes.
        device, dtype: of its latents.
        warnings: whole sentences for the score.

    Raises OptionError or StatisticsError for one that does not do what it says.
    """

    def __init__(
        self,
        generator: Any,
        *,
        device: torch.device,
        value_range: tuple[float, float] | None = None,
        name: str | None = None,
    ):
        self.generator, self.device = generator, device
        self.name = name or type(generator).__name__
        self.modules = _modules(generator)
        self.latent_shape = self._latent_shape()
        self.value_range = self._value_range(value_range)
        self.n_classes: int | None = getattr(generator, "n_classes", None)
        self.dtype = self._dtype()
        self.warnings: list[str] = []
        self.image_shape = self._probe()

    @property
    def latent_dim(self) -> int:
        return math.prod(self.latent_shape)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Evaluation mode, parameters without gradients, exact arithmetic; everything comes back afterwards."""
        parts = [part for module in self.modules for part in module.modules()]
        modes = [(part, part.training) for part in parts]
        needs = [(p, p.requires_grad) for module in self.modules for p in module.parameters()]
        devices = [self.device] if self.device.type == "cuda" else []
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=devices))
            stack.enter_context(exact_arithmetic(self.device))
            try:
                for module in self.modules:
                    _eval(module)
                for parameter, _ in needs:
                    parameter.requires_grad_(False)
                yield
            finally:
                for part, training in modes:
                    part.training = training
                for parameter, required in needs:
                    parameter.requires_grad_(required)

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents `(N, *latent_shape)` -> images `(N, C, H, W)`, its range mapped to [0, 1], float32 or float64.

        Raises OptionError for whatever goes wrong inside of it, and for another number of images than latents.
        """
        try:
            images = self.generator(z) if labels is None else self.generator(z, labels)
        except (GanMetricsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # somebody's own code
            hint = "" if self.n_classes else "; one that needs labels says how many kinds there are with n_classes"
            raise OptionError(f"generator {self.name}: {blame(error)}{hint}") from error
        if not isinstance(images, Tensor) or images.ndim != 4 or len(images) != len(z) or 0 in images.shape:
            came = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise OptionError(
                f"generator {self.name}: expected images of shape ({len(z)}, C, H, W) for {len(z)} latents, came {came}"
            )
        low, high = self.value_range
        return (images.to(self.dtype) - low) / (high - low)

    def prior(self, n: int, seed: int = 0) -> Tensor:
        """`n` latents `(n, *latent_shape)`: the generator's own `latents(indices, seed=)`, else N(0, I)."""
        own = getattr(self.generator, "latents", None)
        if callable(own):
            return self._own_prior(own, n, seed)
        random = torch.Generator().manual_seed(seed)
        return torch.randn((n, *self.latent_shape), generator=random, dtype=torch.float64).to(self.device, self.dtype)

    def _own_prior(self, latents: Callable[..., Any], n: int, seed: int) -> Tensor:
        try:
            found = latents(range(n), seed=seed)
            if tuple(found.shape) != (n, *self.latent_shape):
                raise ValueError(f"gave shape {tuple(found.shape)}")
        except Exception as error:
            raise OptionError(
                f"generator {self.name}: expected its latents(range({n}), seed={seed}) to give samples of its prior, "
                f"{(n, *self.latent_shape)}; {blame(error)}"
            ) from error
        return found.to(self.device, self.dtype)

    def describe(self) -> dict[str, Any]:
        """The part of a score's protocol that it decides."""
        weights = [state_dict_sha256(module) for module in self.modules]
        return {
            "generator": self.name,
            "generator_sha256": weights[0] if len(weights) == 1 else weights or None,
            "latent_shape": list(self.latent_shape),
            "value_range": list(self.value_range),
            "image_shape": list(self.image_shape),
        }

    def _latent_shape(self) -> tuple[int, ...]:
        try:
            shape = tuple(int(size) for size in self.generator.latent_shape)
        except (AttributeError, TypeError, ValueError):
            shape = ()
        if not shape or min(shape) < 1 or not callable(self.generator):
            raise OptionError(
                f"generator {self.name}: expected a callable with latent_shape, such as (100,), and value_range; "
                f"its latent_shape is {getattr(self.generator, 'latent_shape', None)!r}"
            )
        return shape

    def _value_range(self, given: tuple[float, float] | None) -> tuple[float, float]:
        said = getattr(self.generator, "value_range", None)
        if said is None and given is None:
            raise OptionError(
                f"generator {self.name}: does not say the range of its images; state it with "
                "--generator-range -1 1 (tanh) or --generator-range 0 1 (sigmoid) (generator_range=)"
            )
        low, high = PixelRule.checked(said if said is not None else given, None, "round").value_range or (0.0, 1.0)
        if said is not None and given is not None and (low, high) != tuple(map(float, given)):
            raise OptionError(
                f"generator {self.name}: says its images are in [{low:g}, {high:g}]; leave --generator-range out"
            )
        return low, high

    def _dtype(self) -> torch.dtype:
        found = [p.dtype for module in self.modules for p in module.parameters() if p.is_floating_point()]
        dtype = getattr(self.generator, "dtype", None) or (found[0] if found else torch.float32)
        return torch.float64 if dtype == torch.float64 else torch.float32

    def _probe(self) -> tuple[int, int, int]:
        """A few samples, their gradient, and one of them alone. Returns the shape of an image."""
        labels = None
        if self.n_classes is not None:
            labels = torch.arange(PROBES, device=self.device) % self.n_classes
        with self.measuring(), torch.enable_grad():
            z = self.prior(PROBES, SEED).requires_grad_()
            images = self(z, labels)
            if not images.requires_grad or torch.autograd.grad(images.sum(), z, allow_unused=True)[0] is None:
                raise OptionError(
                    f"generator {self.name}: no gradient passes through it to z; leave out detach(), no_grad() and "
                    "inference_mode() inside of it"
                )
            images = images.detach()
            alone = self(z[:1].detach(), None if labels is None else labels[:1]).detach()
        self._check(images, alone)
        return images.shape[1], images.shape[2], images.shape[3]

    def _check(self, images: Tensor, alone: Tensor) -> None:
        if not torch.isfinite(images).all():
            raise StatisticsError(f"generator {self.name}: makes NaN or infinity of samples of its prior; it diverged")
        low, high = self.value_range
        came = [float(value) * (high - low) + low for value in torch.aminmax(images)]
        if float(images.min()) < -SLACK or float(images.max()) > 1 + SLACK:
            raise StatisticsError(
                f"generator {self.name}: says its images are in [{low:g}, {high:g}], "
                f"and they reach from {came[0]:.3g} to {came[1]:.3g}; correct its value_range"
            )
        if float((images[:1] - alone).abs().max()) > SLACK:
            raise StatisticsError(
                f"generator {self.name}: its image of one latent changes from call to call or with the batch "
                "(noise of its own, or batch norm that was exported in training mode); make it depend on z alone"
            )
        if float(images.min()) > 0.5 - SLACK and float(images.max()) > 0.5 + SLACK:
            self.warnings.append(
                f"the generator says its images are in [{low:g}, {high:g}], and no value of {PROBES} samples lies in "
                "the lower half: is its value_range right?"
            )


def _modules(generator: Any) -> list[nn.Module]:
    """The object itself, or the modules that it holds, also in a list or a dictionary."""
    if isinstance(generator, nn.Module):
        return [generator]
    owner = getattr(generator, "__self__", generator)
    if isinstance(owner, nn.Module):
        return [owner]
    held = []
    for value in getattr(owner, "__dict__", {}).values():
        several = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        held += [one for one in several if isinstance(one, nn.Module)]
    return held


def _eval(module: nn.Module) -> None:
    try:
        module.eval()
    except NotImplementedError:  # an exported program has the one mode that it was exported in
        return
