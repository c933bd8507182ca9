"""The settings of a latent inversion: METHODS, the index of search methods, and Search, all options."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.generators.opened import OpenGenerator
from ganmetrics.metrics.inversion.descent import Found, Limits, adam, rmsprop
from ganmetrics.metrics.inversion.lbfgs import lbfgs
from ganmetrics.metrics.inversion.objective import Objective
from ganmetrics.metrics.inversion.starts import POOL, pool_size
from ganmetrics.printable import brief
from ganmetrics.validation import whole

LARGEST_POOL = 2**16
BLOCK = {"cpu": 32}
GPU_BLOCK = 128
SEEDS = 2**63  # seeds are below this, the range of torch
Descend = Callable[[Objective, Tensor, Tensor, Limits], Found]


@dataclass(frozen=True)
class Method:
    """Attributes:

    descend: searches from a start.
    steps: default of the largest number of passes with gradient per image.
    tolerance: default of the relative decrease of the loss up to which it counts as no longer falling.
    pooled: whether it starts from a pool of samples; else from z = 0.
    """

    descend: Descend
    steps: int
    tolerance: float
    pooled: bool = False


METHODS = {
    "auto": Method(lbfgs, 300, 1e-3, pooled=True),
    "xiang-li": Method(rmsprop, 50, 1e-3),
    "adam": Method(adam, 500, 1e-3),
    "lbfgs": Method(lbfgs, 1000, 1e-6),
}


@dataclass(frozen=True)
class Search:
    """All options of an inversion.

    Attributes:
        method: a name of METHODS.
        steps: largest number of passes with gradient per image and restart; None means the method's default.
        restarts: number of searches from different starts; each image keeps its best.
        prior_weight: weight of |z|^2 / 2, added to the mean squared error.
        bound: keep every coordinate of z in [-bound, bound], by projection: 1 for a uniform prior on [-1, 1]. None
            means the generator's `latent_bound`, if it has one.
        perceptual: an extractor (a name or an object) whose distance is added to the loss.
        perceptual_weight: weight of this distance, |u - v|^2 of vectors scaled to length 1.
        tolerance: relative decrease of the loss up to which it counts as no longer falling, for methods that stop
            early; None means the method's default.
        pool: number of samples from which `auto` chooses its starts; fewer if their images would need over 256 MiB.
        batch_size: images searched together; limits the memory and does not change results.
        block: latents in one pass of the generator, always padded to this number; None means 32 on a CPU, 128 on a GPU.
        dtype: "float32", or "bfloat16" for the generator's passes; errors are float32 or better.
        seed: seed of the pool and of restarts.
    """

    method: str = "auto"
    steps: int | None = None
    restarts: int = 1
    prior_weight: float = 0.0
    bound: float | None = None
    perceptual: Any = None
    perceptual_weight: float = 0.1
    tolerance: float | None = None
    pool: int = POOL
    batch_size: int | None = None
    block: int | None = None
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or self.method not in METHODS:
            raise OptionError(f"--method: expected one of {', '.join(METHODS)}, got {brief(self.method)}")
        for name in ("steps", "batch_size", "block"):
            if getattr(self, name) is not None:
                whole(f"--{name.replace('_', '-')}", getattr(self, name), 1)
        for name, least, below in (("restarts", 1, None), ("pool", 16, LARGEST_POOL), ("seed", 0, SEEDS)):
            whole(f"--{name}", getattr(self, name), least, below)
        if self.restarts > 1 and self.restarts > self.pool:
            raise OptionError(f"--restarts: expected at most the pool's {self.pool}, got {self.restarts}")
        for name in ("prior_weight", "perceptual_weight", "tolerance"):
            value = getattr(self, name)
            if not (_is_number(value) and value >= 0) and (value is not None or name != "tolerance"):
                raise OptionError(f"--{name.replace('_', '-')}: expected a number of at least 0, got {brief(value)}")
        if self.bound is not None and not (_is_number(self.bound) and self.bound > 0):
            raise OptionError(
                f"--bound: expected a number above 0, such as 1 for a uniform prior, got {brief(self.bound)}"
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise OptionError(f"--dtype: expected float32 or bfloat16, got {brief(self.dtype)}")

    @classmethod
    def of(cls, search: Search | None, options: dict[str, Any]) -> Search:
        """`search` itself, or one from keyword arguments. Raises OptionError for both, or wrong ones."""
        if not isinstance(search, (cls, type(None))):
            raise OptionError(f"search: expected a Search, or its fields as keywords, got {brief(search)}")
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(options) - set(known)):
            raise OptionError(f"unknown option {unknown[0]!r}; expected some of {', '.join(known)}")
        if search is not None and options:
            raise OptionError(f"{sorted(options)[0]}: is a part of the search that was given; leave one of them out")
        return search or cls(**options)

    def on(self, generator: OpenGenerator) -> Search:
        """A copy with the defaults for this generator filled in.

        Raises OptionError for more restarts than the pool has samples.
        """
        method = METHODS[self.method]
        return replace(
            self,
            steps=self.steps or method.steps,
            tolerance=method.tolerance if self.tolerance is None else self.tolerance,
            bound=generator.latent_bound if self.bound is None else self.bound,
            block=self.block or BLOCK.get(generator.device.type, GPU_BLOCK),
            pool=pool_size(generator, self.pool) if method.pooled else self.pool,
        )

    @property
    def limits(self) -> Limits:
        """The limits; only after `on`, which fills in steps and tolerance."""
        assert self.steps is not None  # for the type checker
        assert self.tolerance is not None
        return Limits(self.steps, self.tolerance, self.bound)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
