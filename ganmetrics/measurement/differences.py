"""Warnings about differences between real and fake images that come from how they were saved, not from a generator."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from ganmetrics.images import Summary
from ganmetrics.images.file_kinds import LOSSLESS, PALETTE

APART = 0.5  # share of the images by which two sides may differ in how they are saved, or in colour
QUALITY_APART = 5  # of 100, between the qualities of JPEG files
ROUNDING = 1e-9
DARKER = 4  # how many times as large the largest pixel of the other side may be


def differences(real: Summary, fake: Summary) -> list[str]:
    """What differs between the images of two sides, as whole sentences; nothing where it is not known."""
    if not all(side.sizes and side.total for side in (real, fake)):
        return []
    found = (
        _sizes(real, fake),
        _codings(real, fake),
        _qualities(real, fake),
        _colours(real, fake),
        _ranges(real, fake),
    )
    return [text for text in found if text]


def _sizes(real: Summary, fake: Summary) -> str:
    if set(real.sizes) & set(fake.sizes):
        return ""
    return (
        f"real images are {_common(real.sizes)} and fake ones {_common(fake.sizes)}: "
        "resizing different sizes changes the value by itself"
    )


def _common(sizes: Mapping[tuple[int, int], int]) -> str:
    (height, width), _ = max(sizes.items(), key=lambda item: item[1])
    return f"{width}x{height}" if len(sizes) == 1 else f"mostly {width}x{height}"


def _codings(real: Summary, fake: Summary) -> str:
    one, other = _shares(real.codings, real.total), _shares(fake.codings, fake.total)
    if sum(abs(one[name] - other[name]) for name in {*one, *other}) / 2 < APART:
        return ""
    return (
        f"the real images are {_saved(real)} and the fake ones {_saved(fake)}: compression changes the value by itself"
    )


def _shares(counts: Mapping[Any, int], total: int) -> Counter[Any]:
    """The counts as shares of all images; under None those that were not counted."""
    shares: Counter[Any] = Counter({key: n / total for key, n in counts.items()})
    shares[None] = 1 - sum(shares.values())
    return shares


def _saved(side: Summary) -> str:
    """How most images of a side are saved."""
    ways: Counter[tuple[str | None, str | None]] = Counter()
    for kind, n in side.kinds.items():
        ways[kind.format, kind.coding] += n
    ways[None, None] += side.total - sum(ways.values())  # images that come from no file
    (form, coding), n = ways.most_common(1)[0]
    return ("" if n == side.total else "mostly " if 2 * n > side.total else "partly ") + _way(form, coding)


def _way(form: str | None, coding: str | None) -> str:
    if form is None:
        return "not compressed"
    if coding is None:
        return form if form in LOSSLESS else f"lossless {form}"
    if coding == PALETTE:
        return f"{form} with a palette"
    return form if coding == form else f"{coding} inside {form}"


def _qualities(real: Summary, fake: Summary) -> str:
    """By the area between the two distributions, which also tells one quality from a mixture with the same mean."""
    qualities = real.qualities, fake.qualities
    if any(sum(of.values()) < APART * side.total for of, side in zip(qualities, (real, fake), strict=True)):
        return ""
    below = [list(accumulate(of[quality] / sum(of.values()) for quality in range(1, 101))) for of in qualities]
    if sum(abs(one - other) for one, other in zip(*below, strict=True)) < QUALITY_APART - ROUNDING:
        return ""
    return (
        f"the real images are JPEG of {_quality(below[0])} and the fake ones of {_quality(below[1])}: "
        "compression changes the value by itself"
    )


def _quality(below: list[float]) -> str:
    """`below`: for each quality from 1 to 100, the share of the images that have at most this one."""
    low, middle, high = (1 + bisect(below, share) for share in (0.1, 0.5, 0.9))
    return f"about quality {middle}" if high - low < QUALITY_APART else f"qualities from about {low} to {high}"


def _colours(real: Summary, fake: Summary) -> str:
    if real.colour is None or fake.colour is None or abs(real.colour - fake.colour) < APART:
        return ""
    return (
        f"{_share(real.colour)} of the real images are in colour and {_share(fake.colour)} of the fake ones, the "
        "others hold only greys: this changes the value by itself"
    )


def _share(share: float) -> str:
    return {0.0: "none", 1.0: "all"}.get(share, f"{share:.1%}".replace("%", " %"))


def _ranges(real: Summary, fake: Summary) -> str:
    if real.colour is None or fake.colour is None:  # no pixel is known
        return ""
    ((dark, darker), (_, other)) = sorted([(real.max_value, "real"), (fake.max_value, "fake")])
    light = max(real.max_value, fake.max_value)
    if light <= DARKER * dark:
        return ""
    return (
        f"no pixel of the {darker} images exceeds {dark} of 255, and the {other} ones reach {light}: "
        "were both meant to have the same range?"
    )
