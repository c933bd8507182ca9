"""What a variant states: its networks, its losses, its recipe and, if it needs one, its own step. Nothing else.

The loop, the checkpoint, the logging and the sampler are the same for all. Imports no torch: see recipe.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from reference_models.recipe import BaseRecipe, Recipe

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from reference_models.losses import Loss

Networks = Mapping[str, "nn.Module"]


class StepContext(Protocol):
    """What a step has of the training it is a part of: all that the author of a variant needs to know of the trainer.

    Attributes:
        networks: by the names that `Variant.networks` gave them, on the device, in training mode.
        optimizers: by the names that `Variant.optimizers` gave them.
        accelerator: device, processes and precision; rarely needed, the methods below use it.
        step: how many steps have been made.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    accelerator: Accelerator
    step: int

    def latent(self, n: int) -> Tensor:
        """`(n, *latent_shape)` latents of the prior for this process's `n` images."""

    def update(self, name: str, loss: Tensor) -> Tensor:
        """One step of the optimizer of that name down the gradient of `loss`; returns the norm of the gradient."""

    def autocast(self) -> AbstractContextManager:
        """Mixed precision, if the recipe asks for it; networks are called inside."""

    def frozen(self, name: str) -> AbstractContextManager:
        """No gradients for the weights of one network; they still flow through it."""


class Variant(ABC):
    """A kind of GAN, as configured by a recipe.

    A subclass sets `recipe_class` and says `networks`; one that trains with a line of `losses.LOSSES` says `loss`,
    another overrides `step`. torch is imported inside the methods, so that `--help` stays quick.

    Attributes:
        recipe_class: of its recipe.
        value_range: of the images its generator makes and its discriminator sees.
        latent_bound: largest size of a latent's coordinates, where the prior has one.
        best_by: a value that `step` measures and whether "lower" or "higher" is better, by which best/ is kept where
            no score is asked for.
        recipe: the values of this run; `recipe.nc` is set.
    """

    recipe_class: ClassVar[type[BaseRecipe]] = Recipe
    value_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    latent_bound: ClassVar[float | None] = None
    best_by: ClassVar[tuple[str, Literal["lower", "higher"]] | None] = None
    recipe: Any

    def __init__(self, recipe: BaseRecipe):
        self.recipe = recipe

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of one image."""
        return self.recipe.nc or 3, self.recipe.image_size, self.recipe.image_size

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """`generator` and what it is trained against, initialised from torch's own random numbers.

        A generator maps `(N, *latent_shape)` to images `(N, C, H, W)` in `value_range`, and says `latent_shape`.
        """

    def optimizers(self, networks: Networks) -> dict[str, Optimizer]:
        """Adam for each network, by its name."""
        from torch.optim import Adam

        r = self.recipe
        return {name: Adam(net.parameters(), lr=r.lr, betas=(r.beta1, r.beta2)) for name, net in networks.items()}

    def schedules(self, optimizers: Mapping[str, Optimizer], steps_per_epoch: int) -> dict[str, LRScheduler]:
        """Learning rate schedules, moved on after each step; none unless the paper has one."""
        return {}

    def latent(self, n: int, random: torch.Generator) -> Tensor:
        """`(n, nz)` latents of the prior, N(0, I), on the device of `random`."""
        import torch

        return torch.randn(n, self.recipe.nz, generator=random, device=random.device)

    def loss(self) -> Loss:
        """The pair of losses that the default step trains with."""
        raise NotImplementedError(f"{type(self).__name__} says neither a loss nor a step of its own")

    def step(self, training: StepContext, real: Tensor) -> dict[str, Tensor]:
        """One D step, then one G step on the same fakes (Goodfellow et al. 2014, Algorithm 1 with k = 1).

        Real and fake images pass D one after the other, so that batch norm sees each alone, as in pytorch/examples.

        Args:
            training: the networks, and `latent` and `update` to train them with.
            real: `(n, C, H, W)` in `value_range`, this process's part of the batch.

        Returns:
            Scalars by the names under which they are logged.
        """
        loss = self.loss()
        G, D = training.networks["generator"], training.networks["discriminator"]
        with training.autocast():
            fake = G(training.latent(len(real)))
            on_real, on_fake = D(real).float(), D(fake.detach()).float()
        loss_d = loss.discriminator(on_real, on_fake)
        grad_d = training.update("discriminator", loss_d)
        with training.autocast(), training.frozen("discriminator"):
            after = D(fake).float()
        loss_g = loss.generator(after)
        grad_g = training.update("generator", loss_g)
        believed = [loss.belief(logits.detach()).mean() for logits in (on_real, on_fake, after)]
        names = ("D(x)", "D(G(z))", "D(G(z)) after")
        found = {"Loss_D": loss_d.detach(), "Loss_G": loss_g.detach(), "grad_D": grad_d, "grad_G": grad_g}
        return {**found, **dict(zip(names, believed, strict=True))}

    def warning(self) -> str | None:
        """What the user should know after this step; told and logged when it begins, and again if it comes back."""
        return None

    def state(self) -> dict[str, Any]:
        """Whatever else the next step depends on (an image pool, a running loss), for the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most have nothing to take up
        """Take up what `state` gave."""
