"""Warnings about what was noticed while reading images, as whole sentences for the score."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ganmetrics.images import Summary
from ganmetrics.measurement.differences import differences
from ganmetrics.measurement.overlap import overlap_remarks
from ganmetrics.measurement.side import Side

DEPTHS = (8, 10, 12, 14)  # bits of cameras and scanners whose values are often saved with 16
MOST = 0.9  # share of the images


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
    return texts + (_depth_remarks(summary.peaks, images) if total else [])


def _depth_remarks(peaks: Mapping[int, int], images: str) -> list[str]:
    """A warning if images saved with 16 bits hold fewer; `peaks`: images by the high byte of their largest value.

    Decided over all images, because a single dark one says nothing.
    """
    deep = sum(peaks.values())
    for bits in DEPTHS:
        fewer = sum(n for peak, n in peaks.items() if peak < 2 ** (bits - 8))
        if fewer > MOST * deep:
            shift = "" if bits == 8 else f" (x >> {bits - 8})"
            return [
                f"{fewer} of the {deep} {images} saved with 16 bits hold no value above {2**bits - 1}, the range of "
                f"{bits} bits, and only the high byte of 16 is read, which makes them nearly black: save them with 8 "
                f"bits{shift}, or scaled to 16 (x << {16 - bits})"
            ]
    return []


def _pair_remarks(real: Side, fake: Side) -> list[str]:
    texts = []
    if same_source(real.origin, fake.origin) and real.choice == fake.choice:
        texts.append("real and fake are the same source: the distance of a set to itself says nothing")
    elif _same_images_made(real, fake):
        texts.append("real and fake are images of the same generator with the same seed: they are one set")
    else:
        texts += overlap_remarks(real, fake)
    return texts + differences(real.summary, fake.summary)


def same_source(one: Any, other: Any) -> bool:
    """Whether two sources are the same: the same path, dataset slice or object."""
    if one is None or other is None:
        return False
    if isinstance(one, (str, os.PathLike)) and isinstance(other, (str, os.PathLike)):
        return os.path.realpath(one) == os.path.realpath(other)
    return one is other


def _same_images_made(real: Side, fake: Side) -> bool:
    """Whether generators of equal weights made both sides from the same latents."""
    made = [(side.opened.about if side.opened else None) or {} for side in (real, fake)]
    keys = [(about.get("sha256"), about.get("seed")) for about in made]
    return keys[0][0] is not None and keys[0] == keys[1]
