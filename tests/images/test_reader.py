"""Batches: their order, sizes and summary, and that reading ahead ends when it should."""

import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ganmetrics.errors import ImageError, OptionError
from ganmetrics.images import open_images, read_batches, reader
from ganmetrics.images.base import IndexedSource, Picture


class Slow(IndexedSource):
    """Images whose value is their index; early ones take longest, so that threads finish out of order."""

    def __init__(self, count, bad=(), delay=0.002):
        super().__init__("slow", count)
        self.bad, self.delay, self.started = bad, delay, 0
        self.lock = threading.Lock()

    def read(self, index):
        with self.lock:
            self.started += 1
        time.sleep(self.delay * (index % 5 == 0) * 3)
        if index in self.bad:
            raise ImageError(f"slow[{index}]", "bad")
        return Picture(torch.full((1, 2, 2), index, dtype=torch.uint8))


def values(batches):
    return [int(image[0, 0, 0]) for batch in batches for stack in batch for image in stack]


@pytest.mark.parametrize("num_workers", [None, 0, 1, 2, 7])
@pytest.mark.parametrize("batch_size", [1, 6, 100])
def test_order_is_that_of_the_source(num_workers, batch_size):
    batches = list(read_batches(Slow(53), batch_size, num_workers=num_workers))
    assert values(batches) == list(range(53))
    assert [sum(map(len, batch)) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


@pytest.mark.parametrize("num_workers", [0, 1, 5])
def test_the_first_bad_image_in_order_is_raised(num_workers):
    with pytest.raises(ImageError, match=r"^slow\[10\]: bad$"):
        list(read_batches(Slow(40, bad=(10, 11, 12, 13)), 4, num_workers=num_workers))
    batches = read_batches(Slow(40, bad=(10, 33)), 4, num_workers=num_workers, on_error="skip")
    assert values(batches) == [index for index in range(40) if index not in (10, 33)]
    assert [skipped["image"] for skipped in batches.summary.skipped] == ["slow[10]", "slow[33]"]
    assert batches.summary.n_images == 38


def test_reading_ahead_is_bounded_and_ends_when_closed():
    before = threading.active_count()
    source = Slow(5000)
    batches = iter(read_batches(source, 4, num_workers=3))
    next(batches)
    started = time.perf_counter()
    batches.close()
    assert time.perf_counter() - started < 1
    assert source.started < 60
    assert threading.active_count() == before


def test_an_error_in_the_loop_ends_the_threads():
    before = threading.active_count()
    source = Slow(5000)

    def interrupt(index):
        if index == 21:
            raise KeyboardInterrupt  # as Ctrl-C, but met in a thread
        return Slow.read(source, index)

    source.read = interrupt
    with pytest.raises(KeyboardInterrupt):
        list(read_batches(source, 4, num_workers=3))
    assert source.started < 60
    assert threading.active_count() == before


def test_an_interrupt_between_batches_ends_the_threads_though_its_traceback_lives(monkeypatch):
    """A Ctrl-C in torch.cat once left the pool running: the traceback held the frame that held the generator."""
    before = threading.active_count()
    whole, calls = reader.joined, []

    def interrupted(parts):
        calls.append(parts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(parts)

    monkeypatch.setattr(reader, "joined", interrupted)
    with pytest.raises(KeyboardInterrupt) as held:
        list(read_batches(Slow(5000), 4, num_workers=3))
    assert threading.active_count() == before
    assert held.tb is not None


def test_mixed_sizes_stay_in_order(tmp_path):
    sizes = [(4, 5), (4, 5), (6, 3), (4, 5), (4, 5), (4, 5), (6, 3)]
    for number, size in enumerate(sizes):
        Image.fromarray(np.full(size, number, np.uint8)).save(tmp_path / f"{number}.png")
    Image.fromarray(np.full((6, 3, 3), 7, np.uint8)).save(tmp_path / "7.bmp")
    batches = read_batches(open_images(tmp_path), 5)
    first, second = list(batches)
    assert [tuple(stack.shape) for stack in first] == [(2, 1, 4, 5), (1, 1, 6, 3), (2, 1, 4, 5)]
    assert [tuple(stack.shape) for stack in second] == [(1, 1, 4, 5), (1, 1, 6, 3), (1, 3, 6, 3)]
    assert values([first, second]) == list(range(8))
    assert batches.summary.sizes == {(4, 5): 5, (6, 3): 3}
    assert batches.summary.formats == {"PNG": 7, "BMP": 1}
    assert (batches.summary.min_value, batches.summary.max_value, batches.summary.n_images) == (0, 7, 8)


def test_iterating_again_reads_again():
    batches = read_batches(Slow(9, delay=0), 4)
    assert values(batches) == values(batches) == list(range(9))
    assert batches.summary.n_images == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1, got 0"),
        ({"batch_size": 2.0}, "batch_size: expected a whole number of at least 1, got 2.0"),
        ({"batch_size": 2, "num_workers": -1}, "num_workers: expected a whole number of at least 0, got -1"),
        ({"batch_size": 2, "on_error": "ignore"}, "on_error: expected fail or skip, got 'ignore'"),
    ],
)
def test_malformed_options(options, message):
    with pytest.raises(OptionError) as caught:
        read_batches(Slow(3), **options)
    assert str(caught.value) == message
