"""What was seen while images were read: counts, kinds of files, the range and the colour of the pixels.

It travels with the statistics: through several processes, the cache and statistics files, to the warnings of a score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.images.base import ImageSource, IndexedSource
from ganmetrics.images.file_kinds import LOSSLESS, FileKind

TINT = 8  # channels that differ by more than this, of 255, are a colour; lossy compression tints grey by less
GRID = 8  # every so many rows and columns are looked at first
BLOCK = 1 << 16  # pixels looked at together, few enough for a processor's cache
SIZES = 20  # most frequent sizes that a statistics file keeps
RECORDED = ("sizes", "formats", "seen")  # what a statistics file tells of its images
LEAST, LARGEST, COLOURED, LOOKED_AT = range(4)
# smallest and largest pixel, images in colour, images looked at: numbers, or tensors that a GPU may not have yet
Pixels = tuple[Any, Any, Any, int]


@dataclass
class Summary:
    """What was read: counts, notes on unusual files with the number of each, and every image left out."""

    n_images: int = 0
    n_recorded: int = 0  # further images, of which a statistics file tells
    skipped: list[dict[str, str]] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)  # the skipped images, by their index in the source
    notes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    kinds: Counter[FileKind] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)  # the classes that came with images, in order
    _pixels: dict[torch.device, Pixels] = field(default_factory=dict, repr=False)

    @property
    def total(self) -> int:
        """The images of which something is known."""
        return self.n_images + self.n_recorded

    @property
    def max_value(self) -> int:
        """Largest pixel, 0 before any image. 1 means that the bytes hold 0 and 1 instead of 0 to 255."""
        return max((int(seen[LARGEST]) for seen in self._pixels.values()), default=0)

    @property
    def min_value(self) -> int:
        """Smallest pixel, 0 before any image. Above 126 means that (0, 1) images were stated to be (-1, 1)."""
        return min((int(seen[LEAST]) for seen in self._pixels.values()), default=0)

    @property
    def colour(self) -> float | None:
        """The share of the images that have colours, not only greys; None if that is not known."""
        looked_at = self._count(LOOKED_AT)
        return self._count(COLOURED) / looked_at if looked_at else None

    @property
    def formats(self) -> Counter[str]:
        """The number of files of each format."""
        return self._by(lambda kind: kind.format)

    @property
    def codings(self) -> Counter[str]:
        """The number of images that each lossy way of saving changed."""
        return self._by(lambda kind: kind.coding)

    @property
    def qualities(self) -> Counter[int]:
        """The number of JPEG files of each estimated quality."""
        return self._by(lambda kind: kind.quality)

    @property
    def peaks(self) -> Counter[int]:
        """The number of 16-bit images by the high byte of their largest value."""
        return self._by(lambda kind: kind.peak)

    def _by(self, key: Any) -> Counter[Any]:
        counts: Counter[Any] = Counter()
        for kind, n in self.kinds.items():
            if key(kind) is not None:
                counts[key(kind)] += n
        return counts

    def _count(self, what: int) -> int:
        return sum(int(seen[what]) for seen in self._pixels.values())

    def _seen(self) -> dict[str, Any]:
        pixels = [self.min_value, self.max_value, self._count(COLOURED), self._count(LOOKED_AT)]
        return {"kinds": [[*kind, n] for kind, n in self.kinds.items()], "pixels": pixels}

    def _recall(self, seen: Mapping[str, Any]) -> None:
        self.kinds.update({FileKind(*kind): n for *kind, n in seen["kinds"]})
        if seen["pixels"][LOOKED_AT]:
            self._widen(torch.device("cpu"), tuple(seen["pixels"]))

    def record(self) -> dict[str, Any]:
        """What a statistics file keeps for comparisons, as JSON types."""
        return {
            "sizes": [[list(size), n] for size, n in self.sizes.most_common(SIZES)],
            "formats": dict(self.formats),
            "seen": {"n_images": self.total, **self._seen()},
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Summary:
        """Inverse of `record`; files of other tools and of earlier versions have less, a malformed record nothing."""
        try:
            return cls._of_record(record)
        except (AttributeError, LookupError, TypeError, ValueError):
            return cls()  # it only serves warnings

    @classmethod
    def _of_record(cls, record: Mapping[str, Any]) -> Summary:
        sizes = Counter({tuple(size): n for size, n in record.get("sizes") or []})
        if seen := record.get("seen"):
            summary = cls(n_recorded=seen["n_images"], sizes=sizes)
            summary._recall(seen)
            return summary
        formats = (record.get("formats") or {}).items()
        kinds = Counter({FileKind(name, None if name in LOSSLESS else name): n for name, n in formats})
        return cls(n_recorded=max(sizes.total(), kinds.total()), sizes=sizes, kinds=kinds)

    def to_dict(self) -> dict[str, Any]:
        """What depends on the images alone, as JSON types; their names and the source's remark can change."""
        return {
            "n_images": self.n_images,
            "left_out": self.left_out,
            "reasons": [entry["reason"] for entry in self.skipped],
            "notes": list(self.notes.items()),
            "sizes": list(self.sizes.items()),
            "labels": self.labels,
            **self._seen(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], source: ImageSource) -> Summary:
        """Inverse of `to_dict`; `source` must hold the same images."""
        names = [source.where(i) if isinstance(source, IndexedSource) else source.name for i in state["left_out"]]
        summary = cls(
            n_images=state["n_images"],
            skipped=[{"image": n, "reason": r} for n, r in zip(names, state["reasons"], strict=True)],
            left_out=list(state["left_out"]),
            notes=Counter(dict(state["notes"])),
            sizes=Counter({(height, width): n for (height, width), n in state["sizes"]}),
            remarks=list(source.remarks),
            labels=list(state["labels"]),
        )
        summary._recall(state)
        return summary

    def join(self, other: Summary) -> None:
        """Add the counts of another summary."""
        self.n_images += other.n_images
        self.n_recorded += other.n_recorded
        self.skipped += other.skipped
        self.left_out += other.left_out
        self.notes.update(other.notes)
        self.kinds.update(other.kinds)
        self.sizes.update(other.sizes)
        self.labels += other.labels
        for device, seen in other._pixels.items():
            self._widen(device, seen)

    def _widen(self, device: torch.device, seen: Pixels) -> None:
        known = self._pixels.get(device)
        self._pixels[device] = seen if known is None else joined(seen, known)

    def add(self, batch: list[Tensor]) -> None:
        """Count one batch; what is seen of its pixels stays on its device, so that a GPU is not waited for."""
        for stack in batch:
            self.n_images += len(stack)
            self.sizes[(stack.shape[2], stack.shape[3])] += len(stack)
            seen = (*torch.aminmax(stack), coloured(stack))
            least, largest, in_colour = map(int, seen) if stack.device.type == "cpu" else seen
            self._widen(stack.device, (least, largest, in_colour, len(stack)))


def joined(one: Pixels, other: Pixels) -> Pixels:
    """What was seen of the images of both, on one device."""
    (least, largest, in_colour, n), (least2, largest2, in_colour2, n2) = one, other
    if isinstance(least, Tensor):
        ends = torch.minimum(least, least2), torch.maximum(largest, largest2)
    else:
        ends = min(least, least2), max(largest, largest2)
    return (*ends, in_colour + in_colour2, n + n2)


def coloured(stack: Tensor) -> Any:
    """How many of the images `(b, C, H, W)` have a pixel that is no grey: a number, or a tensor on a GPU."""
    if stack.shape[1] == 1:
        return torch.zeros((), dtype=torch.long, device=stack.device)
    if stack.device.type != "cpu":
        return has_colour(stack, torch.maximum, torch.minimum).sum()
    images = stack.numpy()
    found = has_colour(images[:, :, ::GRID, ::GRID])  # nearly always enough for a picture in colour
    total, step = found.sum(), max(1, BLOCK // (stack.shape[2] * stack.shape[3]))
    for start in range(0, len(images), step):
        block = slice(start, start + step)
        if not found[block].all():
            total += has_colour(images[block][~found[block]]).sum()
    return total


def has_colour(images: Any, maximum: Callable[..., Any] = np.maximum, minimum: Callable[..., Any] = np.minimum) -> Any:
    """For each image `(b, 3, H, W)`, an array or a tensor, whether the channels of some pixel differ by over TINT."""
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    spread = maximum(maximum(red, green), blue) - minimum(minimum(red, green), blue)
    return (spread.reshape(len(images), -1) > TINT).any(1)
