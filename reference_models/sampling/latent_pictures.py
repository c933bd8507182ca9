"""Walks and sums of latents as pictures that read without explanation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganmetrics.errors import OptionError
from reference_models.sampling.latent_walks import Arithmetic, Concept, arithmetic, walk
from reference_models.sampling.pictures import grid
from reference_models.sampling.sampler import Sampler

GAP, SIGN, LINE = 16, 18, 3  # pixels


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
        raise OptionError(f"stops: expected sample numbers or lists of them, not both, got {list(stops)}")
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
        raise OptionError(f"names: expected three, of base, minus and plus, got {list(names)}")
    found = arithmetic(sampler, base, minus, plus, seed=seed, ema=ema, n_variations=n_variations, noise=noise)
    concepts = zip((found.base, found.minus, found.plus), names, strict=True)
    terms = [_term(concept, name) for concept, name in concepts]
    around = _around(found)
    caption = f"result (framed), and with noise of ±{noise:g}" if n_variations else "result"
    parts = [terms[0], _sign("-"), terms[1], _sign("+"), terms[2], _sign("="), _above([_text(caption), around])]
    from_below = [grid(found.image[None]).height // 2, SIGN // 2] * 3 + [around.height // 2]
    sheet = _beside(parts, gap=GAP, middles=[part.height - y for part, y in zip(parts, from_below, strict=True)])
    return _above([sheet], margin=GAP)


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
