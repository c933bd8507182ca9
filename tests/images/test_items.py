"""Classes that come with the items of datasets, loaders and streams, and what is taken of items that are dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import ganmetrics as gm
from ganmetrics.errors import OptionError, SourceError, StatisticsError
from ganmetrics.images import open_images, read_batches
from ganmetrics.images.labels import class_of, classes_of, names_of
from tests.conftest import write_folder
from tests.helpers.cached import OPTIONS
from tests.helpers.packed import class_frechet
from tests.helpers.pictures import chw

N = 120
NAMES = ["cat", "dog", "owl"]


@pytest.fixture
def sides(rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images `(N, 2, 5, 3)` whose brightness depends on their class, and the classes, 0 to 2 in random order."""
    drawn = {}
    for name, high in (("real", 100), ("fake", 160)):
        classes = rng.permutation(np.repeat([0, 1, 2], N // 3))
        images = rng.integers(0, high, (N, 2, 5, 3), dtype=np.uint8) + (40 * classes).astype(np.uint8).reshape(
            -1, 1, 1, 1
        )
        drawn[name] = images, classes
    return drawn


class Items(Dataset):
    def __init__(self, items: Any):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Like:
    """A dataset of no known kind, as Hugging Face's are."""

    def __init__(self, items: Any, names: Any = None):
        self.items = items
        self.features = {} if names is None else {"label": SimpleNamespace(names=names)}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Walked(Like):
    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class Stream(IterableDataset):
    def __init__(self, items: Any):
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def pictures(x: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(image) for image in x]


def tensors(x: np.ndarray) -> torch.Tensor:
    return torch.stack([chw(image) for image in x])


def dicts(x: Any, y: np.ndarray, image: str = "image", label: str = "label") -> list[dict[str, Any]]:
    return [{image: one, label: int(c)} for one, c in zip(x, y, strict=True)]


KINDS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "TensorDataset": lambda x, y: TensorDataset(tensors(x), torch.from_numpy(y)),
    "TensorDataset of one-hot": lambda x, y: TensorDataset(tensors(x), torch.eye(3)[y]),
    "TensorDataset of a column": lambda x, y: TensorDataset(tensors(x), torch.from_numpy(y)[:, None]),
    "pairs": lambda x, y: Items(list(zip(pictures(x), y.tolist(), strict=True))),
    "lists": lambda x, y: Items([[image, c] for image, c in zip(x, y, strict=True)]),
    "dicts": lambda x, y: Items(dicts(pictures(x), y)),
    "loader": lambda x, y: DataLoader(TensorDataset(tensors(x), torch.from_numpy(y)), batch_size=7),
    "loader of dicts": lambda x, y: DataLoader(Items(dicts(tensors(x), y, "pixel_values", "labels")), batch_size=7),
    "loader without batches": lambda x, y: DataLoader(Items(list(zip(tensors(x), y, strict=True))), batch_size=None),
    "loader of PIL": lambda x, y: DataLoader(
        Items(list(zip(pictures(x), y, strict=True))), batch_size=7, collate_fn=lambda b: tuple(zip(*b, strict=True))
    ),
    "stream": lambda x, y: Stream(list(zip(pictures(x), y, strict=True))),
    "list of pairs": lambda x, y: list(zip(pictures(x), y.tolist(), strict=True)),
    "generator of batches": lambda x, y: ((x[i : i + 7], y[i : i + 7]) for i in range(0, N, 7)),
    "like a dataset": lambda x, y: Like(dicts(pictures(x), y, "jpg", "cls")),
    "like a dataset of arrays": lambda x, y: Like(dicts(x, y, "img", "y")),
    "like a dataset of tensors": lambda x, y: Walked(dicts(tensors(x), y, "x", "label")),
    "batches by number": lambda x, y: Walked([(x[i : i + 7], y[i : i + 7]) for i in range(0, N, 7)]),
    "batches of PIL by number": lambda x, y: Walked([(pictures(x[i : i + 7]), y[i : i + 7]) for i in range(0, N, 7)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_items_bring_their_classes(kind: str, sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    real, fake = (KINDS[kind](*sides[name]) for name in ("real", "fake"))
    scores = gm.evaluate(real, fake, ["class-fid", "intra-class-diversity"], **OPTIONS)
    expected = class_frechet(*sides["real"], *sides["fake"])
    assert scores["class-fid"].value == pytest.approx(expected, rel=1e-5)
    assert (scores["class-fid"].n_real, scores["class-fid"].n_fake) == (N, N)
    assert list(scores["intra-class-diversity"].protocol["per_class"]) == ["0", "1", "2"]


def test_a_callable_brings_classes_too(sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    (x, y), at = sides["fake"], [0]

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        at[0] += n
        return x[at[0] - n : at[0]], y[at[0] - n : at[0]]

    real = TensorDataset(tensors(sides["real"][0]), torch.from_numpy(sides["real"][1]))
    score = gm.evaluate(real, sample, ["class-fid"], n_samples=N, batch_size=9, **OPTIONS)["class-fid"]
    assert score.value == pytest.approx(class_frechet(*sides["real"], x, y), rel=1e-5)
    assert score.protocol["classes"] == {"real": "the dataset", "fake": "the items"}


def test_an_iterable_that_is_cut_keeps_the_classes_of_what_is_read(
    sides: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    (x, y), n = sides["fake"], 100
    loader = DataLoader(TensorDataset(tensors(x), torch.from_numpy(y)), batch_size=7)
    score = gm.evaluate(None, loader, ["intra-class-diversity"], n_samples=n, **OPTIONS)["intra-class-diversity"]
    whole = gm.evaluate(
        None, TensorDataset(tensors(x)[:n], torch.from_numpy(y)[:n]), ["intra-class-diversity"], **OPTIONS
    )
    assert score.value == whole["intra-class-diversity"].value
    assert score.n_fake == n


@pytest.fixture
def image_folders(sides: dict[str, tuple[np.ndarray, np.ndarray]], tmp_path: Path) -> dict[str, Any]:
    from torchvision.datasets import ImageFolder

    for name, (x, y) in sides.items():
        for c, label in enumerate(NAMES):
            write_folder(tmp_path / name / label, x[y == c])
    return {name: ImageFolder(str(tmp_path / name)) for name in sides}


@pytest.mark.parametrize("kind", ["dataset", "subset", "parts", "loader"])
def test_image_folder_has_the_classes_of_its_folder(
    kind: str, image_folders: dict[str, Any], sides: dict[str, tuple[np.ndarray, np.ndarray]], tmp_path: Path
) -> None:
    from torchvision.transforms.functional import pil_to_tensor

    fake = image_folders["fake"]
    if kind == "subset":
        fake = Subset(fake, range(N))
    if kind == "parts":
        fake = ConcatDataset([Subset(fake, range(50)), Subset(fake, range(50, N))])
    if kind == "loader":
        fake.transform = pil_to_tensor
        fake = DataLoader(fake, batch_size=16, shuffle=True)
    score = gm.evaluate(tmp_path / "real", fake, ["class-fid"], **OPTIONS)["class-fid"]
    assert score.value == pytest.approx(class_frechet(*sides["real"], *sides["fake"]), rel=1e-5)
    assert list(score.protocol["per_class"]) == NAMES


def test_a_target_transform_is_followed(
    image_folders: dict[str, Any], sides: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Numbers that it changed do not stand for the names."""
    for dataset in image_folders.values():
        dataset.target_transform = lambda c: (c + 1) % 3
    score = gm.evaluate(image_folders["real"], image_folders["fake"], ["class-fid"], **OPTIONS)["class-fid"]
    assert list(score.protocol["per_class"]) == ["0", "1", "2"]
    assert score.value == pytest.approx(class_frechet(*sides["real"], *sides["fake"]), rel=1e-5)


def test_names_of_classes() -> None:
    assert names_of(Like([], names=NAMES)) == NAMES
    assert names_of(SimpleNamespace(classes=["0 - zero", "1 - one"])) == ()
    assert names_of(SimpleNamespace(classes=["a", "a"])) == names_of(SimpleNamespace(classes=[("a", "b")])) == ()
    assert names_of(ConcatDataset([Items([1]), Items([2])])) == ()
    assert names_of(object()) == ()


def test_numbers_of_a_dataset_with_names(sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    x, y = sides["fake"]
    source = Like(dicts(pictures(x), y), names=NAMES)
    score = gm.evaluate(None, source, ["intra-class-diversity"], **OPTIONS)["intra-class-diversity"]
    assert list(score.protocol["per_class"]) == NAMES


@pytest.mark.parametrize("kind", ["TensorDataset", "loader", "generator of batches", "pairs"])
def test_numbers_on_one_side_are_the_names_of_the_other(
    kind: str, image_folders: dict[str, Any], sides: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """As a generator trained on an ImageFolder is asked for its classes."""
    told = "fake classes: their numbers were taken for the other side's names: 0 for cat, 1 for dog, 2 for owl"
    score = gm.evaluate(image_folders["real"], KINDS[kind](*sides["fake"]), ["class-fid"], **OPTIONS)["class-fid"]
    assert score.value == pytest.approx(class_frechet(*sides["real"], *sides["fake"]), rel=1e-5)
    assert list(score.protocol["per_class"]) == NAMES
    assert [text for text in score.warnings if "numbers" in text] == [told]
    evaluator = gm.Evaluator(["class-fid"], real=image_folders["real"], **OPTIONS)
    evaluator.update(tensors(sides["fake"][0]), labels=sides["fake"][1])
    assert evaluator.compute()["class-fid"].value == pytest.approx(score.value, rel=1e-9)


def test_numbers_without_names_stay_numbers(
    image_folders: dict[str, Any], sides: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    x, y = sides["fake"]
    with pytest.raises(StatisticsError, match="no real image of 1, 2, 3; no fake image of cat, dog, owl"):
        gm.evaluate(image_folders["real"], TensorDataset(tensors(x), torch.from_numpy(y + 1)), ["class-fid"], **OPTIONS)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (3, "3"), (True, "1"), (2.0, "2"), ("cat", "cat"), ("c\nt", "c\\nt"), (np.int64(7), "7"),
        (torch.tensor(4), "4"), ([0, 0, 1], "2"),
        (torch.tensor([0.0, 1.0]), "1"), (np.array([5]), "5"), ([[0, 1]], "1"),
        (None, None), (0.5, None), (float("nan"), None), ("", None), (b"x", None), ([0, 0], None), ([1, 1], None),
        ([0.5, 0.5], None), ([1, 2, 0], None), ([], None), ({"a": 1}, None), (np.zeros((2, 2)), None),
    ],
)  # fmt: skip
def test_what_a_class_is(label: Any, expected: str | None) -> None:
    assert class_of(label) == expected


def test_labels_of_a_batch() -> None:
    assert classes_of(torch.tensor([2, 0]), 2) == ("2", "0")
    assert classes_of(np.eye(3)[[2, 0]], 2) == ("2", "0")
    assert classes_of(["a", None], 2) == ("a", None)
    assert classes_of(torch.tensor([2, 0]), 3) == classes_of(5, 2) == classes_of("ab", 2) == ()


def summary(source: Any, **options: Any) -> Any:
    reader = read_batches(open_images(source, **options), 4)
    list(reader)
    return reader.summary


@pytest.mark.parametrize("image", ["image", "images", "img", "pixel_values", "jpg", "png", "x"])
@pytest.mark.parametrize("label", ["label", "labels", "cls", "y"])
def test_what_was_taken_is_said_once(image: str, label: str, sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    (x, y), note = sides["real"], f"taken from '{image}', classes from '{label}'"
    for make in (Items, Like, Walked, Stream, iter):
        read = summary(make(dicts(pictures(x[:9]), y[:9], image, label)))
        assert (read.notes, read.labels) == ({note: 9}, [str(c) for c in y[:9]])
    fids = gm.evaluate(Like(dicts(x, y, image, label)), x, ["fid", "class-fid"][:1], **OPTIONS)
    assert [text for text in fids["fid"].warnings if "taken" in text] == [f"{N} of {N} real images: {note}"]


def test_keys_that_hold_something_else(sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    x = sides["real"][0][:5]
    beside = [{"x": 3, "image": image, "label": 1, "y": 2, "path": "a.png"} for image in pictures(x)]
    read = summary(Like(beside))
    assert read.notes == {"taken from 'image', no classes: 'label' and 'y' may hold them": 5}
    assert read.labels == []
    assert summary(Items([{"img": image} for image in x])).notes == {"taken from 'img', no classes": 5}


@pytest.mark.parametrize("make", [Items, Like, Walked, Stream, iter])
def test_two_images_ask_for_a_choice(make: Any, sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    items = [{"image": image, "pixel_values": image, "label": 1} for image in pictures(sides["real"][0][:5])]
    with pytest.raises(
        SourceError, match=r": holds images under image and pixel_values; say which are meant by "
    ) as told:
        summary(make(items))
    assert "[(item['image'], item['label']) for item in dataset]" in str(told.value)
    assert summary([(item["image"], item["label"]) for item in items]).labels == ["1"] * 5


def test_lists_of_numbers_and_dicts_of_parts_say_what_to_do() -> None:
    with pytest.raises(
        SourceError, match=r"expected one image \(PIL, array or tensor\), got list; make an array of it"
    ):
        summary(Like([{"image": [[1, 2], [3, 4]]}]))
    with pytest.raises(SourceError, match=r"; got dict of train, test; hand over one of them$"):
        open_images({"train": Like([1]), "test": Like([1])})


@pytest.mark.parametrize("make", [Items, Like, Stream, iter])
@pytest.mark.parametrize(
    ("labels", "n"),
    [([None] * 6, 6), ([0.5] * 6, 6), ([0, 1, 0, 1, 0, None], 1), ([np.zeros((2, 2))] * 6, 6)],
    ids=["none", "fractions", "one is lacking", "masks"],
)
def test_items_without_classes_are_refused_with_the_reason(make: Any, labels: list[Any], n: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (6, 2, 5, 3), dtype=np.uint8)
    fake = make(list(zip(pictures(pixels), labels, strict=True)))
    with pytest.raises(OptionError, match=r"^intra-class-diversity: expected fake images with classes ") as told:
        gm.evaluate(None, fake, ["intra-class-diversity"], **OPTIONS)
    reason = f": {n} of its 6 images came without a number, a name or a one-hot vector"
    if make not in (Stream, iter) and n == 6:  # nothing else has to be read
        reason = ": its first item has no number, name or one-hot vector beside the image"
    assert str(told.value).endswith(reason)


def test_several_keys_for_the_class_are_no_class(sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    items = [{"image": image, "label": 1, "y": 2} for image in pictures(sides["real"][0])]
    with pytest.raises(OptionError, match=r"has none: 'label' and 'y' may hold them$"):
        gm.evaluate(None, Like(items), ["intra-class-diversity"], **OPTIONS)
    assert gm.fid(Like(items), Like(items), **OPTIONS).value == pytest.approx(0, abs=1e-12)


def test_an_image_that_is_left_out_takes_its_class_along(sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    x, y = sides["fake"]
    items = list(zip(pictures(x), y, strict=True))

    class Broken(Items):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise OSError("gone")
            return super().__getitem__(index)

    keep = [i for i in range(N) if i != 3]
    one, other = (
        gm.evaluate(None, source, ["intra-class-diversity"], on_error="skip", **OPTIONS)["intra-class-diversity"].value
        for source in (Broken(items), Items([items[i] for i in keep]))
    )
    assert one == other


def test_prepared_images_keep_their_classes(sides: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Of the same size: nothing is resized."""
    square = {name: (x[:, :, :2], y) for name, (x, y) in sides.items()}
    for kind in ("pairs", "generator of batches"):
        real, fake = (KINDS[kind](*square[name]) for name in ("real", "fake"))
        score = gm.evaluate(real, fake, ["class-fid"], prepare=2, **OPTIONS)["class-fid"]
        assert score.value == pytest.approx(class_frechet(*square["real"], *square["fake"]), rel=1e-5)
    with pytest.raises(OptionError, match="has none: its first item has no number, name or one-hot vector"):
        gm.evaluate(None, Items(pictures(square["fake"][0])), ["intra-class-diversity"], prepare=2, **OPTIONS)
