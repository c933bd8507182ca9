"""`reference_models.load(path).sample(n, seed=0)`: images of a trained generator, the same for any batch size.

Latents and images are made in blocks of a fixed size, because a convolution's rounding depends on its batch size. So
image i of a seed is always the same to the bit, for any number of images and any batch size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from ganmetrics.errors import OptionError
from ganmetrics.generators.latents import in_full_batches
from ganmetrics.images import to_uint8
from ganmetrics.images.reader import recut
from ganmetrics.printable import brief, printable
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.runtime.device import resolve_device
from ganmetrics.runtime.guards import ordinary_modes
from ganmetrics.validation import whole
from reference_models.checkpoints.checkpoint import EMA, Checkpoint, locate
from reference_models.checkpoints.run_directory import folder_of
from reference_models.errors import CheckpointError, RecipeError
from reference_models.index import get_variant
from reference_models.recipe import SEEDS
from reference_models.variant import Variant

BLOCK = 32  # images that go through the generator at once
LARGEST = 2**40  # largest sample number: a seed and its block then fit into 63 bits
Which = Literal["last", "best"]


def load(path: str | os.PathLike[str], *, which: Which = "last", device: str | torch.device | None = None) -> Model:
    """The generator of a run directory's `last` or `best` checkpoint, or of a checkpoint directory itself.

    Raises CheckpointError if there is none or it is damaged, OptionError if the device is missing.
    """
    if which not in ("last", "best"):
        raise OptionError(f"which: expected last or best, got {brief(which)}")
    folder = folder_of(path)
    target = folder if locate(folder) is not None else folder / which
    if locate(target) is None and not target.is_dir():
        raise absent(folder, which)
    while True:
        checkpoint = Checkpoint(target)
        try:
            return Model(checkpoint, device=device)
        except CheckpointError:
            if not checkpoint.is_replaced():  # else training replaced it during reading: try again
                raise


def absent(folder: Path, which: str) -> CheckpointError:
    """The error for a missing checkpoint: why it is missing, and what to do."""
    name = printable(os.fspath(folder))
    if not folder.is_dir():
        return CheckpointError(f"{name}: no such folder; expected the --out of a `reference-models train`")
    if which == "best" and locate(folder / "last") is not None:
        return CheckpointError(f"{name}: {_why_no_best(folder)}")
    return CheckpointError(f"{name}: holds no checkpoint; expected the --out of a `reference-models train`")


def _why_no_best(folder: Path) -> str:
    try:
        config = Checkpoint(folder / "last").of_a_run().config
        best_by = get_variant(str(config.get("variant"))).load().best_by
    except (CheckpointError, RecipeError):
        best_by = None
    if best_by is None:
        return "was not scored, so it has no best checkpoint; train with --score-every"
    return (
        f"has no best checkpoint: it is chosen by {best_by[0]} of those that are saved on the way, and none was; "
        "train with a smaller --checkpoint-every, or with --score-every"
    )


class Sampler:
    """Images of a generator by seed and number.

    Args:
        variant: the variant of the generator.
        generator: called with True for the moving average, False for the last weights; returns it in evaluation mode.
        device: where the generator is.

    Attributes:
        latent_shape: of one latent, `(nz,)`.
        value_range: (low, high) of the images that calling it returns.
        latent_bound: largest absolute value of a latent's coordinates; None if the prior is unbounded.
        image_shape: `(C, H, W)`.
    """

    def __init__(self, variant: Variant, generator: Callable[[bool], nn.Module], device: torch.device):
        self.variant, self.device = variant, device
        self._generator = generator
        self.value_range, self.latent_bound = variant.value_range, variant.latent_bound
        self.image_shape = variant.image_shape
        self.latent_shape = cast(tuple[int, ...], generator(True).latent_shape)  # mypy takes it for a tensor

    def __call__(self, z: Tensor, *, ema: bool = True) -> Tensor:
        """Images `(N, C, H, W)` in `value_range` from latents `(N, *latent_shape)`; gradients flow back to `z`."""
        if tuple(z.shape[1:]) != self.latent_shape:
            raise OptionError(f"expected latents {('N', *self.latent_shape)}, got {tuple(z.shape)}")
        return self._generator(ema)(z.to(self.device))

    def latents(self, indices: Iterable[int], *, seed: int = 0) -> Tensor:
        """Latents `(n, *latent_shape)` of the samples with these numbers, on the device."""
        numbers = [whole("number of a sample", index, 0, LARGEST) for index in indices]
        if not numbers:
            raise OptionError("latents: expected numbers of samples, got none")
        blocks = {block: self._block(block, seed) for block in sorted({number // BLOCK for number in numbers})}
        return torch.stack([blocks[number // BLOCK][number % BLOCK] for number in numbers])

    def _block(self, block: int, seed: int) -> Tensor:
        random = torch.Generator().manual_seed(whole("--seed", seed, 0, SEEDS) * 1_000_003 + block)
        with ordinary_modes():
            return self.variant.latent(BLOCK, random).to(self.device)

    def images(self, z: Tensor, *, ema: bool = True) -> Tensor:
        """uint8 images `(N, C, H, W)` from latents `(N, *latent_shape)`, on the CPU."""
        if not len(z):
            raise OptionError("images: expected latents, got none")

        def images(latents: Tensor) -> Tensor:
            floats = self(latents, ema=ema)
            return to_uint8(floats, value_range=self.value_range, layout="NCHW", where="generator").cpu()

        with exact_arithmetic(self.device):
            return in_full_batches(images, z, BLOCK)

    def batches(
        self, n: int, *, seed: int = 0, ema: bool = True, batch_size: int | None = None, start: int = 0
    ) -> Iterator[Tensor]:
        """Samples [start, start + n) of a seed, uint8 `(b, C, H, W)` with b at most `batch_size`."""
        n, start = whole("-n", n, 1, LARGEST), whole("--start", start, 0, LARGEST)
        size, stop = whole("batch_size", 8 * BLOCK if batch_size is None else batch_size, 1), start + n
        firsts = range(start // BLOCK * BLOCK, stop, BLOCK)
        blocks = (self.images(self.latents(range(first, first + BLOCK), seed=seed), ema=ema) for first in firsts)
        samples = (block[max(start - first, 0) : stop - first] for first, block in zip(firsts, blocks, strict=True))
        for batch in recut(samples, size):
            yield batch[0]

    def sample(
        self, n: int, *, seed: int = 0, ema: bool = True, batch_size: int | None = None, start: int = 0
    ) -> Tensor:
        """`n` images of a seed as uint8 `(n, C, H, W)`; images 0 to 9 are the same among 10 and among 10,000.

        Args:
            n: number of images.
            seed: of the latents; image i of a seed is always the same.
            ema: use the generator's moving average, not the weights of the last step.
            batch_size: number of images handled at once; does not change the images.
            start: number of the first image, so that several machines can share a seed.

        Raises:
            OptionError: for numbers out of range.
        """
        return torch.cat(list(self.batches(n, seed=seed, ema=ema, batch_size=batch_size, start=start)))


class Model(Sampler):
    """A trained generator from a checkpoint, in evaluation mode; see `load`.

    Attributes:
        config: variant, recipe, data and seed of the run.
        step: number of steps it was trained.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str | torch.device | None = None):
        self.checkpoint, self.config, self.step = checkpoint.of_a_run(), checkpoint.config, checkpoint.step
        self._networks: dict[bool, nn.Module] = {}
        self._weights = {ema: checkpoint.network(EMA if ema else "generator") for ema in (True, False)}
        entry = get_variant(str(self.config.get("variant"))).load()
        try:
            variant = entry(entry.recipe_class.of(self.config["recipe"]))
        except (KeyError, RecipeError) as error:
            raise CheckpointError(f"{checkpoint.path}: made by another version of {entry.__name__}: {error}") from error
        self.device, self.variant = resolve_device(device), variant
        super().__init__(variant, self.network, self.device)

    def network(self, ema: bool = True) -> nn.Module:
        """The generator itself: its moving average, or the weights of the last step."""
        if ema not in self._networks:
            with torch.random.fork_rng(devices=[]), ordinary_modes():  # initial weights draw random numbers
                network = self.variant.networks()["generator"]
            name = EMA if ema else "generator"
            try:
                network.load_state_dict(self._weights[ema])
            except RuntimeError as error:
                raise CheckpointError(f"{self.checkpoint.path}: {name} does not fit this version's network") from error
            network.to(memory_format=torch.channels_last)  # as in training, for the same bits
            self._networks[ema] = network.to(self.device).eval().requires_grad_(False)
        return self._networks[ema]

    def record(self, n: int, *, seed: int, ema: bool, start: int = 0) -> dict[str, Any]:
        """How samples were made, to be stored beside them."""
        return {
            "variant": self.config["variant"],
            "step": self.step,
            "checkpoint": self.checkpoint.path.name,
            "sha256": self.checkpoint.manifest["sha256"][f"{EMA if ema else 'generator'}.safetensors"],
            "n_samples": n,
            "start": start,
            "seed": seed,
            "ema": ema,
            "recipe": self.config["recipe"],
            "data": self.config["data"],
            "training_seed": self.config["seed"],
        }
