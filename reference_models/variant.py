"""The interface of a variant: its networks, its losses, its recipe and, if it needs one, its own step.

The loop, the checkpoints, the logging and the sampler are the same for all variants. Imports no torch: see recipe.py.
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
    """What `Variant.step` may use of the trainer: all that the author of a variant needs to know of it.

    Attributes:
        networks: by the names of `Variant.networks`, on the device, in training mode.
        optimizers: by the names of `Variant.optimizers`.
        accelerator: device, processes and precision; rarely needed, because the methods below use it.
        step: number of finished steps.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    accelerator: Accelerator
    step: int

    def latent(self, n: int) -> Tensor:
        """`(n, *latent_shape)` latents drawn from the prior, for the `n` images of this process."""

    def update(self, name: str, loss: Tensor) -> Tensor:
        """One step of the optimizer `name` that lowers `loss`; returns the Euclidean norm of the gradient."""

    def autocast(self) -> AbstractContextManager:
        """Mixed precision, if the recipe asks for it; call networks inside this context."""

    def frozen(self, name: str) -> AbstractContextManager:
        """No gradients for the weights of network `name`; gradients still flow through it."""


class Variant(ABC):
    """A kind of GAN, configured by a recipe.

    A subclass sets `recipe_class` and implements `networks`. It implements `loss` if it trains with a pair of losses
    (`losses.Loss`), else it overrides `step`. torch is imported inside the methods, so that `--help` stays fast.

    Attributes:
        recipe_class: the class of its recipe.
        value_range: (low, high) of the generator's images and of the discriminator's input.
        latent_bound: largest absolute value of a latent's coordinates; None if the prior is unbounded.
        best_by: name of a value that `step` measures, and whether "lower" or "higher" is better. It chooses best/ when
            no score is taken.
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
        """`generator` and the networks it is trained against, initialised from torch's global random numbers.

        A generator maps `(N, *latent_shape)` to images `(N, C, H, W)` in `value_range`, and has `latent_shape`.
        """

    def optimizers(self, networks: Networks) -> dict[str, Optimizer]:
        """One optimizer per network, under the network's name; Adam unless overridden."""
        from torch.optim import Adam

        r = self.recipe
        return {name: Adam(net.parameters(), lr=r.lr, betas=(r.beta1, r.beta2)) for name, net in networks.items()}

    def schedules(self, optimizers: Mapping[str, Optimizer], steps_per_epoch: int) -> dict[str, LRScheduler]:
        """Learning rate schedules, advanced after each step; none unless the paper has one."""
        return {}

    def latent(self, n: int, random: torch.Generator) -> Tensor:
        """`(n, nz)` latents drawn from the prior, N(0, I), on the device of `random`."""
        import torch

        return torch.randn(n, self.recipe.nz, generator=random, device=random.device)

    def loss(self) -> Loss:
        """The pair of losses that the default step trains with."""
        raise NotImplementedError(f"{type(self).__name__} defines neither loss nor step")

    def step(self, training: StepContext, real: Tensor) -> dict[str, Tensor]:
        """One D step, then one G step on the same fakes (Goodfellow et al. 2014, Algorithm 1 with k = 1).

        D sees real and fake images in separate calls, so that batch norm normalises each set alone, as in
        pytorch/examples.

        Args:
            training: the networks, and `latent` and `update` to train them with.
            real: `(n, C, H, W)` in `value_range`, this process's part of the batch.

        Returns:
            Measured scalars by the names under which they are logged, the same names at every step.
        """
        loss = self.loss()
        G, D = training.networks["generator"], training.networks["discriminator"]
        with training.autocast():
            fake = G(training.latent(len(real)))
            real_logits, fake_logits = D(real).float(), D(fake.detach()).float()
        loss_d = loss.discriminator(real_logits, fake_logits)
        grad_d = training.update("discriminator", loss_d)
        with training.autocast(), training.frozen("discriminator"):
            fake_logits_after = D(fake).float()
        loss_g = loss.generator(fake_logits_after)
        grad_g = training.update("generator", loss_g)
        beliefs = [loss.belief(logits.detach()).mean() for logits in (real_logits, fake_logits, fake_logits_after)]
        names = ("D(x)", "D(G(z))", "D(G(z)) after")
        measured = {"Loss_D": loss_d.detach(), "Loss_G": loss_g.detach(), "grad_D": grad_d, "grad_G": grad_g}
        return {**measured, **dict(zip(names, beliefs, strict=True))}

    def warning(self) -> str | None:
        """A warning to the user after this step, or None; printed and logged when it begins, not while it lasts."""
        return None

    def state(self) -> dict[str, Any]:
        """Everything else that the next step depends on (an image pool, a running loss), for the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most have nothing to restore
        """Restore what `state` returned."""
