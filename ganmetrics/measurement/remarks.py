"""Warnings about what was noticed while reading images, as whole sentences for the score."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ganmetrics.images import Summary
from ganmetrics.measurement.side import Side


def remarks(sides: Sequence[Side]) -> list[str]:
    """Warnings about each side and, for two sides, about the pair."""
    texts = [text for side in sides for text in _side_remarks(side)]
    return texts + (_pair_remarks(*sides) if len(sides) == 2 else [])


def _side_remarks(side: Side) -> list[str]:
    texts = summary_remarks(side.summary, f"{side.name} images")
    if side.skipped:
        n = len(side.skipped)
        texts.append(f"{n} {side.name} {'image was' if n == 1 else 'images were'} skipped; the score lists them")
    return texts


def summary_remarks(summary: Summary, images: str) -> list[str]:
    """Warnings about the images read; `images` is what the sentences call them."""
    total = summary.n_images
    texts = [f"{images}: {remark}" for remark in summary.remarks]
    texts += [f"{count} of {total} {images}: {note}" for note, count in summary.notes.items()]
    if total and summary.max_value <= 1:
        texts.append(f"no pixel of the {images} exceeds 1 of 255: were they meant to be scaled?")
    # Images in [0, 1] that were stated to be in [-1, 1] have all pixels at 127 or above.
    if total and summary.min_value >= 126 and summary.max_value > 126:
        texts.append(f"no pixel of the {images} is below 126 of 255: is the stated value_range right?")
    return texts


def _pair_remarks(real: Side, fake: Side) -> list[str]:
    texts = []
    if same_source(real.origin, fake.origin):
        texts.append("real and fake are the same source: the distance of a set to itself says nothing")
    sizes = real.summary.sizes, fake.summary.sizes
    if all(sizes) and not set(sizes[0]) & set(sizes[1]):
        texts.append(
            f"real images are {_common(sizes[0])} and fake ones {_common(sizes[1])}: "
            "resizing different sizes changes the value by itself"
        )
    totals = [max(1, sum(side.summary.sizes.values())) for side in (real, fake)]
    lossy = [side.summary.formats.get("JPEG", 0) / total for side, total in zip((real, fake), totals, strict=True)]
    if all(sizes) and abs(lossy[0] - lossy[1]) > 0.9:
        jpeg, other = ("real", "fake") if lossy[0] > lossy[1] else ("fake", "real")
        texts.append(
            f"the {jpeg} images are JPEG and the {other} ones are not: compression changes the value by itself"
        )
    return texts


def _common(sizes: Mapping[tuple[int, int], int]) -> str:
    (height, width), _ = max(sizes.items(), key=lambda item: item[1])
    return f"{width}x{height}" if len(sizes) == 1 else f"mostly {width}x{height}"


def same_source(one: Any, other: Any) -> bool:
    """Whether two sources are the same: the same path, dataset slice or object."""
    if one is None or other is None:
        return False
    if isinstance(one, (str, os.PathLike)) and isinstance(other, (str, os.PathLike)):
        return os.path.realpath(one) == os.path.realpath(other)
    return one is other
