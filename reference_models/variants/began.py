"""Boundary equilibrium GAN (Berthelot, Schumm & Metz 2017, arXiv:1703.10717).

    L(v) = |v - D(v)|_1,   L_D = L(x) - k L(G(z_D)),   L_G = L(G(z_G)),   k <- k + lambda (gamma L(x) - L(G(z_G)))

Reproduced: D is an autoencoder; k starts at 0 and stays in [0, 1], lambda 0.001; gamma is the diversity ratio; z is
uniform on [-1, 1]^64; ELU, no batch norm, two 3x3 convolutions per level, nearest upsampling, subsampling by 2; Adam
with its default moments; its learning rate 1e-4 is halved when M = L(x) + |gamma L(x) - L(G(z))| stalls
(began_control.py gives the rule). M is logged and drawn, and the smoothed M chooses the best checkpoint. The run warns
when k has been 0 for 1,000 steps.

Differs: L is a mean over pixels and channels of images in [-1, 1]. D is updated first, then G on the same fakes (z_D is
z_G) against the updated D; the paper updates both at once. `--skip` adds the skip connections of the decoders, off by
default; vanishing residuals are left out. The paper has 64 to 128 channels, the default is 64; the batch of 16 is that
of other implementations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_models.networks.began_control import IGNORED, Equilibrium
from reference_models.recipe import Recipe, setting
from reference_models.variant import StepContext, Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class BEGANRecipe(Recipe):
    """Adam 1e-4 (0.9, 0.999) in batches of 16."""

    batch_size: int = setting(16, "Images per step, all processes together.", least=2)
    image_size: int = setting(64, "Height and width, a power of two from 8 to 128.", least=1)
    lr: float = setting(1e-4, "Learning rate of Adam at the start.", least=0)
    beta1: float = setting(0.9, "Decay of Adam's first moment.", least=0, below=1)
    nz: int = setting(64, "Size of the latent, and of D's code.", least=1)
    nf: int = setting(64, "Channels of the decoders; the encoder has nf, 2nf, 3nf and so on.", least=1)
    gamma: float = setting(0.5, "Diversity ratio L(G(z)) / L(x); the paper has 0.3 to 0.7.", least=0, below=1)
    lambda_k: float = setting(0.001, "Learning rate of k, the paper's lambda.", least=0)
    patience: int = setting(10_000, "Steps without a 1 % fall of M until the learning rate is halved.", least=1)
    skip: bool = setting(False, "Skip connections in the decoders.")


class BEGAN(Variant):
    """A discriminator that is an autoencoder, kept in balance with G by k."""

    recipe_class = BEGANRecipe
    recipe: BEGANRecipe
    latent_bound = 1.0
    best_by = ("M_smoothed", "lower")

    def __init__(self, recipe: BEGANRecipe):
        super().__init__(recipe)
        self.equilibrium = Equilibrium()

    def networks(self) -> dict[str, nn.Module]:
        from reference_models.networks.began import BEGANDiscriminator, BEGANGenerator

        r, (channels, size, _) = self.recipe, self.image_shape
        return {
            "generator": BEGANGenerator(r.nz, size, channels, r.nf, skip=r.skip),
            "discriminator": BEGANDiscriminator(r.nz, size, channels, r.nf, skip=r.skip),
        }

    def latent(self, n: int, random: torch.Generator) -> Tensor:
        """`(n, nz)` latents, uniform on [-1, 1]."""
        import torch

        return 2 * torch.rand(n, self.recipe.nz, generator=random, device=random.device) - 1

    def step(self, training: StepContext, real: Tensor) -> dict[str, Tensor]:
        """One D step, one G step, then an update of k and M and, if M stalls, of the learning rate."""
        import torch

        G, D = training.networks["generator"], training.networks["discriminator"]
        with training.autocast():
            fake = G(training.latent(len(real)))
            real_loss, fake_loss = _l1(real, D(real)), _l1(fake.detach(), D(fake.detach()))
        loss_d = real_loss - self.equilibrium.k * fake_loss
        grad_d = training.update("discriminator", loss_d)
        with training.autocast(), training.frozen("discriminator"):
            loss_g = _l1(fake, D(fake))
        grad_g = training.update("generator", loss_g)
        means = training.accelerator.reduce(torch.stack([real_loss, loss_g]).detach(), "mean")  # all processes: one k
        controls = self._update_control(training, *means.tolist())
        measured = {"Loss_D": loss_d.detach(), "Loss_G": loss_g.detach(), "grad_D": grad_d, "grad_G": grad_g}
        measured |= {"L(x)": real_loss.detach()}
        return {**measured, **{name: torch.tensor(value, device=real.device) for name, value in controls.items()}}

    def _update_control(self, training: StepContext, real: float, fake: float) -> dict[str, float]:
        from reference_models.networks.began_control import convergence

        r, control = self.recipe, self.equilibrium
        stalls = control.update(real, fake, gamma=r.gamma, rate=r.lambda_k, patience=r.patience)
        groups = [group for optimizer in training.optimizers.values() for group in optimizer.param_groups]
        for group in groups if stalls else ():
            group["lr"] /= 2
        m_global = convergence(real, fake, gamma=r.gamma)
        return {"k": control.k, "M_global": m_global, "M_smoothed": control.smoothed, "lr": groups[0]["lr"]}

    def warning(self) -> str | None:
        if self.equilibrium.idle < IGNORED:
            return None
        return (
            f"k has been 0 for {IGNORED} steps: generated images are harder to encode than gamma = "
            f"{self.recipe.gamma:g} allows, so D learns nothing from them; if Loss_G does not fall any more, start "
            "again with a larger --gamma or a smaller --lr"
        )

    def state(self) -> dict[str, Any]:
        return self.equilibrium.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.equilibrium.load(state)


def _l1(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean of |v - D(v)| over images, pixels and channels, in float32."""
    return (images - reconstructions).float().abs().mean()
