"""Least squares GAN (Mao, Li, Xie, Lau, Wang & Smolley 2017, arXiv:1611.04076).

    min_D  1/2 E[(D(x) - b)^2] + 1/2 E[(D(G(z)) - a)^2],     min_G  1/2 E[(D(G(z)) - c)^2]            (Equation 2)

Reproduced: both published coefficient sets, (a, b, c) = (0, 1, 1) (Equation 9, the default) and (-1, 1, 0)
(Equation 8), under which G minimises the Pearson chi-squared divergence. D has no sigmoid.

Differs: the networks are DCGAN's, so that the two papers' losses can be compared on the same networks; the paper's
network for 112-pixel scenes is VGG-like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference_models.recipe import setting
from reference_models.variants.dcgan import DCGAN, DCGANRecipe

if TYPE_CHECKING:
    from reference_models.losses import Loss


@dataclass(frozen=True)
class LSGANRecipe(DCGANRecipe):
    """DCGAN's recipe, with the batches of 64 of the LSGAN paper."""

    batch_size: int = setting(64, "Images per step, all processes together.", least=2)
    coefficients: str = setting("0,1,1", "The targets a,b,c of D on fakes, D on reals, and G.",
                                choices=("0,1,1", "-1,1,0"))  # fmt: skip


class LSGAN(DCGAN):
    """DCGAN's networks with the least squares loss."""

    recipe_class = LSGANRecipe
    recipe: LSGANRecipe

    def loss(self) -> Loss:
        from reference_models.losses import LOSSES

        return LOSSES["least-squares" if self.recipe.coefficients == "0,1,1" else "least-squares-pearson"]
