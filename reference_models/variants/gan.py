"""Generative adversarial nets (Goodfellow et al. 2014, arXiv:1406.2661).

    min_G max_D  E[log D(x)] + E[log(1 - D(G(z)))]                                                    (Equation 1)

Reproduced: the minimax game, where G minimises log(1 - D(G(z))) (`--loss minimax`) or the non-saturating loss
-log D(G(z)), with which the paper trains (`--loss non-saturating`, the default); one D step per G step.

Differs: the paper's generator is two rectified layers with a sigmoid, its discriminator maxout with dropout, trained
by SGD with momentum on latents of 100 uniform numbers. Here both are the perceptrons common in later code
(100-128-256-512-1024-784 tanh, 784-512-256-1, leaky, batch norm in G), trained by Adam on Gaussian latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference_models.recipe import Recipe, setting
from reference_models.variant import Variant

if TYPE_CHECKING:
    from torch import nn

    from reference_models.losses import Loss


@dataclass(frozen=True)
class GANRecipe(Recipe):
    """Adam 2e-4 (0.5, 0.999) in batches of 64, on MNIST's 28 pixels."""

    image_size: int = setting(28, "Height and width of the images.", least=1)
    nz: int = setting(100, "Size of the latent.", least=1)
    loss: str = setting("non-saturating", "Loss of G.", choices=("non-saturating", "minimax"))
    batch_norm: bool = setting(True, "Batch norm in G's hidden layers except the first.")


class GAN(Variant):
    """The vanilla GAN."""

    recipe_class = GANRecipe
    recipe: GANRecipe

    def networks(self) -> dict[str, nn.Module]:
        from reference_models.networks.mlp import MLPDiscriminator, MLPGenerator

        r = self.recipe
        return {
            "generator": MLPGenerator(r.nz, self.image_shape, batch_norm=r.batch_norm),
            "discriminator": MLPDiscriminator(self.image_shape),
        }

    def loss(self) -> Loss:
        from reference_models.losses import LOSSES

        return LOSSES[self.recipe.loss]
