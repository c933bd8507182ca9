"""A trained generator as a source of images: they are made while they are measured, and nothing is written to disk."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.generators import open_generator
from ganmetrics.generators.latents import own_latents
from ganmetrics.generators.opened import OpenGenerator
from ganmetrics.images.arrays import to_uint8
from ganmetrics.images.base import Stack, StreamSource
from ganmetrics.images.classes import Classes
from ganmetrics.images.datasets import is_dataset_name
from ganmetrics.validation import whole

BLOCK = 32  # images that go through the generator at once, so that no image depends on the batch size
CHECKPOINT = "manifest.json"  # in the folder of a checkpoint of reference_models


def names_generator(source: Any) -> bool:
    """Whether a source is a generator: an object with `latent_shape`, or what `open_generator` opens by name."""
    if not isinstance(source, (str, os.PathLike)):
        return callable(source) and hasattr(source, "latent_shape")
    spec = os.fsdecode(source)
    path, module = Path(spec).expanduser(), spec.partition(":")[0]
    if path.exists():
        folders = (path, *(path / f"{name}{end}" for name in ("last", "best") for end in ("", ".new", ".old")))
        return path.suffix == ".pt2" or (path.is_dir() and any((place / CHECKPOINT).is_file() for place in folders))
    return is_attribute(spec) and _is_importable(module)


def is_attribute(spec: str) -> bool:
    """Whether a name has the form `module:attribute`, and is neither a dataset nor a file."""
    module, _, attribute = spec.partition(":")
    words = [*module.split("."), *attribute.split(".")]
    return all(word.isidentifier() for word in words) and not is_dataset_name(spec) and not Path(module).exists()


def _is_importable(module: str) -> bool:
    if "" not in sys.path:  # the working directory, which an installed command does not search
        sys.path.insert(0, "")
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


class GeneratorSource(StreamSource):
    """`n` images of a generator by seed; image i is the same for any number of images and any batch size.

    A generator of several classes makes them in turn: image i is of class i modulo their number.

    Args:
        spec: what `open_generator` takes.
        n: the number of images.
        seed: of the latents.
        device: where a generator that is opened by name runs.
        value_range: of its images, if it does not state it.
        quantize: as in `to_uint8`.

    Raises OptionError, and what `open_generator` raises.
    """

    def __init__(
        self,
        spec: Any,
        n: int | None,
        seed: int,
        *,
        device: str | torch.device | None = None,
        value_range: tuple[float, float] | None = None,
        quantize: str = "round",
    ):
        if n is None:
            shown = spec if isinstance(spec, (str, os.PathLike)) else type(spec).__name__
            raise OptionError(f"generator {shown}: say how many images it is to make, with -n N (n_samples=)")
        try:
            self.generator = open_generator(spec, device, value_range=value_range, differentiable=False)
        except OptionError as error:  # for a source the option has another name
            own = str(error).replace("--generator-range", "--value-range")
            raise OptionError(own.replace("generator_range=", "value_range=")) from error
        super().__init__(self.generator.name, whole("-n", n, 1))
        self.count, self.seed, self._quantize = n, seed, quantize
        described = self.generator.describe()
        self.about = {"generator": described["generator"], "sha256": described["generator_sha256"], "seed": seed}
        self.remarks = list(self.generator.warnings)
        if self.generator.n_classes is not None:
            self.classes = Classes([str(i % self.generator.n_classes) for i in range(n)], "the generator")

    def stacks(self, batch_size: int) -> Iterator[Stack]:
        for start in range(0, self.count, BLOCK):
            yield Stack(self._images(range(start, min(start + BLOCK, self.count))))

    def _images(self, indices: range) -> Tensor:
        """uint8 images on the CPU. Always BLOCK latents are drawn and run, so that numbers do not depend on `n`."""
        opened = self.generator
        block = range(indices.start, indices.start + BLOCK)
        with opened.measuring(), torch.no_grad():
            torch.manual_seed(self.seed + block.start)  # of noise that a generator draws itself
            z = own_latents(opened.generator, block, self.seed, opened.latent_shape, opened.name)
            z = _normal(opened, block, self.seed) if z is None else z
            z = z.to(opened.device, opened.dtype)
            labels = None
            if opened.n_classes is not None:
                labels = torch.arange(block.start, block.stop, device=opened.device) % opened.n_classes
            floats = opened.raw(z, labels)
        images = to_uint8(
            floats, value_range=opened.value_range, layout="NCHW", quantize=self._quantize, where=opened.name
        )
        return images[: len(indices)].cpu()


def _normal(opened: OpenGenerator, block: range, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed * 1_000_003 + block.start // BLOCK)
    return torch.randn((len(block), *opened.latent_shape), generator=random, dtype=torch.float64)
