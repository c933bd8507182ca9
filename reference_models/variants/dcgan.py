"""Deep convolutional GAN (Radford, Metz & Chintala 2015, arXiv:1511.06434).

Reproduced, layer by layer as in pytorch/examples: 4x4 stride-2 transposed convolutions in G and strided convolutions
in D, no pooling and no bias; batch norm except at G's output and D's input; ReLU, then tanh in G, LeakyReLU 0.2 in D;
weights from N(0, 0.02), batch norm's from N(1, 0.02); Adam 2e-4 with beta1 0.5, batches of 128, 64 pixels, nz 100.

Differs: the latent is N(0, I) as in pytorch/examples; the paper's is uniform. The depth follows from `image_size`, any
power of two from 8 to 128. `--upsample nearest|pixel-shuffle` replaces G's transposed convolutions after the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference_models.recipe import Recipe, setting
from reference_models.variant import Variant

if TYPE_CHECKING:
    from torch import nn

    from reference_models.losses import Loss

UPSAMPLE = ("transposed", "nearest", "pixel-shuffle")


@dataclass(frozen=True)
class DCGANRecipe(Recipe):
    """The paper's recipe: Adam 2e-4 (0.5, 0.999) in batches of 128, at 64 pixels."""

    batch_size: int = setting(128, "Images per step, all processes together.", least=2)
    image_size: int = setting(64, "Height and width, a power of two from 8 to 128.", least=1)
    nz: int = setting(100, "Size of the latent.", least=1)
    ngf: int = setting(64, "Channels of G before its last layer; each earlier layer has twice as many.", least=1)
    ndf: int = setting(64, "Channels of D after its first layer; each later layer has twice as many.", least=1)
    upsample: str = setting("transposed", "How G doubles the size.", choices=UPSAMPLE)


class DCGAN(Variant):
    """The networks of DCGAN, trained with the non-saturating loss."""

    recipe_class = DCGANRecipe
    recipe: DCGANRecipe

    def networks(self) -> dict[str, nn.Module]:
        from reference_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator

        r, (channels, size, _) = self.recipe, self.image_shape
        return {
            "generator": DCGANGenerator(r.nz, size, channels, r.ngf, upsample=r.upsample),
            "discriminator": DCGANDiscriminator(size, channels, r.ndf),
        }

    def loss(self) -> Loss:
        from reference_models.losses import LOSSES

        return LOSSES["non-saturating"]
