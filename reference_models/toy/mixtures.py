"""Mixtures of Gaussians in the plane, where the density is known and lost modes can be counted.

The ring of Metz et al. 2016 (arXiv:1611.02163) at the sizes of Mao et al. 2017 (arXiv:1611.04076); the grid and both
counts of Srivastava et al. 2017 (VEEGAN, arXiv:1705.07761): high-quality samples, and modes that have at least one.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import trange

from ganmetrics.printable import brief
from ganmetrics.runtime.device import bar_is_off
from ganmetrics.validation import whole
from reference_models.errors import RecipeError
from reference_models.losses import LOSSES, Loss
from reference_models.networks.checks import expect_count, expect_shape
from reference_models.recipe import SEEDS, Recipe, setting
from reference_models.training.state import Training, make_accelerator
from reference_models.variant import Variant

HIGH_QUALITY = 3.0  # standard deviations from the nearest mean (Srivastava et al. 2017, Section 4.1)


@dataclass(frozen=True)
class Coverage:
    """Which modes samples cover.

    Attributes:
        modes: number of modes with at least one high-quality sample.
        n_modes: number of modes of the mixture.
        high_quality: share of samples within 3 std of the nearest mean; 1 - exp(-9/2) = 0.989 for samples of the
            mixture itself if its modes are far apart.
        counts: number of high-quality samples of each mode.
        kl_to_uniform: KL(histogram of `counts` || uniform) in nats, from 0 to log n_modes; NaN without a high-quality
            sample.
    """

    modes: int
    n_modes: int
    high_quality: float
    counts: tuple[int, ...]
    kl_to_uniform: float


@dataclass(frozen=True, eq=False)
class Mixture:
    """Equally likely isotropic Gaussians: means `(K, 2)` in float64, one standard deviation for all.

    Raises RecipeError for means of another shape or not finite, and for a standard deviation that is not above 0.
    """

    means: Tensor
    std: float
    name: str

    def __post_init__(self) -> None:
        _expect_points("means", self.means)
        if not 0 < self.std < math.inf:
            raise RecipeError(f"std: expected a number above 0, got {brief(self.std)}; use 0.01, say")
        object.__setattr__(self, "means", self.means.double())

    @classmethod
    def ring(cls, n_modes: int = 8, *, radius: float = 1.0, std: float = 0.01) -> Mixture:
        """`n_modes` means at equal angles on a circle, the first at (radius, 0)."""
        expect_count("n_modes", n_modes)
        angles = torch.arange(n_modes, dtype=torch.float64) * (2 * math.pi / n_modes)
        return cls(radius * torch.stack([angles.cos(), angles.sin()], dim=1), std, f"ring-{n_modes}")

    @classmethod
    def grid(cls, side: int = 5, *, spacing: float = 2.0, std: float = 0.05) -> Mixture:
        """`side` x `side` means around the origin; 5 and 2.0 give {-4, -2, 0, 2, 4} squared."""
        expect_count("side", side)
        line = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
        return cls(torch.cartesian_prod(line, line), std, f"grid-{side}x{side}")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` random points `(n, 2)`, float32 on the generator's device."""
        expect_count("n", n)
        modes = torch.randint(len(self.means), (n,), generator=generator, device=generator.device)
        noise = torch.randn(n, 2, generator=generator, device=generator.device, dtype=torch.float64)
        return (self.means.to(generator.device)[modes] + self.std * noise).float()

    def log_density(self, x: Tensor) -> Tensor:
        """Log density, log 1/K sum_k N(x; mean_k, std^2 I) in nats and float64: `(N, 2)` -> `(N,)`."""
        _expect_points("x", x)
        exponents = -(self._distances(x) / self.std).square() / 2
        return exponents.logsumexp(dim=1) - math.log(len(self.means) * 2 * math.pi * self.std**2)

    def covered(self, samples: Tensor) -> Coverage:
        """Count the modes that `samples` `(N, 2)` cover. Raises RecipeError for another shape, and for NaN or inf."""
        _expect_points("samples", samples)
        distance, nearest = self._distances(samples).min(dim=1)
        good = distance <= HIGH_QUALITY * self.std
        counts = torch.bincount(nearest[good], minlength=len(self.means)).double()
        histogram = counts / counts.sum()
        kl = torch.special.xlogy(histogram, histogram * len(counts)).sum()
        return Coverage(
            modes=int((counts > 0).sum()),
            n_modes=len(counts),
            high_quality=float(good.double().mean()),
            counts=tuple(map(int, counts)),
            kl_to_uniform=float(kl),
        )

    def _distances(self, x: Tensor) -> Tensor:
        """`(N, 2)` -> `(N, K)` from differences; the faster form by matrix products loses half of the digits."""
        return torch.cdist(x.double(), self.means.to(x.device), compute_mode="donot_use_mm_for_euclid_dist")


def _expect_points(name: str, points: Tensor) -> None:
    expect_shape(name, points, (2,))
    if len(points) == 0:
        raise RecipeError(f"{name}: expected at least one point, got none; give one or more")
    bad = int((~points.isfinite()).any(dim=1).sum())
    if bad:
        raise RecipeError(f"{name}: expected finite numbers, got NaN or inf in {bad} of {len(points)}; drop them")


def _tanh_layers(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers of 128 tanh units, as in both networks of the ring experiment."""
    return nn.Sequential(nn.Linear(inputs, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, outputs))


class ToyGenerator(nn.Module):
    """z `(N, latent_dim)` -> points `(N, 2)`, unbounded.

    The default has two latent dimensions like the data, which is enough to cover the plane and can be drawn (Metz et
    al. 2016 take 256). Raises RecipeError for z of another shape.
    """

    value_range = (-math.inf, math.inf)

    def __init__(self, latent_dim: int = 2):
        super().__init__()
        expect_count("latent_dim", latent_dim)
        self.latent_shape = (latent_dim,)
        self.main = _tanh_layers(latent_dim, 2)

    def forward(self, z: Tensor) -> Tensor:
        expect_shape("z", z, self.latent_shape)
        return self.main(z)


class ToyDiscriminator(nn.Module):
    """Points `(N, 2)` -> logits `(N,)`. Raises RecipeError for points of another shape."""

    def __init__(self) -> None:
        super().__init__()
        self.main = _tanh_layers(2, 1)

    def forward(self, points: Tensor) -> Tensor:
        expect_shape("points", points, (2,))
        return self.main(points).squeeze(1)


@dataclass(frozen=True)
class ToyRecipe(Recipe):
    """Batches of 512, as on the ring of Mao et al.; 16 latent dimensions, so that G can separate the modes."""

    batch_size: int = setting(512, "Points per step.", least=2)
    nz: int = setting(16, "Size of the latent.", least=1)
    lr: float = setting(1e-3, "Learning rate of Adam.", least=0)
    loss: str = setting("non-saturating", "A name of losses.LOSSES.", choices=tuple(LOSSES))


class ToyGAN(Variant):
    """The two small networks with any pair of LOSSES, trained by the same step as the variants on images."""

    recipe_class = ToyRecipe
    recipe: ToyRecipe

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": ToyGenerator(self.recipe.nz), "discriminator": ToyDiscriminator()}

    def loss(self) -> Loss:
        return LOSSES[self.recipe.loss]


@dataclass(frozen=True)
class Fit:
    """Result of training with a loss on a mixture.

    Attributes:
        loss: name of the loss.
        mixture: the mixture.
        samples: `(N, 2)`, after the last step.
        coverage: of these samples.
        history: pairs of a step and the coverage after it, the last step included.
        seconds: duration of training.
    """

    loss: str
    mixture: Mixture
    samples: Tensor
    coverage: Coverage
    history: tuple[tuple[int, Coverage], ...]
    seconds: float

    def __str__(self) -> str:
        c = self.coverage
        return (
            f"{self.loss:<22} {self.mixture.name}  {c.modes:>2} of {c.n_modes} modes  "
            f"high quality {c.high_quality:5.1%}  KL {c.kl_to_uniform:.3f}  {self.seconds:.0f} s"
        )

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON, without the samples."""
        return {
            "loss": self.loss,
            "mixture": self.mixture.name,
            **asdict(self.coverage),
            "kl_to_uniform": None if math.isnan(self.coverage.kl_to_uniform) else self.coverage.kl_to_uniform,
            "history": [[step, coverage.modes, coverage.high_quality] for step, coverage in self.history],
            "seconds": round(self.seconds, 1),
        }


def fit(
    loss: str,
    mixture: Mixture,
    *,
    steps: int = 10_000,
    seed: int = 0,
    n_samples: int = 10_000,
    device: str | None = None,
    progress: bool = False,
) -> Fit:
    """Train on a mixture and count the modes covered, with the weights of the last step, not their moving average.

    Raises RecipeError for an unknown loss.
    """
    expect_count("steps", steps)
    seed = whole("--seed", seed, 0, SEEDS)
    recipe = ToyRecipe(loss=loss)
    training = Training(ToyGAN(recipe), make_accelerator(device), seed=seed)
    # `Training` has its own generator with `seed`
    points, latents = (torch.Generator().manual_seed(seed + k) for k in (1, 2))
    z = torch.randn(n_samples, recipe.nz, generator=latents).to(training.device)
    history, started = [], time.perf_counter()
    for step in trange(1, steps + 1, desc=f"{loss} on {mixture.name}", disable=bar_is_off(progress)):
        training.advance(mixture.sample(recipe.batch_size, points))
        if step % max(1, steps // 10) == 0 or step == steps:
            with torch.no_grad():
                samples = training.networks["generator"](z).cpu()
            history.append((step, mixture.covered(samples)))
    return Fit(loss, mixture, samples, history[-1][1], tuple(history), time.perf_counter() - started)
