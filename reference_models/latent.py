"""Walks between latents and sums of them, as numbers, images and pictures.

Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985: spherical interpolation.
White, "Sampling generative networks", arXiv:1609.04468, section 2.1: why latents want it.
Radford, Metz, Chintala, arXiv:1511.06434, section 6.3.2: arithmetic on the averages of exemplars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.images.base import whole
from reference_models.pictures import grid
from reference_models.sampler import Sampler

PARALLEL = 1e-8  # radians below which an arc is its chord in float64
OPPOSITE = 1e-6  # radians from pi within which float32 latents name no plane to turn in
NOISE_STREAM = 2**40  # seeds that no latents are drawn from


def linear(a: Tensor, b: Tensor, n: int) -> Tensor:
    """`n` latents `(n, *shape)` on the line from `a` to `b` `(*shape)`, the two themselves first and last.

    Raises OptionError for unlike shapes and `n` below 2.
    """
    start, end, t = _prepared(a, b, n)
    return _path((1 - t) * start + t * end, a, b)


def spherical(a: Tensor, b: Tensor, n: int) -> Tensor:
    """`n` latents `(n, *shape)` on the arc from `a` to `b` `(*shape)`, the two themselves first and last.

    The direction turns at constant speed, sin((1-t)w)/sin(w) u + sin(tw)/sin(w) v for unit vectors u, v at an angle w
    (Shoemake 1985, section 3.3), over the flattened latent. The norm goes linearly from |a| to |b|; White's code
    interpolates the vectors themselves instead, which is the same where the norms are. A latent of norm zero has no
    direction and takes the other's.

    Raises OptionError for opposite latents, between which no arc is the shortest, for unlike shapes and `n` below 2.
    """
    start, end, t = _prepared(a, b, n)
    norms = start.norm(), end.norm()
    if not all(norms):
        return linear(a, b, n)
    u, v = start / norms[0], end / norms[1]
    angle = 2 * math.atan2((u - v).norm(), (u + v).norm())  # Kahan: exact to rounding at 0 and pi, where acos is not
    if angle < PARALLEL:
        return linear(a, b, n)
    if angle > math.pi - OPPOSITE:
        raise OptionError("a spherical walk between opposite latents has no direction; use linear or another stop")
    direction = (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / math.sin(angle)
    return _path(((1 - t) * norms[0] + t * norms[1]) * direction, a, b)


WALKS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"linear": linear, "spherical": spherical}


def _prepared(a: Tensor, b: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both flat in float64, and `n` times `(n, 1)` from 0 to 1."""
    if a.shape != b.shape or not (a.is_floating_point() and b.is_floating_point()):
        came = f"{tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}"
        raise OptionError(f"expected two floating-point latents of one shape, came {came}")
    t = torch.linspace(0, 1, whole("n", n, 2), dtype=torch.float64, device=a.device)
    return a.double().flatten(), b.double().flatten(), t[:, None]


def _path(flat: Tensor, a: Tensor, b: Tensor) -> Tensor:
    path = flat.to(a.dtype).reshape(len(flat), *a.shape)
    path[0], path[-1] = a, b  # to the bit, whatever sin(w) / sin(w) rounds to
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
    """uint8 images `(steps, C, H, W)` from sample to sample of a seed, each stop shown once.

    Args:
        sampler: a Model or a Sampler.
        stops: numbers of at least two samples.
        seed: they are of.
        n_between: images between two stops.
        kind: of `WALKS`.
        ema: the generator's moving average, or the weights of the last step.

    Raises:
        OptionError: for fewer stops, another kind, numbers that mean nothing.
    """
    if kind not in WALKS:
        raise OptionError(f"kind: expected {' or '.join(WALKS)}, came {kind!r}")
    if len(stops) < 2:
        raise OptionError(f"stops: expected at least two sample numbers, came {list(stops)}")
    n = whole("n_between", n_between, 0) + 2
    z = sampler.latents(stops, seed=seed)
    legs = [WALKS[kind](a, b, n)[:-1] for a, b in pairwise(z)]
    return sampler.images(torch.cat([*legs, z[-1:]]), ema=ema)


def average(sampler: Sampler, indices: Sequence[int], *, seed: int = 0) -> Tensor:
    """Mean latent `(*latent_shape)` of samples of a seed, those that show one concept.

    Radford et al. average three: "single samples per concept" were "unstable". Raises OptionError for no sample.
    """
    if not len(indices):
        raise OptionError("expected the numbers of the samples that show a concept, three or so, came none")
    z = sampler.latents(indices, seed=seed)
    return z.double().mean(0).to(z.dtype)


@dataclass(frozen=True)
class Concept:
    """Samples that show one thing, and their average.

    Attributes:
        indices: k numbers of the samples.
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
    """`mean(base) - mean(minus) + mean(plus)`, and its surroundings.

    Attributes:
        base, minus, plus: the concepts.
        latent: `(*latent_shape)`, the result.
        image: uint8 `(C, H, W)`, the result.
        variations: latents `(n_variations, *latent_shape)`, the result and noise.
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
    """What `base` is to `minus`, to `plus` (Radford et al. 2015, figure 7).

    Args:
        sampler: a Model or a Sampler.
        base: numbers of the samples that show the concept to begin with, three or so.
        minus: of those that show what is taken away.
        plus: of those that show what is added.
        seed: the samples are of; the noise follows it too.
        ema: the generator's moving average, or the weights of the last step.
        n_variations: results with noise added.
        noise: which is uniform between minus and plus this much, .25 in the paper.

    Raises:
        OptionError: for an empty concept and numbers that mean nothing.
    """
    count = whole("n_variations", n_variations, 0)
    if not 0 <= noise < math.inf:
        raise OptionError(f"noise: expected a number of at least 0, came {noise!r}")
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


def walk_grid(
    sampler: Sampler,
    stops: Sequence[int] | Sequence[Sequence[int]],
    *,
    seed: int = 0,
    n_between: int = 8,
    kind: str = "spherical",
    ema: bool = True,
) -> Image.Image:
    """Walks as rows, with their stops' numbers: one for each list of stops, or for each pair along a single list."""
    lists = {hasattr(row, "__len__") for row in stops}
    if len(lists) > 1:
        raise OptionError(f"stops: expected sample numbers or lists of them, not both, came {list(stops)}")
    rows = cast(Sequence[Sequence[int]], stops if True in lists else list(pairwise(stops)) or [stops])
    strips = [_text(f"{kind.capitalize()} walks between samples of seed {seed}")]
    for row in rows:
        images = walk(sampler, row, seed=seed, n_between=n_between, kind=kind, ema=ema)
        named = {i * (n_between + 1): f"#{stop}" for i, stop in enumerate(row)}
        strips.append(_beside([_captioned(image, named.get(i, "")) for i, image in enumerate(images)]))
    return _above(strips, gap=GAP, margin=GAP, left=True)


def arithmetic_grid(
    sampler: Sampler,
    base: Sequence[int],
    minus: Sequence[int],
    plus: Sequence[int],
    *,
    seed: int = 0,
    ema: bool = True,
    n_variations: int = 8,
    noise: float = 0.25,
    names: Sequence[str] = ("base", "minus", "plus"),
) -> Image.Image:
    """`arithmetic` as the paper's figure 7: exemplars over their averages; the result framed amid its variations."""
    if len(names) != 3:
        raise OptionError(f"names: expected three, of base, minus and plus, came {list(names)}")
    found = arithmetic(sampler, base, minus, plus, seed=seed, ema=ema, n_variations=n_variations, noise=noise)
    concepts = zip((found.base, found.minus, found.plus), names, strict=True)
    terms = [_term(concept, name) for concept, name in concepts]
    around = _around(found)
    caption = f"result (framed), and with noise of ±{noise:g}" if n_variations else "result"
    parts = [terms[0], _sign("-"), terms[1], _sign("+"), terms[2], _sign("="), _above([_text(caption), around])]
    from_below = [grid(found.image[None]).height // 2, SIGN // 2] * 3 + [around.height // 2]
    sheet = _beside(parts, gap=GAP, middles=[part.height - y for part, y in zip(parts, from_below, strict=True)])
    return _above([sheet], margin=GAP)


GAP, SIGN, LINE = 16, 18, 3  # pixels


def _term(concept: Concept, name: str) -> Image.Image:
    """Exemplars with their numbers, and the average under them."""
    exemplars = [_captioned(image, f"#{i}") for image, i in zip(concept.images, concept.indices, strict=True)]
    return _above([_text(name), *exemplars, _text("average"), grid(concept.mean_image[None])])


def _around(found: Arithmetic) -> Image.Image:
    """The result, framed, amid its variations."""
    tiles = [_above([grid(image[None])], margin=LINE) for image in found.variation_images]
    framed = _above([grid(found.image[None])], margin=LINE, colour="red")
    tiles.insert(len(tiles) // 2, framed)
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = [_beside(tiles[i : i + columns], gap=0) for i in range(0, len(tiles), columns)]
    return _above(rows, gap=0, left=True)


def _captioned(image: Tensor, caption: str) -> Image.Image:
    return _above([grid(image[None]), _text(caption)], gap=0)


def _text(text: str) -> Image.Image:
    font = ImageFont.load_default(13)
    left, _, right, _ = font.getbbox(text)
    sheet = Image.new("RGB", (max(1, math.ceil(right - left)), 18), "white")
    ImageDraw.Draw(sheet).text((-left, 1), text, fill="black", font=font)
    return sheet


def _sign(which: str) -> Image.Image:
    """Minus, plus or equals, drawn: not every font has them of one size."""
    sheet, middle, low = Image.new("RGB", (SIGN, SIGN), "white"), SIGN // 2, SIGN // 4
    draw = ImageDraw.Draw(sheet)
    for y in (middle - low // 2 - 1, middle + low // 2 + 1) if which == "=" else (middle,):
        draw.line((0, y, SIGN, y), fill="black", width=LINE)
    if which == "+":
        draw.line((middle, 0, middle, SIGN), fill="black", width=LINE)
    return sheet


def _beside(parts: Sequence[Image.Image], *, gap: int = 4, middles: Sequence[int] | None = None) -> Image.Image:
    """In a row on white, their `middles`, which are heights in pixels, on one line; tops are where not said."""
    middles = middles or [0] * len(parts)
    top, below = max(middles), max(part.height - y for part, y in zip(parts, middles, strict=True))
    sheet = Image.new("RGB", (sum(part.width for part in parts) + gap * (len(parts) - 1), top + below), "white")
    x = 0
    for part, y in zip(parts, middles, strict=True):
        sheet.paste(part, (x, top - y))
        x += part.width + gap
    return sheet


def _above(
    parts: Sequence[Image.Image], *, gap: int = 4, margin: int = 0, left: bool = False, colour: str = "white"
) -> Image.Image:
    """In a column, centred unless `left`, within a margin."""
    width = max(part.width for part in parts)
    height = sum(part.height for part in parts) + gap * (len(parts) - 1)
    sheet = Image.new("RGB", (width + 2 * margin, height + 2 * margin), colour)
    y = margin
    for part in parts:
        sheet.paste(part, (margin + (0 if left else (width - part.width) // 2), y))
        y += part.height + gap
    return sheet
