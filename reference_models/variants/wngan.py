"""Weight-normalised GAN (Xiang & Li 2017, arXiv:1704.03971, and the authors' stormraiser/GAN-weight-norm).

Reproduced: strict weight normalisation of every layer of both networks, TPReLU after each except the last; only the
last layers of G and D have a scale and a bias; a latent of 128; images in [0, 1] by a sigmoid; initial weights of G's
first layer times 0.01; cross-entropy with the non-saturating loss; RMSprop with alpha 0.9 and eps 1e-6 in batches of
32. `--normalisation batch|none` trains the networks that the paper compares with. Slopes are clamped to [0, 1] after
each step of the optimiser, as in the code. The learning rate is 1e-4, the code's default; its README also reports 2e-5
(best samples, slow at first) and 5e-5 (lowest reconstruction loss).

Differs: G is updated on the fakes that D has just seen, the paper draws new ones; no `weight-affine` normalisation.
The paper's metric is `--score-metric reconstruction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_models.recipe import BaseRecipe, setting
from reference_models.variant import Networks, Variant

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from reference_models.losses import Loss

EPS = 1e-6  # of RMSprop


@dataclass(frozen=True)
class WNGANRecipe(BaseRecipe):
    """The recipe of the authors' code: RMSprop 1e-4 in batches of 32."""

    batch_size: int = setting(32, "Images per step, all processes together.", least=2)
    image_size: int = setting(64, "Height and width, a power of two from 8 to 128.", least=1)
    lr: float = setting(1e-4, "Learning rate of RMSprop.", least=0)
    alpha: float = setting(0.9, "Decay of RMSprop's mean square.", least=0, below=1)
    nz: int = setting(128, "Size of the latent.", least=1)
    ngf: int = setting(64, "Channels of G before its last layer; each earlier layer has twice as many.", least=1)
    ndf: int = setting(64, "Channels of D after its first layer; each later layer has twice as many.", least=1)
    normalisation: str = setting("weight", "Normalisation of G's and D's layers.", choices=("weight", "batch", "none"))


class WNGAN(Variant):
    """Weight-normalised networks, or the same with batch norm or none, with the non-saturating loss."""

    recipe_class = WNGANRecipe
    recipe: WNGANRecipe
    value_range = (0.0, 1.0)

    def networks(self) -> dict[str, nn.Module]:
        from reference_models.networks.wngan import WNGANDiscriminator, WNGANGenerator

        r, (channels, size, _) = self.recipe, self.image_shape
        return {
            "generator": WNGANGenerator(r.nz, size, channels, r.ngf, normalisation=r.normalisation),
            "discriminator": WNGANDiscriminator(size, channels, r.ndf, normalisation=r.normalisation),
        }

    def optimizers(self, networks: Networks) -> dict[str, Optimizer]:
        from torch.optim import RMSprop

        r = self.recipe
        optimizers: dict[str, Optimizer] = {
            name: RMSprop(net.parameters(), lr=r.lr, alpha=r.alpha, eps=EPS) for name, net in networks.items()
        }
        _clamp_after_each_step(optimizers, networks)
        return optimizers

    def loss(self) -> Loss:
        from reference_models.losses import LOSSES

        return LOSSES["non-saturating"]


def _clamp_after_each_step(optimizers: Mapping[str, Optimizer], networks: Networks) -> None:
    from reference_models.networks.weight_norm import clamp_slopes

    for name, optimizer in optimizers.items():
        # The default binds this network; a closure over `name` would see the last one in every hook.
        def clamp(*_: Any, network: nn.Module = networks[name]) -> None:
            clamp_slopes(network)

        optimizer.register_step_post_hook(clamp)
