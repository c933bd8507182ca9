"""Training images: any source that `ganmetrics` reads, at the recipe's size, in an order given by seed and step.

Names: `digits`, `mnist`, `fashion-mnist`, `cifar10` (each with a part and a slice, `mnist:train[0:50000]`), a folder, a
zip, an npz, an array. The default part is the training part, and the stored name includes it.

Preparation, recorded in every checkpoint: the shorter side is resized to `image_size` with antialiased bilinear, then
the centre is cropped (both as in pytorch/examples; an image of that size is unchanged). The step maps bytes to the
variant's range.
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

IN_MEMORY = 2 * 2**30  # bytes of prepared images; a larger source is decoded again in every epoch
PROBES = 64  # images that represent a source larger than that, for its channels and its checksum


class Images(Dataset):
    """Prepared uint8 images by index, from memory or decoded on access.

    With `channels` None there is 1 channel if all images are grey, else 3; if the images do not fit into memory, only
    `PROBES` of them are examined.
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
            self.channels = channels or max(len(source.read(i).pixels) for i in self._probe_indices())
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

    def _probe_indices(self) -> list[int]:
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
        """SHA-256 of all prepared pixels, or of `PROBES` images if they are not in memory."""
        if self._pixels is not None:
            return hashlib.sha256(self._pixels.numpy().data).hexdigest()
        return hashlib.sha256(self.__getitems__(self._probe_indices()).numpy().data).hexdigest()


@dataclass(frozen=True)
class TrainingData:
    """Prepared images; `about` is for checkpoints: name with part and slice, count, channels, size, rule, checksum."""

    images: Images
    about: dict[str, Any]

    @property
    def nc(self) -> int:
        return self.images.channels

    def steps_per_epoch(self, batch_size: int) -> int:
        """Number of whole batches in the data. Raises DataError if there is none."""
        if len(self.images) < batch_size:
            raise DataError(
                f"{self.images.name}: has {len(self.images)} images, fewer than one batch of {batch_size}; "
                f"lower --batch-size"
            )
        return len(self.images) // batch_size

    def batches(
        self, recipe: BaseRecipe, seed: int, start: int, stop: int, *, rank: int = 0, world: int = 1
    ) -> Iterator[Tensor]:
        """uint8 batches of steps [start, stop), only this process's part of each; see `Order`."""
        order = Order(len(self.images), recipe.batch_size, seed, range(start, stop), rank=rank, world=world)
        workers = 0 if self.images.in_memory else recipe.workers
        loader: DataLoader[Any] = DataLoader(
            _ErrorsAsText(self.images),
            batch_sampler=order,
            num_workers=workers,
            collate_fn=_unchanged,
            worker_init_fn=_leave_process_group,
            # Without its own generator DataLoader draws from the global one, which a resumed run would do once more.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, str):
                raise DataError(batch)
            yield batch


@dataclass(frozen=True)
class _ErrorsAsText(Dataset):
    """Images, or an error as its message: DataLoader would append the worker's traceback to the message."""

    images: Images

    def __getitems__(self, indices: list[int]) -> Tensor | str:
        try:
            return self.images.__getitems__(indices)
        except GanMetricsError as error:
            return str(error)


def _unchanged(batch: Any) -> Any:
    return batch


def _leave_process_group(worker: int) -> None:
    """Ctrl-C and `timeout` signal the whole process group, but the current step still needs images from this worker."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()


class Order(Sampler[list[int]]):
    """Indices of each step's batch, a pure function of seed and step, so that a resumed run sees the same images.

    Each epoch is a new permutation; images left over after its last whole batch are skipped. A batch is split into
    `world` equal parts, and process `rank` gets one of them.
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
                # distinct for every seed and epoch, up to a million epochs
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                order = torch.randperm(self.n_images, generator=generator)
            first = step % per_epoch * self.batch_size
            yield order[first : first + self.batch_size][self.part].tolist()


def open_data(
    source: Any,
    recipe: BaseRecipe,
    *,
    value_range: tuple[float, float] | None = None,
    progress: bool = False,
) -> TrainingData:
    """Open any source of images at the recipe's size; `value_range` is needed for floating-point arrays.

    Raises SourceError or ImageError if it cannot be read, DataError if it cannot be trained on.
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
