"""The loop: one pass over a source, every consumer of its vectors fed on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ganmetrics.errors import OptionError
from ganmetrics.features.extractor import CPU_BATCH, Extractor
from ganmetrics.images import ImageSource, Summary, read_batches
from ganmetrics.runtime import bar_is_off, exact_arithmetic

Consumers = Mapping[str, list[Callable[[Tensor], None]]]
Feeds = Mapping[Extractor, Consumers]


def default_batch_size(extractor: Extractor) -> int:
    """Small for a network on a CPU, where a batch should stay in cache; large on a GPU, which wants to be full."""
    return extractor.batch_size or (64 if extractor.device.type == "cuda" else CPU_BATCH)


def batch_size_for(feeds: Feeds, asked: int | None) -> int:
    """As asked, or what suits every extractor that is fed."""
    return min(map(default_batch_size, feeds), default=64) if asked is None else asked


def extract(
    source: ImageSource,
    feeds: Feeds,
    *,
    batch_size: int | None = None,
    num_workers: int | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    progress: bool = True,
    label: str = "images",
    watchers: Sequence[Callable[[Tensor], None]] = (),
) -> Summary:
    """Read an opened source once and hand the vectors `(b, D)` of each tap of each extractor to their consumers.

    watchers: called with every stack of images `(b, C, H, W)` itself.
    Returns the reader's summary (images, skipped, notes, sizes, formats). Raises what reading and extracting raise.
    """
    reader = read_batches(source, batch_size_for(feeds, batch_size), num_workers=num_workers, on_error=on_error)
    bar = tqdm(total=source.n_images, desc=label, unit="img", disable=bar_is_off(progress), leave=False)
    with bar, ExitStack() as exact:
        for device in {extractor.device for extractor in feeds}:
            exact.enter_context(exact_arithmetic(device))
        for stacks in reader:
            for extractor, consumers in feeds.items():
                feed(extractor, stacks, consumers)
            for watch in watchers:
                for stack in stacks:
                    watch(stack)
            bar.update(sum(map(len, stacks)))
    return reader.summary


def feed(extractor: Extractor, stacks: list[Tensor], consumers: Consumers) -> None:
    """One batch through the extractor and on to the consumers, with a helpful word when the device is full."""
    try:
        vectors = extractor(stacks, tuple(consumers))
    except torch.OutOfMemoryError as error:
        raise OptionError(
            f"--batch-size: {sum(map(len, stacks))} images at once do not fit on {extractor.device}; use a smaller one"
        ) from error
    for tap, callers in consumers.items():
        for consume in callers:
            consume(vectors[tap])
