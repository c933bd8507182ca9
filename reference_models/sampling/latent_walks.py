"""Walks between latents and arithmetic on them, as latents and images; latent_pictures.py draws them.

Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985: spherical interpolation.
White, "Sampling generative networks", arXiv:1609.04468, section 2.1: why latents need it.
Radford, Metz, Chintala, arXiv:1511.06434, section 6.3.2: arithmetic on the averages of exemplars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.printable import brief
from ganmetrics.validation import whole
from reference_models.sampling.sampler import Sampler

PARALLEL = 1e-8  # radians below which an arc equals its chord in float64
OPPOSITE = 1e-6  # radians around pi in which float32 latents do not determine the plane of rotation
NOISE_STREAM = 2**40  # added to the seed, for other random numbers than those of the latents


def linear(a: Tensor, b: Tensor, n: int) -> Tensor:
    """`n` latents `(n, *shape)` on the line from `a` to `b` `(*shape)`, including both.

    Raises OptionError for different shapes and `n` below 2.
    """
    start, end, t = _prepared(a, b, n)
    return _path((1 - t) * start + t * end, a, b)


def spherical(a: Tensor, b: Tensor, n: int) -> Tensor:
    """`n` latents `(n, *shape)` on the arc from `a` to `b` `(*shape)`, including both.

    The direction turns at constant speed, sin((1-t)w)/sin(w) u + sin(tw)/sin(w) v for unit vectors u, v at an angle w
    (Shoemake 1985, section 3.3), over the flattened latent. The norm changes linearly from |a| to |b|; White's code
    interpolates the vectors themselves instead, which is the same if the norms are equal. A latent of norm zero has no
    direction and takes that of the other latent.

    Raises OptionError for opposite latents, which have no unique shortest arc, for different shapes and `n` below 2.
    """
    start, end, t = _prepared(a, b, n)
    norms = start.norm(), end.norm()
    if not all(norms):
        return linear(a, b, n)
    u, v = start / norms[0], end / norms[1]
    angle = 2 * math.atan2((u - v).norm(), (u + v).norm())  # Kahan: accurate near 0 and pi, unlike acos
    if angle < PARALLEL:
        return linear(a, b, n)
    if angle > math.pi - OPPOSITE:
        raise OptionError("a spherical walk between opposite latents has no direction; use linear or another stop")
    direction = (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / math.sin(angle)
    return _path(((1 - t) * norms[0] + t * norms[1]) * direction, a, b)


WALKS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"linear": linear, "spherical": spherical}


def _prepared(a: Tensor, b: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both latents flattened in float64, and `n` positions `(n, 1)` from 0 to 1."""
    if a.shape != b.shape or not (a.is_floating_point() and b.is_floating_point()):
        got = f"{tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}"
        raise OptionError(f"expected two floating-point latents of one shape, got {got}")
    t = torch.linspace(0, 1, whole("n", n, 2), dtype=torch.float64, device=a.device)
    return a.double().flatten(), b.double().flatten(), t[:, None]


def _path(flat: Tensor, a: Tensor, b: Tensor) -> Tensor:
    path = flat.to(a.dtype).reshape(len(flat), *a.shape)
    path[0], path[-1] = a, b  # exact ends: rounding may have changed them
    return path


def walk(
    sampler: Sampler,
    stops: Sequence[int],
    *,
    seed: int = 0,
    n_between: int = 8,
    kind: str = "spherical",
    ema: bool = True,
) -> Tensor:
    """uint8 images `(steps, C, H, W)` on a walk from sample to sample of a seed, each stop shown once.

    Args:
        sampler: a Model or a Sampler.
        stops: numbers of at least two samples.
        seed: of these samples.
        n_between: number of images between two stops.
        kind: a name of `WALKS`.
        ema: use the generator's moving average, not the weights of the last step.

    Raises:
        OptionError: for fewer stops, another kind, or numbers out of range.
    """
    if kind not in WALKS:
        raise OptionError(f"kind: expected {' or '.join(WALKS)}, got {brief(kind)}")
    if len(stops) < 2:
        raise OptionError(f"stops: expected at least two sample numbers, got {list(stops)}")
    n = whole("n_between", n_between, 0) + 2
    z = sampler.latents(stops, seed=seed)
    legs = [WALKS[kind](a, b, n)[:-1] for a, b in pairwise(z)]
    return sampler.images(torch.cat([*legs, z[-1:]]), ema=ema)


def average(sampler: Sampler, indices: Sequence[int], *, seed: int = 0) -> Tensor:
    """Mean latent `(*latent_shape)` of samples of a seed that show one concept.

    Radford et al. average three: "single samples per concept" were "unstable". Raises OptionError without samples.
    """
    if not len(indices):
        raise OptionError("expected the numbers of the samples that show a concept, three or so, got none")
    z = sampler.latents(indices, seed=seed)
    return z.double().mean(0).to(z.dtype)


@dataclass(frozen=True)
class Concept:
    """Samples that show one concept, and their average.

    Attributes:
        indices: numbers of the k samples.
        latents: `(k, *latent_shape)`.
        mean: `(*latent_shape)`, of the latents.
        images: uint8 `(k, C, H, W)`.
        mean_image: uint8 `(C, H, W)`, of the mean latent.
    """

    indices: tuple[int, ...]
    latents: Tensor
    mean: Tensor
    images: Tensor
    mean_image: Tensor


@dataclass(frozen=True)
class Arithmetic:
    """`mean(base) - mean(minus) + mean(plus)`, and variations of it.

    Attributes:
        base, minus, plus: the concepts.
        latent: `(*latent_shape)`, the result.
        image: uint8 `(C, H, W)`, the result.
        variations: latents `(n_variations, *latent_shape)`, the result with noise added.
        variation_images: uint8 `(n_variations, C, H, W)`.
    """

    base: Concept
    minus: Concept
    plus: Concept
    latent: Tensor
    image: Tensor
    variations: Tensor
    variation_images: Tensor


def arithmetic(
    sampler: Sampler,
    base: Sequence[int],
    minus: Sequence[int],
    plus: Sequence[int],
    *,
    seed: int = 0,
    ema: bool = True,
    n_variations: int = 8,
    noise: float = 0.25,
) -> Arithmetic:
    """`mean(base) - mean(minus) + mean(plus)` on latents (Radford et al. 2015, figure 7).

    Args:
        sampler: a Model or a Sampler.
        base: numbers of about three samples that show the first concept.
        minus: numbers of samples that show the concept to subtract.
        plus: numbers of samples that show the concept to add.
        seed: of the samples and of the noise.
        ema: use the generator's moving average, not the weights of the last step.
        n_variations: number of results with noise added.
        noise: the noise is uniform on [-noise, noise]; 0.25 in the paper.

    Raises:
        OptionError: for an empty concept or numbers out of range.
    """
    count = whole("n_variations", n_variations, 0)
    if not 0 <= noise < math.inf:
        raise OptionError(f"noise: expected a number of at least 0, got {brief(noise)}")
    first, second, third = (_concept(sampler, indices, seed, ema) for indices in (base, minus, plus))
    latent = (first.mean.double() - second.mean.double() + third.mean.double()).to(first.mean.dtype)
    random = torch.Generator().manual_seed(NOISE_STREAM + seed)
    shift = torch.rand(count, *latent.shape, generator=random, dtype=latent.dtype) * 2 - 1
    variations = latent + noise * shift.to(latent.device)
    images = sampler.images(torch.cat([latent[None], variations]), ema=ema)
    return Arithmetic(first, second, third, latent, images[0], variations, images[1:])


def _concept(sampler: Sampler, indices: Sequence[int], seed: int, ema: bool) -> Concept:
    mean = average(sampler, indices, seed=seed)
    latents = sampler.latents(indices, seed=seed)
    images = sampler.images(torch.cat([latents, mean[None]]), ema=ema)
    return Concept(tuple(indices), latents, mean, images[:-1], images[-1])
