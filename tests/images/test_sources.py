"""Every kind of source gives the same bytes, and what is no source says so."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from ganmetrics.errors import ImageError, OptionError, SourceError
from ganmetrics.images import open_images, read_batches
from ganmetrics.images.decode import CMYK
from ganmetrics.images.sources import UNDERSTOOD
from tests.helpers.pictures import read

GENERATOR = torch.Generator().manual_seed(1)
IMAGES = torch.randint(0, 256, (10, 3, 8, 9), generator=GENERATOR, dtype=torch.uint8)
FLOATS = IMAGES.float() / 127.5 - 1
LABELS = torch.arange(10)
PICTURES = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in IMAGES]


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        if isinstance(item, Exception):
            raise item
        return item


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Maker:
    """A generator that hands out IMAGES in order."""

    def __init__(self, images, surplus=0):
        self.images, self.at, self.surplus = images, 0, surplus

    def __call__(self, n):
        start = self.at
        self.at += n
        return self.images[start : start + n + self.surplus]


HWC = IMAGES.permute(0, 2, 3, 1).numpy()
UINT8_SOURCES = {
    "tensor": lambda: IMAGES,
    "dataset of tensors": lambda: Items(list(IMAGES)),
    "dataset of HWC arrays": lambda: Items(list(HWC)),
    "dataset of PIL": lambda: Items(PICTURES),
    "dataset of pairs": lambda: Items(list(zip(PICTURES, range(10), strict=True))),
    "dataset of image and mask": lambda: Items(list(zip(PICTURES, reversed(PICTURES), strict=True))),
    "dataset of dicts": lambda: Items([{"label": 1, "image": image} for image in PICTURES]),
    "TensorDataset": lambda: TensorDataset(IMAGES, LABELS),
    "iterable dataset": lambda: Stream(list(IMAGES)),
    "iterable dataset of pairs": lambda: Stream(list(zip(PICTURES, LABELS, strict=True))),
    "loader": lambda: DataLoader(TensorDataset(IMAGES, LABELS), batch_size=3),
    "loader of iterable": lambda: DataLoader(Stream(list(IMAGES)), batch_size=3),
    "loader without batches": lambda: DataLoader(Items(list(IMAGES)), batch_size=None),
    "loader of dicts": lambda: DataLoader(Items([{"pixel_values": image} for image in IMAGES]), batch_size=3),
    "loader of PIL lists": lambda: DataLoader(Items(PICTURES), batch_size=3, collate_fn=list),
    "loader of zipped PIL": lambda: DataLoader(
        Items(list(zip(PICTURES, range(10), strict=True))),
        batch_size=3,
        collate_fn=lambda b: tuple(zip(*b, strict=True)),
    ),
    "list of tensors": lambda: list(IMAGES.split(7)),
    "list of arrays": lambda: [HWC[:3], HWC[3:4], HWC[4:]],
    "list of PIL": lambda: PICTURES,
    "list of single tensors": lambda: list(IMAGES),
    "iterator of lists of tensors": lambda: iter([list(IMAGES[:6]), list(IMAGES[6:])]),
    "generator of pairs": lambda: ((IMAGES[i : i + 3], LABELS[i : i + 3]) for i in range(0, 10, 3)),
    "generator of dicts": lambda: ({"images": IMAGES[i : i + 3], "y": 0} for i in range(0, 10, 3)),
}


@pytest.mark.parametrize("kind", UINT8_SOURCES)
@pytest.mark.parametrize("batch_size", [1, 4, 10, 64])
def test_every_kind_gives_the_same_bytes(kind, batch_size):
    assert torch.equal(read(UINT8_SOURCES[kind](), batch_size), IMAGES)


@pytest.mark.parametrize(
    "source",
    [
        FLOATS,
        FLOATS.numpy(),
        Items(list(FLOATS)),
        TensorDataset(FLOATS, LABELS),
        Stream(list(FLOATS)),
        DataLoader(TensorDataset(FLOATS), batch_size=3),
        list(FLOATS.split(4)),
    ],
    ids=lambda source: type(source).__name__,
)
def test_floats_need_their_range_in_every_kind(source):
    assert torch.equal(read(source, value_range=(-1, 1)), IMAGES)
    with pytest.raises(SourceError, match=r"value_range=\(-1, 1\) for a tanh output"):
        read(source)


def test_callable_is_asked_for_n_samples():
    assert torch.equal(read(Maker(IMAGES), n_samples=10), IMAGES)
    assert torch.equal(read(Maker(FLOATS), n_samples=7, value_range=(-1, 1)), IMAGES[:7])
    grey = IMAGES[:, 0]
    assert torch.equal(read(Maker(grey), batch_size=7, n_samples=10), IMAGES[:, :1])  # the last batch is (3, 8, 9)
    assert open_images(Maker(IMAGES), n_samples=np.int64(10)).n_images == 10


def test_callable_errors():
    with pytest.raises(OptionError) as caught:
        open_images(Maker(IMAGES))
    assert str(caught.value) == "Maker: a callable source needs n_samples, the number of images to ask it for"
    for surplus, got in ((1, 5), (-1, 3)):
        with pytest.raises(SourceError) as wrong:
            read(Maker(IMAGES, surplus), n_samples=8)
        assert str(wrong.value) == f"Maker(4): expected 4 images, got {got}"
    with pytest.raises(OptionError, match="n_samples: expected a whole number of at least 1, got 0"):
        open_images(Maker(IMAGES), n_samples=0)


def test_callable_runs_without_gradient():
    weight = torch.zeros(1, requires_grad=True)
    seen = []

    def make(n):
        images = weight * torch.zeros(n, 3, 8, 8)
        seen.append(images.requires_grad)
        return images

    read(make, n_samples=3, value_range=(-1, 1))
    assert seen == [False]


def test_endless_iterable_is_cut():
    def endless():
        while True:
            yield IMAGES[:3]

    assert len(read(endless(), n_samples=7)) == 7


def test_used_iterator_is_an_error():
    batches = iter([IMAGES])
    source = open_images(batches)
    list(read_batches(source, 4))
    with pytest.raises(SourceError, match="gave no image"):
        list(read_batches(source, 4))
    for empty in ([], Items([])):
        with pytest.raises(SourceError, match="gave no image"):
            read(empty)


def test_grey_stream_whose_last_batch_could_be_one_image():
    grey = torch.arange(19 * 20, dtype=torch.uint8).reshape(19, 1, 4, 5)
    assert torch.equal(read([grey[:16, 0], grey[16:, 0]]), grey)
    assert torch.equal(read([grey[:3, 0], grey[3:, 0]], layout="NHW"), grey)
    with pytest.raises(
        SourceError, match=r"the shape \(16, 4, 5\) is no single image, though earlier ones were read so"
    ):
        read([grey[:3, 0], grey[3:, 0]])


def test_flat_vectors_are_not_taken_for_an_image():
    with pytest.raises(SourceError, match=r"the shape \(64, 784\) can be one grey image or a batch of flat vectors"):
        read([np.zeros((64, 784), np.uint8)])
    assert read([np.zeros((5, 7), np.uint8)] * 3, layout="NHW").shape == (3, 1, 5, 7)


def test_dataset_items():
    assert read(Items([np.zeros((5, 7), np.uint8)] * 3)).shape == (3, 1, 5, 7)
    cmyk = read_batches(open_images(Items([Image.new("CMYK", (3, 3))])), 1)
    list(cmyk)
    assert cmyk.summary.notes == {CMYK: 1}
    with pytest.raises(SourceError, match=r"Items\[0\]: expected one image \(PIL, array or tensor\), got int"):
        read(Items([(3, PICTURES[0])]))
    with pytest.raises(SourceError, match=r"Items\[0\]: the shape \(1, 3, 5, 3\) can be NHWC or NCHW"):
        read(Items([np.zeros((3, 5, 3), np.uint8)]))
    with pytest.raises(SourceError, match=r"Items\[0\]: expected one image of shape .*, got \(2, 3, 5, 5\)"):
        read(Items([np.zeros((2, 3, 5, 5), np.uint8)]))
    with pytest.raises(SourceError, match="expected a dict with the images under one of image, images, img, pixel_val"):
        read(Items([{"x": 1}]))


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("odd")])
def test_dataset_errors_name_the_item(error):
    source = open_images(Items([PICTURES[0], error, PICTURES[1]]))
    with pytest.raises(ImageError) as caught:
        list(read_batches(source, 4))
    assert str(caught.value) == f"Items[1]: {type(error).__name__}: {error}"
    reader = read_batches(source, 4, on_error="skip")
    assert [len(stack) for batch in reader for stack in batch] == [2]
    assert reader.summary.skipped == [{"image": "Items[1]", "reason": f"{type(error).__name__}: {error}"}]


@pytest.mark.parametrize("error", [KeyError("mine"), ZeroDivisionError("mine"), IndexError("mine")])
@pytest.mark.parametrize("num_workers", [None, 2])
def test_other_errors_of_a_dataset_are_its_own(error, num_workers):
    with pytest.raises(type(error), match="mine"):
        read(Items([PICTURES[0], error]), num_workers=num_workers)


def test_not_finite_dataset_item_is_a_bad_image():
    items = list(FLOATS[:3].clone())
    items[1][0, 0, 0] = float("nan")
    with pytest.raises(ImageError, match=r"^Items\[1\]: holds NaN or infinite values$"):
        read(Items(items), value_range=(-1, 1))
    with pytest.raises(ImageError, match=r"^list\[5\]: holds NaN or infinite values$"):
        read([FLOATS[:4], torch.stack([FLOATS[0], items[1]])], value_range=(-1, 1))


@pytest.mark.parametrize("source", [3, None, b"bytes", {}, PICTURES[0], 1.5])
def test_no_source(source):
    with pytest.raises(SourceError) as caught:
        open_images(source)
    assert str(caught.value) == f"expected {UNDERSTOOD}; got {type(source).__name__}"
