"""Latents for a generator: samples of its own prior, and calls with a fixed batch size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.features.custom import blame


def own_latents(
    generator: Any, indices: range, seed: int, latent_shape: tuple[int, ...], name: str = "sampler"
) -> Tensor | None:
    """Samples `(n, *latent_shape)` of the generator's prior from its `latents(indices, seed=)`; None if it has none.

    Raises OptionError, which calls the generator `name`, for any other result.
    """
    latents = getattr(generator, "latents", None)
    if not callable(latents):
        return None
    expected = (len(indices), *latent_shape)
    try:
        samples = latents(indices, seed=seed)
        if tuple(samples.shape) != expected:
            raise ValueError(f"gave shape {tuple(samples.shape)}")
    except Exception as error:  # the user's code can raise anything
        raise OptionError(
            f"generator {name}: expected its latents({indices}, seed={seed}) to give samples of its prior, {expected}; "
            f"{blame(error)}"
        ) from error
    return samples


def in_full_batches(function: Callable[[Tensor], Tensor], z: Tensor, size: int) -> Tensor:
    """The outputs of `function` for latents `(N, ...)`, called with exactly `size` latents at a time.

    The last batch is padded with copies of its last latent, whose outputs are dropped.
    """
    outputs = []
    for part in z.split(size):
        full = torch.cat([part, part[-1:].expand(size - len(part), *part.shape[1:])])
        outputs.append(function(full)[: len(part)])
    return torch.cat(outputs)
