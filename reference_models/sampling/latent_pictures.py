"""Walks and arithmetic of latents, drawn as pictures with captions."""

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
    """Walks as rows, with the numbers of their stops: one row per list of stops, or per pair of a single list."""
    lists = {hasattr(row, "__len__") for row in stops}
    if len(lists) > 1:
        raise OptionError(f"stops: expected sample numbers or lists of them, not both, got {list(stops)}")
    rows = cast(Sequence[Sequence[int]], stops if True in lists else list(pairwise(stops)) or [stops])
    strips = [_text(f"{kind.capitalize()} walks between samples of seed {seed}")]
    for row in rows:
        images = walk(sampler, row, seed=seed, n_between=n_between, kind=kind, ema=ema)
        captions = {i * (n_between + 1): f"#{stop}" for i, stop in enumerate(row)}
        strips.append(_beside([_captioned(image, captions.get(i, "")) for i, image in enumerate(images)]))
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
    """`arithmetic` drawn as figure 7 of the paper: exemplars above averages, the framed result among its variations."""
    if len(names) != 3:
        raise OptionError(f"names: expected three, of base, minus and plus, got {list(names)}")
    result = arithmetic(sampler, base, minus, plus, seed=seed, ema=ema, n_variations=n_variations, noise=noise)
    concepts = zip((result.base, result.minus, result.plus), names, strict=True)
    terms = [_term(concept, name) for concept, name in concepts]
    result_picture = _result_with_variations(result)
    caption = f"result (framed), and with noise of ±{noise:g}" if n_variations else "result"
    parts = [terms[0], _sign("-"), terms[1], _sign("+"), terms[2], _sign("="), _above([_text(caption), result_picture])]
    from_below = [grid(result.image[None]).height // 2, SIGN // 2] * 3 + [result_picture.height // 2]
    sheet = _beside(parts, gap=GAP, middles=[part.height - y for part, y in zip(parts, from_below, strict=True)])
    return _above([sheet], margin=GAP)


def _term(concept: Concept, name: str) -> Image.Image:
    """Exemplars with their numbers, and below them the image of their average latent."""
    exemplars = [_captioned(image, f"#{i}") for image, i in zip(concept.images, concept.indices, strict=True)]
    return _above([_text(name), *exemplars, _text("average"), grid(concept.mean_image[None])])


def _result_with_variations(result: Arithmetic) -> Image.Image:
    """The result in a frame, in the middle of its variations."""
    tiles = [_above([grid(image[None])], margin=LINE) for image in result.variation_images]
    framed = _above([grid(result.image[None])], margin=LINE, colour="red")
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
    """Minus, plus or equals, drawn as lines because fonts differ in the size of these characters."""
    sheet, middle, low = Image.new("RGB", (SIGN, SIGN), "white"), SIGN // 2, SIGN // 4
    draw = ImageDraw.Draw(sheet)
    for y in (middle - low // 2 - 1, middle + low // 2 + 1) if which == "=" else (middle,):
        draw.line((0, y, SIGN, y), fill="black", width=LINE)
    if which == "+":
        draw.line((middle, 0, middle, SIGN), fill="black", width=LINE)
    return sheet


def _beside(parts: Sequence[Image.Image], *, gap: int = 4, middles: Sequence[int] | None = None) -> Image.Image:
    """Parts in a row on white, aligned at their `middles` (pixels from the top of each part), else at their tops."""
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
    """Parts in a column, centred unless `left`, inside a margin."""
    width = max(part.width for part in parts)
    height = sum(part.height for part in parts) + gap * (len(parts) - 1)
    sheet = Image.new("RGB", (width + 2 * margin, height + 2 * margin), colour)
    y = margin
    for part in parts:
        sheet.paste(part, (margin + (0 if left else (width - part.width) // 2), y))
        y += part.height + gap
    return sheet
