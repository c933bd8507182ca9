"""Adds one batch of images to statistics, all of it or nothing: every step that may fail comes before the update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features.extract import Feeds, default_batch_size, feed
from ganmetrics.features.extractor import Extractor, Finite
from ganmetrics.features.pixels import Pixels
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples
from ganmetrics.statistics.transfer import Statistic

Vectors = dict[tuple[Extractor, str], list[Tensor]]


def extracted(batch: Tensor, feeds: Feeds, batch_size: int | None) -> Vectors:
    """Vectors `(b, D)` of a batch by extractor and tap, computed `batch_size` images at a time.

    batch_size: None uses the default of each extractor.
    """
    vectors: Vectors = {}
    finite = Finite()
    for extractor, taps in feeds.items():
        by_tap: dict[str, list[Tensor]] = {tap: [] for tap in taps}
        with exact_arithmetic(extractor.device):
            for stack in batch.split(batch_size or default_batch_size(extractor)):
                feed(extractor, [stack], {tap: [blocks.append] for tap, blocks in by_tap.items()}, finite)
                for blocks in by_tap.values():
                    blocks[-1] = blocks[-1].clone()  # an extractor may reuse its output buffer
        vectors.update({(extractor, tap): blocks for tap, blocks in by_tap.items()})
    finite.check()
    return vectors


def require_fit(statistic: Moments | Samples, blocks: Sequence[Tensor], divisor: int = 1) -> None:
    """Raises StatisticsError if the statistic cannot take all of the vectors `(b, D)`, which are to be divided."""
    if statistic.count is None:
        raise StatisticsError("statistics of unknown count cannot be added to; measure the images instead")
    dim = statistic.dim or blocks[0].shape[1]
    for block in blocks:
        if block.shape[1] != dim:
            raise StatisticsError(f"expected vectors of shape (N, {dim}), got {tuple(block.shape)}")
    if isinstance(statistic, Samples) and divisor == statistic.divisor:
        kinds = {(statistic.dtype or blocks[0].dtype) == torch.uint8, *(block.dtype == torch.uint8 for block in blocks)}
        if len(kinds) > 1:
            raise StatisticsError("expected all vectors as bytes or all in floating point, got both")


def require_mergeable(statistic: Statistic, other: Statistic, extractor: Extractor, other_extractor: Extractor) -> None:
    """Raises StatisticsError if a statistic cannot take in another of the same metric, measured by another object."""
    kinds = [type(kept).__name__.lower() for kept in (statistic, other)]
    if kinds[0] != kinds[1]:
        raise StatisticsError(f"merge: expected {kinds[0]}, got {kinds[1]}; give both objects the same --confidence")
    dims = statistic.dim, other.dim
    if None not in dims and dims[0] != dims[1]:
        raise StatisticsError(f"merge: expected statistics of {dims[0]} dimensions, got {dims[1]}")
    shapes = [one.shape for one in (extractor, other_extractor) if isinstance(one, Pixels)]
    known = [tuple(shape) for shape in shapes if shape is not None]
    if len(set(known)) > 1:
        raise StatisticsError(f"merge: expected images of shape {known[0]}, got {known[1]}")


def take_shape(extractor: Extractor, other_extractor: Extractor) -> None:
    """Let pixels know the shape of the images that another object has read, after its statistics were merged."""
    if isinstance(extractor, Pixels) and isinstance(other_extractor, Pixels) and other_extractor.shape is not None:
        extractor.require(other_extractor.shape)


def update_statistics(vectors: Vectors, feeds: Feeds) -> None:
    """Add vectors, checked by `require_fit`, to their statistics, in order."""
    for (extractor, tap), blocks in vectors.items():
        with exact_arithmetic(extractor.device):
            for consume in feeds[extractor][tap]:
                for block in blocks:
                    consume(block)


def class_names(labels: Any, n: int) -> list[str]:
    """The classes of n images as strings. Raises OptionError unless `labels` is a sequence of length n."""
    if getattr(labels, "ndim", 1) != 1:
        raise OptionError(f"labels: expected the shape ({n},), one for each image, got {tuple(labels.shape)}")
    plain = labels.tolist() if hasattr(labels, "tolist") else labels
    if not isinstance(plain, Sequence) or isinstance(plain, (str, bytes)):
        raise OptionError(f"labels: expected a sequence of {n}, one for each image, got {type(labels).__name__}")
    if len(plain) != n:
        raise OptionError(f"labels: expected {n}, one for each image, got {len(plain)}")
    return list(map(str, plain))
