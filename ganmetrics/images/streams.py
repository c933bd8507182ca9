"""Images from Python objects: map-style and iterable datasets, loaders, iterables of batches, and callables.

Their items may carry classes, which are known when the images have been read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from ganmetrics.errors import ImageError, OptionError, SourceError
from ganmetrics.images.arrays import CHANNELS, shifted, to_stack
from ganmetrics.images.base import IndexedSource, Picture, PixelRule, Stack, StreamSource
from ganmetrics.images.classes import Classes
from ganmetrics.images.decode import BadImageError, from_pil
from ganmetrics.images.items import is_array, taken
from ganmetrics.images.labels import class_of, classes_of, named, names_of
from ganmetrics.printable import TOLD, cut, name_of
from ganmetrics.validation import whole

OF_DATASET, OF_ITEMS = "the dataset", "the items"  # what names the classes
NO_CLASS = "its first item has no number, name or one-hot vector beside the image"


def picture(image: Image.Image, where: str) -> Picture:
    """One PIL image, by the same policy as image files. Raises ImageError."""
    try:
        return from_pil(image)
    except BadImageError as error:
        raise ImageError(where, str(error)) from error


class DatasetSource(IndexedSource):
    """A map-style dataset, of torch or any object like it, whose items are images, `(image, label)` or mappings.

    Its `__getitem__` is the user's code, with its own file handles and random numbers, so it runs in the calling thread
    unless a number of workers is stated.
    """

    parallel = False

    def __init__(self, dataset: Any, rule: PixelRule):
        name = type(dataset).__name__
        try:
            count = len(dataset)
        except (TypeError, NotImplementedError):
            raise SourceError(f"{name}: a map-style dataset needs __len__; hand over a DataLoader instead") from None
        super().__init__(name, count)
        self._dataset = dataset
        self._rule = rule
        self._names = names_of(dataset)
        self.classes = Classes(origin=OF_DATASET, names=self._names)

    def may_bring_classes(self) -> bool:
        """Whether the first item has a class, or cannot be read."""
        if not self.count:
            return True
        try:
            held = taken(self._dataset[0], self.name)
        except Exception:  # of the user's code; reading will raise it
            return True
        if (found := class_of(held.classes)) is None:
            self.classes = replace(self.classes, problem=held.problem or NO_CLASS)
        return found is not None

    def read(self, index: int) -> Picture:
        """Item `index`; an OSError or ValueError of the dataset becomes an ImageError with its text."""
        where = f"{self.name}[{index}]"
        try:
            item = self._dataset[index]
        except (OSError, ValueError) as error:  # PIL.UnidentifiedImageError is an OSError
            raise ImageError(where, cut(f"{type(error).__name__}: {error}", TOLD)) from error
        held = taken(item, where)
        image = one_image(held.images, self._rule, where)
        (label,) = named([class_of(held.classes)], self._names)
        return replace(image, label=label, notes=(*image.notes, *([held.note] if held.note else [])))


def holds_single_images(dataset: Any) -> bool:
    """Whether item 0 of an object like a dataset is one image, or a mapping or pair with one, and no batch."""
    try:
        images = taken(dataset[0], "").images if len(dataset) else None
    except SourceError:  # which reading will raise
        return True
    except Exception:  # it is not indexed by numbers
        return False
    shape = tuple(getattr(images, "shape", ())) if is_array(images) else ()
    is_image = len(shape) == 2 or (len(shape) == 3 and bool({shape[0], shape[-1]} & set(CHANNELS)))
    return is_image or isinstance(images, Image.Image)


def one_image(image: Any, rule: PixelRule, where: str) -> Picture:
    """A PIL image, or an array `(H, W)`, `(C, H, W)` or `(H, W, C)`, as one Picture."""
    if isinstance(image, Image.Image):
        return picture(image, where)
    if not is_array(image):
        way = "; make an array of it, such as numpy.asarray(image, numpy.uint8)" if isinstance(image, list) else ""
        raise SourceError(f"{where}: expected one image (PIL, array or tensor), got {type(image).__name__}{way}")
    if image.ndim not in (2, 3):
        shape = tuple(image.shape)
        raise SourceError(f"{where}: expected one image of shape (C, H, W), (H, W, C) or (H, W), got {shape}")
    layout = None if rule.layout == "NHW" else rule.layout
    batch = image[None, None] if image.ndim == 2 else image[None]
    rule = PixelRule(rule.value_range, "NCHW" if image.ndim == 2 else layout, rule.quantize)
    try:
        stack = to_stack(batch, rule, where)
    except ImageError as error:
        raise ImageError(where, error.reason) from None
    return Picture(stack.pixels[0], tuple(note for note, _ in stack.notes))


class Items:
    """Converts the items of an iterable to stacks, and remembers how to read 3-D arrays.

    `names` are those of the classes, by number, if there are names.

    A 3-D array is one image if its first or last axis can be channels, else a stack of grey images. The first array
    decides for all, because the last batch of a stream of grey images may happen to hold three.
    """

    def __init__(self, name: str, rule: PixelRule, *, batched: bool = False, names: Sequence[str] = ()):
        self._name = name
        self._names = names
        self._rule = rule
        # whether 3-D arrays are single images; None before the first one
        self._single: bool | None = {"NCHW": True, "NHWC": True, "NHW": False, None: None}[rule.layout]
        if batched:  # a DataLoader that makes batches never gives a single image
            self._single = False
        self.count = 0

    def stacks(self, item: Any, expected: int | None = None) -> Iterator[Stack]:
        """The images of one item. `expected`: the number that was asked for, if any."""
        if self._is_list_of_images(item):
            yield from map(self._one_image, item)
            return
        held = taken(item, self._where())
        stacks = list(self._of(held.images, expected))
        labels = named(classes_of(held.classes, sum(len(stack.pixels) for stack in stacks)), self._names)
        for stack in stacks:
            n = len(stack.pixels)
            notes = (*stack.notes, *([(held.note, n)] if held.note else []))
            yield replace(stack, labels=labels[:n], notes=notes)
            labels = labels[n:]

    def _of(self, images: Any, expected: int | None) -> Iterator[Stack]:
        if isinstance(images, Image.Image):
            yield self._one_image(images)
        elif is_array(images):
            yield self._one_array(images, expected)
        elif self._is_list_of_images(images):
            yield from map(self._one_image, images)
        else:
            raise SourceError(
                f"{self._where()}: expected a batch of images (tensor, array, PIL images, (images, labels) or a "
                f"dict), got {type(images).__name__}"
            )

    def _where(self) -> str:
        return f"{self._name}, after {self.count} images"

    def _is_list_of_images(self, item: Any) -> bool:
        if not isinstance(item, tuple | list) or not len(item):
            return False
        if all(isinstance(image, Image.Image) for image in item):
            return isinstance(item, list) or len(item) != 2  # a pair is (image, mask)
        axes = 2 if self._rule.layout == "NHW" else 3
        return isinstance(item, list) and all(is_array(image) and image.ndim == axes for image in item)

    def _one_image(self, image: Any) -> Stack:
        single = one_image(image, self._rule, f"{self._name}[{self.count}]")
        self.count += 1
        kinds = () if single.kind is None else (single.kind,)
        return Stack(single.pixels[None], tuple((note, 1) for note in single.notes), kinds)

    def _one_array(self, images: Any, expected: int | None) -> Stack:
        shape = tuple(images.shape)
        if len(shape) == 2 and self._rule.layout == "NHW":
            return self._one_image(images)
        if len(shape) == 2:
            raise SourceError(
                f"{self._where()}: the shape {shape} can be one grey image or a batch of flat vectors; "
                'say layout="NHW" for grey images, or reshape the vectors to (N, C, H, W)'
            )
        if len(shape) == 3 and self._is_single(shape, expected):
            return self._one_image(images)
        layout = "NHW" if len(shape) == 3 else None if self._rule.layout == "NHW" else self._rule.layout
        rule = PixelRule(self._rule.value_range, layout, self._rule.quantize)
        try:
            stack = to_stack(images, rule, self._name)
        except ImageError as error:
            raise shifted(error, self._name, self.count) from None
        except SourceError as error:
            raise SourceError(str(error).replace(self._name, self._where(), 1)) from None
        self.count += len(stack.pixels)
        return stack

    def _is_single(self, shape: tuple[int, ...], expected: int | None) -> bool:
        if expected is not None and shape[0] == expected and self._rule.layout is None:
            return False
        looks_single = shape[0] in CHANNELS or shape[-1] in CHANNELS
        if shape[0] == 1 and shape[-1] not in CHANNELS:
            return self._single is True  # one grey image either way
        if self._single is None:
            self._single = looks_single
        elif self._single and not looks_single:
            raise SourceError(
                f"{self._where()}: the shape {shape} is no single image, though earlier ones were read so; "
                'say layout="NHW" for stacks of grey images'
            )
        return self._single


class IterableSource(StreamSource):
    """Any iterable of images or batches of images, with or without labels; at most `n_samples` of them."""

    def __init__(self, items: Iterable[Any], rule: PixelRule, *, n_images: int | None, n_samples: int | None):
        if n_samples is not None:
            n_samples = whole("n_samples", n_samples, 1)
            n_images = n_samples if n_images is None else min(n_images, n_samples)
        super().__init__(type(items).__name__, n_images)
        self._items = items
        self._rule = rule
        self._limit = n_samples
        self.classes = Classes(origin=OF_ITEMS, names=names_of(items))

    def may_bring_classes(self) -> bool:
        return True

    def stacks(self, batch_size: int) -> Iterator[Stack]:
        """All stacks in order, cut off after `n_samples` images."""
        batched = getattr(self._items, "batch_size", None) is not None
        items = Items(self.name, self._rule, batched=batched, names=self.classes.names)
        left = self._limit
        for item in self._items:
            for stack in items.stacks(item):
                if left is None or len(stack.pixels) < left:
                    left = None if left is None else left - len(stack.pixels)
                    yield stack
                    continue
                yield replace(stack, pixels=stack.pixels[:left], labels=stack.labels[:left])
                return


class CallableSource(StreamSource):
    """A function `f(n)` that makes a batch of n images, called until there are `n_samples`."""

    def __init__(self, function: Callable[[int], Any], rule: PixelRule, n_samples: int | None):
        name = name_of(function)
        if n_samples is None:
            raise OptionError(f"{name}: a callable source needs n_samples, the number of images to ask it for")
        self._count = whole("n_samples", n_samples, 1)
        super().__init__(name, self._count)
        self._function = function
        self._rule = rule
        self.classes = Classes(origin=OF_ITEMS)

    def may_bring_classes(self) -> bool:
        return True

    def stacks(self, batch_size: int) -> Iterator[Stack]:
        """Calls the function, without gradient. Raises SourceError if it returns another number of images."""
        items = Items(self.name, self._rule)
        while items.count < self._count:
            before, asked = items.count, min(batch_size, self._count - items.count)
            with torch.no_grad():
                item = self._function(asked)
            stacks = list(items.stacks(item, expected=asked))
            if items.count - before != asked:
                raise SourceError(f"{self.name}({asked}): expected {asked} images, got {items.count - before}")
            yield from stacks
