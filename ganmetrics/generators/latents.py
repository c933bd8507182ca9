"""Latents for a generator: samples of the prior that it states itself, and passes of a fixed number at a time."""

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
    """`(n, *latent_shape)` samples of its prior by number, from its `latents(indices, seed=)`; None where it has none.

    Raises OptionError, which calls it `name`, where that gives anything else.
    """
    latents = getattr(generator, "latents", None)
    if not callable(latents):
        return None
    expected = (len(indices), *latent_shape)
    try:
        found = latents(indices, seed=seed)
        if tuple(found.shape) != expected:
            raise ValueError(f"gave shape {tuple(found.shape)}")
    except Exception as error:  # somebody's own code
        raise OptionError(
            f"generator {name}: expected its latents({indices}, seed={seed}) to give samples of its prior, {expected}; "
            f"{blame(error)}"
        ) from error
    return found


def in_full_batches(function: Callable[[Tensor], Tensor], z: Tensor, size: int) -> Tensor:
    """What `function` makes of latents `(N, ...)`, always called with `size` of them.

    The last batch is filled up with copies of its last latent, and what comes of the copies is dropped.
    """
    made = []
    for part in z.split(size):
        full = torch.cat([part, part[-1:].expand(size - len(part), *part.shape[1:])])
        made.append(function(full)[: len(part)])
    return torch.cat(made)
