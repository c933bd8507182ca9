"""What hides behind a GPU's work: copies one batch ahead, and whether all is finite, asked later; with stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features import extract as extraction
from ganmetrics.features.extractor import Extractor, Finite, NetworkExtractor
from ganmetrics.images import open_images
from ganmetrics.statistics.moments import Moments
from tests.helpers.small_network import Pooled, small

CPU = torch.device("cpu")


def test_finite_is_noted_and_asked_of_the_device_later(monkeypatch: pytest.MonkeyPatch) -> None:
    finite = Finite()
    finite.note("small", "features", torch.ones(3, 2))
    with pytest.raises(StatisticsError, match="features small: NaN or infinity in the logits vectors"):
        finite.note("small", "logits", torch.tensor([[1.0, torch.inf]]))
    later = Finite()
    monkeypatch.setattr(Finite, "_waits_for", staticmethod(lambda device: True))
    for bad in (False, True, False):
        later.note("small", "logits", torch.tensor([[1.0, torch.nan if bad else 2.0]]))
        later.note("small", "features", torch.ones(1, 2))
    with pytest.raises(StatisticsError, match="features small: NaN or infinity in the logits vectors"):
        later.check()


class Ill(Extractor):
    """Gives NaN for black images."""

    name, taps, features_tap, default_taps, batch_size = "ill", ("features",), "features", ("features",), 2

    def extract(self, stacks: Any, taps: Any) -> dict[str, torch.Tensor]:
        found = torch.cat([stack.float().mean((2, 3)) for stack in stacks])
        return {"features": found.masked_fill(found == 0, torch.nan)}

    def describe(self, tap: str) -> dict[str, Any]:
        return {"features": "ill", "tap": tap, "weights_sha256": None, "resize": None, "size": None, "dtype": "own"}


@pytest.mark.parametrize("ask", [1, 100])
@pytest.mark.parametrize("ill", [0, 3, 8])
def test_no_score_of_vectors_that_are_not_finite(
    ask: int, ill: int, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Finite, "_waits_for", staticmethod(lambda device: True))
    monkeypatch.setattr(extraction, "ASK", ask)
    broken = images.clone()
    broken[ill] = 0
    with pytest.raises(StatisticsError, match="features ill: NaN or infinity in the features vectors"):
        gm.fid(images, broken, features=Ill(), progress=False)
    stream = gm.FID(real=images, features=Ill(), progress=False)
    stream.update(images)
    with pytest.raises(StatisticsError, match="features ill: NaN or infinity in the features vectors"):
        stream.update(broken)
    assert stream.compute().n_fake == len(images)


# One batch ahead


def test_one_ahead_keeps_order_and_asks_for_the_next_first() -> None:
    events: list[str] = []

    def source() -> Iterator[int]:
        for i in range(4):
            events.append(f"read {i}")
            yield i

    for i in extraction.one_ahead(source()):
        events.append(f"use {i}")
    assert events == ["read 0", "read 1", "use 0", "read 2", "use 1", "read 3", "use 2", "use 3"]
    assert list(extraction.one_ahead([])) == []


class Post:
    """In the place of a Courier: what it sends arrives when it is received, and not before."""

    def __init__(self, device: torch.device):
        self.sent: list[list[torch.Tensor]] = []

    def send(self, batch: list[torch.Tensor]) -> Any:
        return [stack.clone() for stack in batch]

    def receive(self, sent: Any) -> list[torch.Tensor]:
        return sent


def test_batches_by_courier_give_the_same(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit, from a source that gives the same memory every time, and with watchers."""
    network, memory = small(Pooled()), torch.empty_like(images[:3])

    def shared() -> Iterator[torch.Tensor]:
        for start in (0, 3, 6):
            yield memory.copy_(images[start : start + 3])

    def moments() -> tuple[Moments, list[torch.Tensor]]:
        found, seen = Moments(), []
        extraction.extract(
            open_images(shared()), {network: {"features": [found.update]}}, batch_size=3, progress=False,
            watchers=[lambda stack: seen.append(stack.clone())],
        )  # fmt: skip
        return found, seen

    plain, seen = moments()
    monkeypatch.setattr(extraction, "Courier", Post)
    monkeypatch.setattr(extraction, "_is_cuda", lambda devices: True)
    couriered, seen_too = moments()
    assert torch.equal(plain.covariance(), couriered.covariance())
    assert torch.equal(torch.cat(seen), images)
    assert torch.equal(torch.cat(seen_too), images)


class Stream:
    """Notes what CUDA would be told."""

    def __init__(self, told: list[str], name: str):
        self.told, self.name = told, name

    def record_event(self) -> str:
        self.told.append(f"{self.name} records")
        return "the copy's event"

    def wait_event(self, event: str) -> None:
        self.told.append(f"{self.name} waits for {event}")


def test_what_a_courier_tells_cuda(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned and copied within the side stream, whose event the computing one waits for before it takes the memory."""
    told: list[str] = []

    @contextmanager
    def within(stream: Stream) -> Iterator[None]:
        told.append(f"into {stream.name}")
        yield
        told.append(f"out of {stream.name}")

    def pinned(stack: torch.Tensor) -> torch.Tensor:
        told.append("pin")
        return stack.clone()

    monkeypatch.setattr(extraction, "numbered", lambda device: CPU)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(told, "side"))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(told, "computing"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda stack, stream: told.append(f"used by {stream.name}"))
    courier = extraction.Courier(torch.device("cuda"))
    sent = courier.send([images[:4], images[4:]])
    assert told == ["into side", "pin", "pin", "side records", "out of side"]
    told.clear()
    assert torch.equal(torch.cat(courier.receive(sent)), images)
    assert told == ["computing waits for the copy's event", "used by computing", "used by computing"]


def test_a_full_device_is_told_with_the_option(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def extract(self: NetworkExtractor, stacks: Any, taps: Any) -> dict[str, torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(NetworkExtractor, "extract", extract)
    with pytest.raises(OptionError, match="--batch-size: 9 images at once do not fit on cpu; use a smaller one"):
        extraction.feed(small(Pooled()), [images[:4], images[4:]], {"features": []})
