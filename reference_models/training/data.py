"""Training images: any source that `ganmetrics` reads, at the recipe's size, in an order that a step number gives.

Names: `digits`, `mnist`, `fashion-mnist`, `cifar10` (each with a part and a slice, `mnist:train[0:50000]`), a folder, a
zip, an npz, an array. A part that is not said is the training part, and the name that is kept says it.

The rule for pixels, kept in every checkpoint: the shorter side to `image_size` with antialiased bilinear, the centre
cut out (both as in pytorch/examples; an image of that size is left alone), then bytes to the variant's range.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from ganmetrics.errors import GanMetricsError
from ganmetrics.images import ImageSource, open_images, read_batches
from ganmetrics.images.base import IndexedSource
from ganmetrics.images.preparation import RESIZE, coloured, prepared, sized
from ganmetrics.runtime.device import bar_is_off
from reference_models.errors import DataError
from reference_models.recipe import BaseRecipe

IN_MEMORY = 2 * 2**30  # bytes of prepared images; more are decoded again in every epoch
PROBES = 64  # images whose bytes stand for those of a source that does not fit into memory


class Images(Dataset):
    """Prepared uint8 images by index, from memory or decoded when asked for.

    `channels` None takes 1 where all images are grey, else 3; where they do not fit into memory, `PROBES` of them tell.
    """

    def __init__(self, source: ImageSource, size: int, channels: int | None, *, progress: bool = False):
        self.size, self.name = size, source.name
        self._pixels = self._source = None
        if source.n_images is not None and source.n_images * (channels or 3) * size**2 > IN_MEMORY:
            if not isinstance(source, IndexedSource):
                raise DataError(
                    f"{source.name}: {source.n_images} images do not fit into {IN_MEMORY / 2**30:g} GiB and can only "
                    "be read in order; give a folder or a zip of image files"
                )
            self._source, self.count = source, source.count
            self.channels = channels or max(len(source.read(i).pixels) for i in self._probes())
        else:
            parts = self._read(source, progress)
            self.channels = channels or max(part.shape[1] for part in parts)
            self._pixels = torch.cat([coloured(part, self.channels) for part in parts])
            self.count = len(self._pixels)

    def _read(self, source: ImageSource, progress: bool) -> list[Tensor]:
        parts = []
        off = bar_is_off(progress)
        with tqdm(total=source.n_images, desc=source.name, unit="img", disable=off, leave=False) as bar:
            for batch in read_batches(source, 256):
                parts += [sized(stack, self.size, self.size) for stack in batch]
                bar.update(sum(map(len, batch)))
        return parts

    def _probes(self) -> list[int]:
        return sorted({i * self.count // PROBES for i in range(PROBES)})

    @property
    def in_memory(self) -> bool:
        return self._pixels is not None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> Tensor:
        if self._pixels is not None:
            return self._pixels[indices]
        assert self._source is not None  # for the type checker
        return torch.stack([self._prepared(self._source.read(i).pixels) for i in indices])

    def _prepared(self, pixels: Tensor) -> Tensor:
        return prepared(pixels, (self.channels, self.size, self.size))

    def sha256(self) -> str:
        """Of all prepared bytes, or of those of `PROBES` images where they are not in memory."""
        if self._pixels is not None:
            return hashlib.sha256(self._pixels.numpy().data).hexdigest()
        return hashlib.sha256(self.__getitems__(self._probes()).numpy().data).hexdigest()


@dataclass(frozen=True)
class TrainingData:
    """Prepared images and what the checkpoint keeps of them: name with part and slice, count, size, range, checksum."""

    images: Images
    about: dict[str, Any]

    @property
    def nc(self) -> int:
        return self.images.channels

    def steps_per_epoch(self, batch_size: int) -> int:
        """Whole batches in the data. Raises DataError where there is none."""
        if len(self.images) < batch_size:
            raise DataError(
                f"{self.images.name}: has {len(self.images)} images, fewer than one batch of {batch_size}; "
                f"lower --batch-size"
            )
        return len(self.images) // batch_size

    def batches(
        self, recipe: BaseRecipe, seed: int, start: int, stop: int, *, rank: int = 0, world: int = 1
    ) -> Iterator[Tensor]:
        """uint8 batches of steps `start` to `stop`, this process's part of each; see `Order`."""
        order = Order(len(self.images), recipe.batch_size, seed, range(start, stop), rank=rank, world=world)
        workers = 0 if self.images.in_memory else recipe.workers
        loader: DataLoader[Any] = DataLoader(
            _Told(self.images),
            batch_sampler=order,
            num_workers=workers,
            collate_fn=_same,
            worker_init_fn=_in_a_group_of_its_own,
            generator=torch.Generator(),  # or it draws a seed from the global one, once more in a resumed run
        )
        for batch in loader:
            if isinstance(batch, str):
                raise DataError(batch)
            yield batch


@dataclass(frozen=True)
class _Told(Dataset):
    """Images, or what is wrong with them: an error that another process raises brings its traceback for a text."""

    images: Images

    def __getitems__(self, indices: list[int]) -> Tensor | str:
        try:
            return self.images.__getitems__(indices)
        except GanMetricsError as error:
            return str(error)


def _same(batch: Any) -> Any:
    return batch


def _in_a_group_of_its_own(worker: int) -> None:
    """A terminal and `timeout` signal the whole group, while the step that is being made still needs its images."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()


class Order(Sampler[list[int]]):
    """Indices of each step's batch, a pure function of seed and step, so that a resumed run meets the same images.

    Each epoch is a permutation of its own, the images that do not fill a batch are left out of it. A batch is cut
    into `world` equal parts, of which `rank` gets its own.
    """

    def __init__(self, n_images: int, batch_size: int, seed: int, steps: range, *, rank: int = 0, world: int = 1):
        self.n_images, self.batch_size, self.seed, self.steps = n_images, batch_size, seed, steps
        self.part = slice(rank * batch_size // world, (rank + 1) * batch_size // world)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch, epoch, order = self.n_images // self.batch_size, -1, torch.empty(0)
        for step in self.steps:
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                order = torch.randperm(self.n_images, generator=generator)
            at = step % per_epoch * self.batch_size
            yield order[at : at + self.batch_size][self.part].tolist()


def open_data(
    source: Any,
    recipe: BaseRecipe,
    *,
    value_range: tuple[float, float] | None = None,
    progress: bool = False,
) -> TrainingData:
    """Any source of images at the recipe's size, with `value_range` stated for floating-point arrays.

    Raises SourceError, ImageError for what cannot be read, DataError for what cannot be trained on.
    """
    opened = open_images(source, data_root=recipe.dataroot, value_range=value_range)
    images = Images(opened, recipe.image_size, recipe.nc, progress=progress)
    about = {
        "name": images.name,
        "n_images": len(images),
        "channels": images.channels,
        "image_size": images.size,
        "resize": RESIZE,
        "sha256": images.sha256(),
    }
    return TrainingData(images, about)
