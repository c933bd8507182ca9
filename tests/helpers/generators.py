"""Small generators for the tests of latent inversion: linear, nonlinear, and every way of being wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """A z + b as 1x4x4 images; the range is wide, so that nothing is out of it."""

    latent_shape, value_range = (5,), (-20.0, 20.0)

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float32):
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(16, 5, generator=random, dtype=torch.float64).to(dtype))
        self.bias = nn.Parameter(torch.randn(16, generator=random, dtype=torch.float64).to(dtype))

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T + self.bias).view(-1, 1, 4, 4)


class Small(nn.Module):
    """Two layers, batch norm and a sigmoid: 6 numbers to 3x8x8 images in [0, 1]; made in training mode."""

    latent_shape, value_range = (6,), (0.0, 1.0)

    def __init__(self, seed: int = 1):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.main = nn.Sequential(
                nn.Linear(6, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(64, 192)
            )

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z).mul(3).sigmoid().view(-1, 3, 8, 8)


class Conv(nn.Module):
    """Transposed convolutions and a tanh: 10 numbers to 1x8x8 images in [-1, 1]."""

    latent_shape, value_range = (10,), (-1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.main = nn.Sequential(
                nn.ConvTranspose2d(10, 32, 4), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh()
            )

    def forward(self, z: Tensor) -> Tensor:
        return self.main(4 * z[:, :, None, None])


def small() -> Small:
    """As one that is trained."""
    return Small().eval()


def photos(n: int) -> Tensor:
    """Targets `(n, 3, 8, 8)`, uint8."""
    return torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


WIDE = Linear.value_range
WIDTH = WIDE[1] - WIDE[0]


def own_images(network: nn.Module, n: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Images that the generator made itself, in its range."""
    z = torch.randn(n, *network.latent_shape, generator=torch.Generator().manual_seed(seed)) * scale
    with torch.no_grad():
        return network(z)


def others(n: int, shape: tuple[int, int, int] = (1, 4, 4), seed: int = 0, scale: float = 3.0) -> Tensor:
    """Images that it cannot make."""
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


class Classes(Linear):
    """A shift of its own for each of three classes: labels as numbers, or as probabilities."""

    n_classes = 3

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        soft = y if y.is_floating_point() else nn.functional.one_hot(y, 3).to(z)
        shifts = torch.tensor([[-6.0], [0.0], [6.0]]).to(z) * torch.linspace(-1, 1, 16).to(z)
        return super().forward(z) + (soft @ shifts).view(-1, 1, 4, 4)


class NeedsLabels(Linear):
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return super().forward(z)


class Nan(Linear):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) * torch.nan


class OutOfRange(Linear):
    value_range = (0.0, 1.0)


class Detached(Linear):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).detach()


class NoGrad(Linear):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(torch.zeros_like(z))


class Batch(Linear):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z)[:1]


class Flat(Linear):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).flatten(1)


class Noisy(Linear):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) + torch.randn(len(z), 1, 4, 4)


class Broken(Linear):
    def forward(self, z: Tensor) -> Tensor:
        raise ValueError("no such layer")


class Shapeless(nn.Module):
    value_range = (0.0, 1.0)


class Rangeless(Linear):
    value_range = None


class Picky(nn.Module):
    def __init__(self, size: int):
        super().__init__()


linear = Linear()
number = 3
