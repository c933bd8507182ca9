"""Every kind of source gives the same bytes, and what is no source says so."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from ganmetrics.errors import ImageError, OptionError, SourceError
from ganmetrics.images import open_images, read_batches
from ganmetrics.images.decode import CMYK
from ganmetrics.images.sources import UNDERSTOOD

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
GENERATOR = torch.Generator().manual_seed(1)
IMAGES = torch.randint(0, 256, (10, 3, 8, 9), generator=GENERATOR, dtype=torch.uint8)
FLOATS = IMAGES.float() / 127.5 - 1
LABELS = torch.arange(10)
PICTURES = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in IMAGES]


def read(source, batch_size=4, num_workers=None, **options):
    opened = open_images(source, **options)
    batches = list(read_batches(opened, batch_size, num_workers=num_workers))
    sizes = [sum(map(len, batch)) for batch in batches]
    assert all(size == batch_size for size in sizes[:-1])
    assert opened.n_images in (None, sum(sizes))
    return torch.cat([stack for batch in batches for stack in batch])


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
    for surplus, came in ((1, 5), (-1, 3)):
        with pytest.raises(SourceError) as wrong:
            read(Maker(IMAGES, surplus), n_samples=8)
        assert str(wrong.value) == f"Maker(4): expected 4 images, came {came}"
    with pytest.raises(OptionError, match="n_samples: expected a whole number of at least 1, came 0"):
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
    with pytest.raises(SourceError, match=r"Items\[0\]: expected one image \(PIL, array or tensor\), came int"):
        read(Items([(3, PICTURES[0])]))
    with pytest.raises(SourceError, match=r"Items\[0\]: the shape \(1, 3, 5, 3\) can be NHWC or NCHW"):
        read(Items([np.zeros((3, 5, 3), np.uint8)]))
    with pytest.raises(SourceError, match=r"Items\[0\]: expected one image of shape .*, came \(2, 3, 5, 5\)"):
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
    assert str(caught.value) == f"expected {UNDERSTOOD}; came {type(source).__name__}"


def test_paths_that_are_no_source(tmp_path):
    PICTURES[0].save(tmp_path / "x.png")
    (tmp_path / "x.tar").write_text("")
    (tmp_path / "x.rar").write_text("")
    (tmp_path / "gone").symlink_to("nowhere")
    expected = {
        "x.png": "is one image; expected a folder of images, so name the folder it lies in",
        "x.tar": "is no tar archive, or a damaged one (empty file), after 0 images",
        "x.rar": "not a kind of file that is understood; expected a folder of images, .zip, .tar, .npy or .npz",
        "gone": "broken link to nowhere",
        "absent": "no such file or folder, and no dataset of that name "
        "(known: digits, mnist, fashion-mnist, cifar10, cifar100, svhn)",
    }
    for name, message in expected.items():
        with pytest.raises(SourceError) as caught:
            open_images(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {message}"
    with pytest.raises(SourceError, match="no such file or folder"):
        open_images("zero\0byte")


def test_digits_are_the_scans():
    scans = np.floor(load_digits().images * 255 / 16 + 0.5).astype(np.uint8)[:, None]
    assert np.array_equal(read("digits").numpy(), scans)
    assert np.array_equal(read("digits[100:]").numpy(), scans[100:])
    assert np.array_equal(read("digits[:3]").numpy(), scans[:3])
    assert open_images("digits[5:9]").name == "digits[5:9]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits[7:7]", "digits[7:7]: expected 0 <= start < stop <= 1797, the images there are"),
        ("digits[9:7]", "digits[9:7]: expected 0 <= start < stop <= 1797, the images there are"),
        ("digits[0:1798]", "digits[0:1798]: expected 0 <= start < stop <= 1797, the images there are"),
        ("digits:test", "digits:test: digits has no parts, only slices; came test"),
        ("mnist:val", "mnist:val: mnist has the parts train and test; came val"),
        ("mnist", "mnist:train: say where its files lie with --data-root FOLDER (data_root=, or GANMETRICS_DATA)"),
        (
            "digits[1:2:3]",
            "digits[1:2:3]: expected NAME, NAME:train or NAME:test with an optional slice, such as mnist:test[0:1000]; "
            "NAME is one of digits, mnist, fashion-mnist, cifar10, cifar100, svhn",
        ),
    ],
)
def test_dataset_names_that_mean_nothing(name, message, monkeypatch):
    monkeypatch.delenv("GANMETRICS_DATA", raising=False)
    with pytest.raises(SourceError) as caught:
        open_images(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["mnist:test", "fashion-mnist", "cifar10:train[0:5]", "cifar100", "svhn:test"])
def test_absent_datasets_say_where_they_were_looked_for(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GANMETRICS_DATA", str(tmp_path))
    with pytest.raises(SourceError, match=re.escape(f"not found or not readable at {tmp_path}/")) as caught:
        open_images(name)
    assert "--data-root" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_goes_before_a_dataset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    PICTURES[0].save(tmp_path / "digits" / "x.png")
    assert len(open_images("digits")) == 1


needs_mnist = pytest.mark.skipif(not (DATA / "MNIST").is_dir(), reason=f"MNIST is not at {DATA}")


@needs_mnist
def test_mnist_slices_are_the_files(monkeypatch):
    raw = np.fromfile(DATA / "MNIST/raw/t10k-images-idx3-ubyte", np.uint8, offset=16).reshape(-1, 1, 28, 28)
    monkeypatch.setenv("GANMETRICS_DATA", "/nowhere")
    assert np.array_equal(read("mnist:test[10:50]", data_root=DATA).numpy(), raw[10:50])
    monkeypatch.setenv("GANMETRICS_DATA", str(DATA))
    assert open_images("MNIST:test").n_images == 10_000
    assert open_images("mnist").name == "mnist:train"
