"""Targets, reconstructions and their differences as one PNG: the worst, the median and the best images."""

from __future__ import annotations

import os

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganmetrics.disk.writing import write_whole
from ganmetrics.score import Score

EACH = 5  # images in each group
SIDE = 64  # pixels of the longest side of one image on the page, at least
GAP, MARGIN = 6, 16
ROWS = ("target", "reconstruction", "difference")
INK, PALE = (32, 33, 36), (105, 110, 118)


def chosen(errors: Tensor, each: int = EACH) -> dict[str, list[int]]:
    """Indices of the worst, the median and the best errors `(N,)`; no index is in two groups."""
    order = errors.argsort(descending=True, stable=True).tolist()
    n = len(order)
    each = min(each, max(1, n // 3))
    middle = (n - each) // 2
    groups = {"worst": order[:each], "median": order[middle : middle + each], "best": order[n - each :]}
    disjoint: dict[str, list[int]] = {}
    for name, indices in groups.items():
        shown = {i for earlier in disjoint.values() for i in earlier}
        disjoint[name] = [i for i in indices if i not in shown]
    return disjoint


def picture(score: Score, targets: Tensor, made: Tensor, errors: Tensor) -> Image.Image:
    """A picture of targets and reconstructions `(N, C, H, W)`, uint8 or in [0, 1], with their errors `(N,)`."""
    targets, made = _bytes(targets), _bytes(made)
    groups = {name: numbers for name, numbers in chosen(errors).items() if numbers}
    height, width = targets.shape[2:]
    scale = max(1, -(-SIDE // max(height, width)))
    cell = (width * scale, height * scale)
    font, small = ImageFont.load_default(15), ImageFont.load_default(12)
    left, top = MARGIN + 116, MARGIN + 62
    widths = [len(numbers) * (cell[0] + GAP) - GAP for numbers in groups.values()]
    page_width = max(left + sum(widths) + 3 * GAP * (len(groups) - 1) + MARGIN, 640)
    page = Image.new("RGB", (page_width, top + 3 * (cell[1] + GAP) + 42 + MARGIN), "white")
    draw = ImageDraw.Draw(page)
    p = score.protocol
    db = "" if p["psnr"] is None else f", PSNR {p['psnr']:.2f} dB"
    draw.text((MARGIN, MARGIN - 4), f"Reconstruction loss {score.value:.5f}{db}: {p['n_test']} images, {p['method']}",
              INK, font)  # fmt: skip
    differences = (made.int() - targets.int()).abs()
    gain = _gain(differences)
    for row, name in enumerate(ROWS):
        label = name if row < 2 else f"|difference| x{gain}"
        draw.text((MARGIN, top + row * (cell[1] + GAP) + cell[1] / 2), label, INK, small, anchor="lm")
    draw.text((MARGIN, top + 3 * (cell[1] + GAP) + 8), "mean sq. error", INK, small, anchor="lm")
    draw.text((MARGIN, top + 3 * (cell[1] + GAP) + 25), "image number", PALE, small, anchor="lm")
    x = left
    for name, numbers in groups.items():
        draw.text((x, top - 24), name, INK, font)
        for i in numbers:
            rows = (targets[i], made[i], (differences[i] * gain).clamp(max=255).to(torch.uint8))
            for row, pixels in enumerate(rows):
                image = _image(pixels).resize(cell, Image.Resampling.NEAREST)
                at = (x, top + row * (cell[1] + GAP))
                page.paste(image, at)
                draw.rectangle((at[0] - 1, at[1] - 1, at[0] + cell[0], at[1] + cell[1]), outline=(208, 212, 218))
            middle = x + cell[0] / 2
            draw.text((middle, top + 3 * (cell[1] + GAP) + 8), f"{float(errors[i]):.3g}", INK, small, anchor="mm")
            draw.text((middle, top + 3 * (cell[1] + GAP) + 25), f"#{i}", PALE, small, anchor="mm")
            x += cell[0] + GAP
        x += 3 * GAP - GAP
    return page


def save(path: str | os.PathLike[str], page: Image.Image) -> None:
    """Write the picture as PNG, whole or not at all."""
    with write_whole(path) as file:
        page.save(file, format="PNG")


def _gain(differences: Tensor) -> int:
    """Whole factor, at most 8, that makes differences visible; at most one pixel in a thousand is clipped by it."""
    values = differences.flatten()
    high = int(values.kthvalue(max(1, int(0.999 * len(values)))).values)
    return max(1, min(8, 255 // max(1, high)))


def _bytes(images: Tensor) -> Tensor:
    return images if images.dtype == torch.uint8 else (images * 255).round().clamp(0, 255).to(torch.uint8)


def _image(pixels: Tensor) -> Image.Image:
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).convert("RGB")
