"""A generator as the metrics use it: images in [0, 1], its state unchanged, everything that it states checked once.

Safe for models in the middle of training: modes and `requires_grad` are restored, no `.grad` changes (gradients are
computed with respect to the latent only), and the caller's random state is not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ganmetrics.errors import GanMetricsError, OptionError, StatisticsError
from ganmetrics.features.custom import blame
from ganmetrics.features.extractor import state_dict_sha256
from ganmetrics.generators.latents import own_latents
from ganmetrics.images.base import PixelRule
from ganmetrics.printable import brief
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.runtime.guards import evaluating, modules_of, refusing_training_mode
from ganmetrics.validation import whole

PROBES = 8  # samples of the prior that are checked
SLACK = 1e-3  # of the range: how far values may lie outside by rounding, and how far two calls may differ
SEED = 20170411  # of the checked samples
FILLED = 1 / 4  # of the range; samples that cover less cause a warning
HALF = (torch.float16, torch.bfloat16)


class OpenGenerator:
    """Wraps `generator`, any object with `latent_shape`, `value_range` and a differentiable `__call__(z)`.

    Optional attributes of `generator`: `n_classes` (it is then called with labels besides z: `(N,)` int64, or
    `(N, n_classes)` floating point in a search over labels), `latents(indices, seed=)` (samples of its prior; else
    N(0, I)), `latent_bound` (largest absolute value of a latent's coordinates, also in a search), `dtype`.

    Attributes:
        latent_shape, value_range, n_classes, latent_bound: as the generator states them.
        image_shape: `(C, H, W)` of its images.
        device, dtype: of latents; a generator in half precision gets them converted to its own dtype.
        warnings: full sentences for the score.

    Raises OptionError or StatisticsError if the generator does not do what it states.
    """

    def __init__(
        self,
        generator: Any,
        *,
        device: torch.device,
        value_range: tuple[float, float] | None = None,
        name: str | None = None,
        differentiable: bool = True,
    ):
        self.generator, self.device = generator, device
        self._differentiable = differentiable
        self.name = name or type(generator).__name__
        self.modules = modules_of(generator)
        self.latent_shape = self._latent_shape()
        self.value_range = self._value_range(value_range)
        self.n_classes, self.latent_bound = self._n_classes(), self._latent_bound()
        self.warnings: list[str] = []
        self._runs_in = self._own_dtype()
        self.dtype = torch.float64 if self._runs_in == torch.float64 else torch.float32
        self.image_shape = self._probe()

    @property
    def latent_dim(self) -> int:
        return math.prod(self.latent_shape)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Evaluation mode, parameters without gradients, exact arithmetic; everything is restored afterwards."""
        required_before = [(p, p.requires_grad) for module in self.modules for p in module.parameters()]
        devices = [self.device] if self.device.type == "cuda" else []
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=devices))
            stack.enter_context(exact_arithmetic(self.device))
            stack.enter_context(evaluating(self.modules))
            try:
                for parameter, _ in required_before:
                    parameter.requires_grad_(False)
                yield
            finally:
                for parameter, required in required_before:
                    parameter.requires_grad_(required)

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents `(N, *latent_shape)` -> images `(N, C, H, W)`, `value_range` mapped to [0, 1], float32 or float64."""
        low, high = self.value_range
        return (self.raw(z, labels).to(self.dtype) - low) / (high - low)

    def raw(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents `(N, *latent_shape)` -> images `(N, C, H, W)` in `value_range`, in the generator's own dtype.

        Raises OptionError for errors inside the generator, and for another number of images than latents.
        """
        if self._runs_in in HALF:
            z = z.to(self._runs_in)
            labels = labels if labels is None or not labels.is_floating_point() else labels.to(self._runs_in)
        try:
            images = self.generator(z) if labels is None else self.generator(z, labels)
        except (GanMetricsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the user's code can raise anything
            lacks_labels = isinstance(error, TypeError) and "argument" in str(error) and not self.n_classes
            hint = "; one that needs labels says how many kinds there are with n_classes" if lacks_labels else ""
            raise OptionError(f"generator {self.name}: {blame(error)}{hint}") from error
        if not isinstance(images, Tensor) or images.ndim != 4 or len(images) != len(z) or 0 in images.shape:
            got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise OptionError(
                f"generator {self.name}: expected images of shape ({len(z)}, C, H, W) for {len(z)} latents, got {got}"
            )
        return images

    def prior(self, n: int, seed: int = 0) -> Tensor:
        """`n` latents `(n, *latent_shape)`: the generator's own `latents(indices, seed=)`, else N(0, I)."""
        own = own_latents(self.generator, range(n), seed, self.latent_shape, self.name)
        if own is None:
            random = torch.Generator().manual_seed(seed)
            # float64, so that every dtype gets the same latents up to rounding
            own = torch.randn((n, *self.latent_shape), generator=random, dtype=torch.float64)
        return own.to(self.device, self.dtype)

    def describe(self) -> dict[str, Any]:
        """The generator's part of a score's protocol."""
        weights = [state_dict_sha256(module) for module in self.modules]
        return {
            "generator": self.name,
            "generator_sha256": weights[0] if len(weights) == 1 else weights or None,
            "latent_shape": list(self.latent_shape),
            "value_range": list(self.value_range),
            "image_shape": list(self.image_shape),
            "latent_bound": self.latent_bound,
        }

    def _latent_shape(self) -> tuple[int, ...]:
        try:
            shape = tuple(int(size) for size in self.generator.latent_shape)
        except (AttributeError, TypeError, ValueError):
            shape = ()
        if not shape or min(shape) < 1 or not callable(self.generator):
            raise OptionError(
                f"generator {self.name}: expected a callable with latent_shape, such as (100,), and value_range; "
                f"its latent_shape is {brief(getattr(self.generator, 'latent_shape', None))}"
            )
        return shape

    def _value_range(self, option: tuple[float, float] | None) -> tuple[float, float]:
        stated = getattr(self.generator, "value_range", None)
        if stated is None and option is None:
            raise OptionError(
                f"generator {self.name}: does not say the range of its images; state it with "
                "--generator-range -1 1 (tanh) or --generator-range 0 1 (sigmoid) (generator_range=)"
            )
        by_option, own = _pair(option, "--generator-range"), _pair(stated, "value_range")
        low, high = own or by_option or (0.0, 1.0)
        if own is not None and by_option not in (None, own):
            raise OptionError(
                f"generator {self.name}: says its images are in [{low:g}, {high:g}]; leave --generator-range out"
            )
        return low, high

    def _n_classes(self) -> int | None:
        n_classes = getattr(self.generator, "n_classes", None)
        return None if n_classes is None else whole(f"generator {self.name}: n_classes", n_classes, 1)

    def _latent_bound(self) -> float | None:
        bound = getattr(self.generator, "latent_bound", None)
        if bound is None:
            return None
        if not isinstance(bound, Real) or isinstance(bound, bool) or not (math.isfinite(bound) and float(bound) > 0):
            raise OptionError(
                f"generator {self.name}: expected a latent_bound above 0, such as 1 for latents in [-1, 1], or None, "
                f"got {brief(bound)}"
            )
        return float(bound)

    def _own_dtype(self) -> torch.dtype:
        dtypes = [p.dtype for module in self.modules for p in module.parameters() if p.is_floating_point()]
        stated = getattr(self.generator, "dtype", None)
        dtype = stated if isinstance(stated, torch.dtype) and stated.is_floating_point else [*dtypes, torch.float32][0]
        if dtype in HALF and self._differentiable:
            self.warnings.append(
                f"the generator runs in {str(dtype).removeprefix('torch.')}, whose rounding hides small steps from a "
                "search; .float() reaches lower errors"
            )
        return dtype

    def _probe(self) -> tuple[int, int, int]:
        """Check a few samples, their gradient, and one of them alone. Returns the shape of an image."""
        labels = None
        if self.n_classes is not None:
            labels = torch.arange(PROBES, device=self.device) % self.n_classes
        message = (
            f"generator {self.name}: runs a {{}} in training mode that is not among its attributes; hold the network "
            "as an attribute, or call its eval() first"
        )
        with self.measuring(), torch.enable_grad(), refusing_training_mode(message, self.modules):
            z = self.prior(PROBES, SEED).requires_grad_()
            images = self(z, labels)
            if self._differentiable and (
                not images.requires_grad or torch.autograd.grad(images.sum(), z, allow_unused=True)[0] is None
            ):
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
        reached = [float(value) * (high - low) + low for value in torch.aminmax(images)]
        slack = max(SLACK, 4 * torch.finfo(self._runs_in).eps)
        if float(images.min()) < -slack or float(images.max()) > 1 + slack:
            raise StatisticsError(
                f"generator {self.name}: says its images are in [{low:g}, {high:g}], "
                f"and they reach from {reached[0]:.3g} to {reached[1]:.3g}; correct its value_range"
            )
        if self._differentiable and float((images[:1] - alone).abs().max()) > slack:
            raise StatisticsError(
                f"generator {self.name}: its image of one latent changes from call to call or with the batch "
                "(noise of its own, or batch norm that was exported in training mode); make it depend on z alone"
            )
        if float(images.min()) > 0.5 - SLACK and float(images.max()) > 0.5 + SLACK:
            self.warnings.append(
                f"the generator says its images are in [{low:g}, {high:g}], and no value of {PROBES} samples lies in "
                "the lower half: is its value_range right?"
            )
        elif reached[1] - reached[0] < FILLED * (high - low):
            self.warnings.append(
                f"the generator says its images are in [{low:g}, {high:g}], and the values of {PROBES} samples reach "
                f"from {reached[0]:.3g} to {reached[1]:.3g} alone: is its value_range right?"
            )


def _pair(value_range: Any, name: str) -> tuple[float, float] | None:
    try:
        return PixelRule.checked(value_range, None, "round").value_range
    except OptionError as error:
        raise OptionError(str(error).replace("value_range", name)) from None
