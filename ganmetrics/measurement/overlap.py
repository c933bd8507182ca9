"""A warning about images that both sides hold: the value then says less about what differs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ganmetrics.images import ImageSource
from ganmetrics.images.base import Extent
from ganmetrics.images.stored import StoredFiles
from ganmetrics.measurement.side import Side
from ganmetrics.printable import printable


def overlap_remarks(real: Side, fake: Side) -> list[str]:
    """The number of fake images that are real ones too: files of equal bytes, or the same part of a dataset or array.

    For sides of files it is known only after they were read.
    """
    one, other = _whole(real), _whole(fake)
    if isinstance(one, StoredFiles) and isinstance(other, StoredFiles):
        shared = other.shared_with(one)
        n, which = len(shared), f", byte for byte, such as {other.where(shared[0])}" if shared else ""
    else:
        n, which = (_common(one.extents, other.extents), "") if one and other else (0, "")
    if not n or other is None:
        return []
    total = f"all {n}" if n == other.n_images else f"{n} of the {other.n_images}"
    return [f"{total} fake images are among the real ones too{which}{_inside(real, fake)}"]


def _whole(side: Side) -> ImageSource | None:
    """The source of a side, as it was before its images were prepared."""
    source = side.opened
    while source is not None and source.original is not None:
        source = source.original
    return source


def _common(one: Sequence[Extent], other: Sequence[Extent]) -> int:
    """How many images two sources take of the same arrays."""
    ranges = ((max(a.start, b.start), min(a.stop, b.stop)) for a in one for b in other if a.of == b.of)
    return sum(max(0, stop - start) for start, stop in ranges)


def _inside(real: Side, fake: Side) -> str:
    """Which side is a folder inside the other, and what to do then."""
    if not all(isinstance(side.source, (str, os.PathLike)) for side in (real, fake)):
        return ""
    places = [os.path.realpath(os.path.expanduser(side.source)) for side in (real, fake)]
    for outer, inner, name in ((*places, "real"), (*places[::-1], "fake")):
        if inner.startswith(outer.rstrip(os.sep) + os.sep):
            below = printable(os.path.relpath(inner, outer))
            return f"; one side lies inside the other: --exclude '{name}:/{below}/' leaves it out there"
    return ""
