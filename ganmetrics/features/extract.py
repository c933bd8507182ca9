"""The main loop: one pass over a source, during which every consumer gets its vectors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ganmetrics.errors import OptionError
from ganmetrics.features.extractor import CPU_BATCH, Extractor, Finite
from ganmetrics.images import ImageSource, Summary, read_batches
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.runtime.device import bar_is_off, numbered
from ganmetrics.runtime.memory import trim

Consumers = Mapping[str, list[Callable[[Tensor], None]]]
Feeds = Mapping[Extractor, Consumers]
Sent = tuple[list[Tensor], torch.cuda.Event]
Item = TypeVar("Item")
ASK = 100  # batches between two checks for finite vectors, each of which waits for a CUDA device


def default_batch_size(extractor: Extractor) -> int:
    """Small for a network on a CPU, where a batch should stay in the cache; large on a GPU, to keep it busy."""
    return extractor.batch_size or (64 if extractor.device.type == "cuda" else CPU_BATCH)


def batch_size_for(feeds: Feeds, asked: int | None) -> int:
    """`asked`, or the largest batch size that suits every extractor."""
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
    """Read an opened source once and pass the vectors `(b, D)` of each tap of each extractor to their consumers.

    watchers: called with every stack of images `(b, C, H, W)`.
    Returns the reader's summary (images, skipped, notes, sizes, formats). Raises what reading and extracting raise.
    """
    reader = read_batches(source, batch_size_for(feeds, batch_size), num_workers=num_workers, on_error=on_error)
    bar = tqdm(total=source.n_images, desc=label, unit="img", disable=bar_is_off(progress), leave=False)
    devices = {extractor.device for extractor in feeds}
    finite = Finite()
    with bar, ExitStack() as exact:
        for device in devices:
            exact.enter_context(exact_arithmetic(device))
        for i, stacks in enumerate(placed(watched(reader, watchers), devices), 1):
            for extractor, consumers in feeds.items():
                feed(extractor, stacks, consumers, finite)
            bar.update(sum(map(len, stacks)))
            if i == 1:
                trim()  # the first batch is checked against the plain operators, which frees about 20 MB
            if i % ASK == 0:
                finite.check()
        finite.check()
    trim()
    return reader.summary


def feed(extractor: Extractor, stacks: list[Tensor], consumers: Consumers, finite: Finite | None = None) -> None:
    """Run one batch through the extractor and pass its vectors on; `finite` as in `Extractor.__call__`."""
    with fitting(stacks, extractor.device):
        vectors = extractor(stacks, tuple(consumers), finite)
    for tap, callers in consumers.items():
        for consume in callers:
            consume(vectors[tap])


@contextmanager
def fitting(stacks: list[Tensor], device: torch.device) -> Iterator[None]:
    """Raises OptionError, which names --batch-size, when the device runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OptionError(
            f"--batch-size: {sum(map(len, stacks))} images at once do not fit on {device}; use a smaller one"
        ) from error


def watched(batches: Iterable[list[Tensor]], watchers: Sequence[Callable[[Tensor], None]]) -> Iterator[list[Tensor]]:
    """The same batches; the watchers are called with every stack first."""
    for batch in batches:
        for stack in batch:
            for watch in watchers:
                watch(stack)
        yield batch


def placed(batches: Iterable[list[Tensor]], devices: Collection[torch.device]) -> Iterator[list[Tensor]]:
    """The same batches. If all devices are one CUDA device, each is copied there while the one before is in use."""
    if not _is_cuda(devices):
        yield from batches
        return
    courier = Courier(*devices)
    for sent in one_ahead(map(courier.send, batches)):
        yield courier.receive(sent)


def _is_cuda(devices: Collection[torch.device]) -> bool:
    return [device.type for device in devices] == ["cuda"]


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; each is yielded after the next one has been fetched."""
    waiting: list[Item] = []
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


class Courier:
    """Copies batches from pinned memory to a CUDA device, on a separate stream, in parallel with its computation.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-streams
    """

    def __init__(self, device: torch.device):
        self.device = numbered(device)
        self.stream = torch.cuda.Stream(self.device)

    def send(self, batch: list[Tensor]) -> Sent:
        """Start to copy uint8 stacks `(b, C, H, W)`. Raises OptionError if they do not fit on the device.

        Stacks on a CUDA device are cloned, because their owner may write the next batch to the same memory.
        """
        with fitting(batch, self.device):
            safe = [stack.clone() if stack.is_cuda else stack for stack in batch]
            with torch.cuda.stream(self.stream):
                copies = [
                    stack if stack.is_cuda else stack.pin_memory().to(self.device, non_blocking=True) for stack in safe
                ]
                return copies, self.stream.record_event()

    def receive(self, sent: Sent) -> list[Tensor]:
        """The copies. The current stream waits for them, and their memory is not reused before it has used them."""
        copies, done = sent
        current = torch.cuda.current_stream(self.device)
        current.wait_event(done)
        for copy in copies:
            if copy.device == self.device:
                copy.record_stream(current)
        return copies
