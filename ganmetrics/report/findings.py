"""Numbers from feature vectors about copies, repeats, variety, coverage and distance of fake images.

Where possible a number is also computed for real images, each compared with the rest of the real ones: that is the
value to expect of a good generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.metrics.numerics.distances import rows_of
from ganmetrics.metrics.numerics.neighbours import nearest
from ganmetrics.metrics.numerics.scaling import largest_of, power_of_two
from ganmetrics.statistics.samples import Samples

PAIRS = 10**8  # distances computed for one question, such as 10,000 fakes with 10,000 real images
LEAST = 1000  # fakes compared at least, even if that takes more than PAIRS distances
BASELINE = 1000  # real images compared with the rest, at most
EQUAL = 1000  # images of each side, at most, for questions that need equal counts
K = 5
CLOSE = 0.5  # a copy is nearer than this part of the real image's own gap; new images are rarely as near
TWIN = 0.2  # near-identical images are nearer than this part of the median gap


@dataclass(frozen=True)
class Neighbours:
    """Fakes, with the real images nearest to them.

    Attributes:
        fakes: `(Q,)` indices of the fakes.
        distances, reals: `(Q, k)` distances and indices of the nearest real images, in order.
        ratios: `(Q,)` distance to the nearest real image, divided by the gap of that image (its distance to the nearest
            other real image).
    """

    fakes: Tensor
    distances: Tensor
    reals: Tensor
    ratios: Tensor

    @property
    def most_copied(self) -> Tensor:
        """Rows in order of the ratio, the smallest first."""
        return torch.argsort(self.ratios, stable=True)

    @property
    def most_typical(self) -> Tensor:
        """Rows in order of the distance to the k-th nearest real image, the smallest first."""
        return torch.argsort(self.distances[:, -1], stable=True)


@dataclass(frozen=True)
class Shares:
    """Shares in [0, 1] and ratios of medians, for fakes and (`_real`) for real images.

    A gap is the distance of an image to the nearest other image of its side.

    Attributes:
        n_looked_at: number of fakes behind `copied`.
        copied: share of images nearer to a real image than CLOSE times the gap of that image.
        n_equal: number of images of each side behind all other attributes.
        twins: share of images with a gap of at most TWIN times the median gap of real images.
        variety: median gap of fakes, divided by the median gap of as many real images.
        reached: share of real images with a fake no farther than their K-th nearest real neighbour.
        distance: median distance of a fake to the nearest real image, divided by the median gap of real images.
    """

    n_looked_at: int
    copied: float
    copied_real: float
    n_equal: int
    twins: float
    twins_real: float
    variety: float
    reached: float
    distance: float


def drawn(count: int, n: int, seed: int) -> Tensor:
    """`n` of the indices below `count`, drawn at random, in rising order; all if there are at most `n`."""
    if n >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:n].sort().values


def gap_ratios(distances: Tensor, reals: Tensor, real: Samples, without: Tensor | None = None) -> Tensor:
    """`(Q,)` distances to the real images `reals`, divided by the gaps of these.

    without: `(Q,)` index of one real image to ignore in each gap.
    """
    unique, back = reals.unique(return_inverse=True)
    # Three, because the image itself and `without` may be the first two.
    gaps, indices = nearest(rows_of(real, unique), real, min(3, real.count))
    gaps, indices = gaps[back], indices[back]
    left_out = indices == reals[:, None]
    if without is not None:
        left_out |= indices == without[:, None]
    own = gaps.masked_fill(left_out, torch.inf).amin(1)
    # 0 / 0 of images that occur twice counts as 1.
    return torch.where((own == 0) & (distances == 0), torch.ones_like(own), distances / own)


def neighbours(real: Samples, fake: Samples, seed: int) -> Neighbours:
    """The nearest real images of fakes: of all fakes if that takes at most PAIRS distances, else of some."""
    fakes = drawn(fake.count, max(LEAST, PAIRS // real.count), seed)
    queries = fake if len(fakes) == fake.count else rows_of(fake, fakes)
    distances, reals = nearest(queries, real, min(K, real.count))
    return Neighbours(fakes, distances, reals, gap_ratios(distances[:, 0], reals[:, 0], real))


def held_out_ratios(real: Samples, seed: int) -> Tensor:
    """The ratios of `Neighbours` for real images, each compared with all other real images."""
    indices = drawn(real.count, min(BASELINE, max(LEAST // 4, PAIRS // real.count)), seed)
    distances, others = nearest(rows_of(real, indices), real, min(3, real.count))
    distances = distances.masked_fill(others == indices[:, None], torch.inf)
    first = distances.argmin(1, keepdim=True)
    return gap_ratios(distances.gather(1, first)[:, 0], others.gather(1, first)[:, 0], real, without=indices)


def shares(real: Samples, fake: Samples, near: Neighbours, seed: int) -> Shares | None:
    """See `Shares`. None if most real images occur twice: their median gap is 0, and nothing can be divided by it."""
    n = min(real.count, fake.count, EQUAL)
    reals, fakes = rows_of(real, drawn(real.count, n, seed)), rows_of(fake, drawn(fake.count, n, seed))
    among_real = nearest(reals, reals, min(K, n - 1), exclude_self=True)[0]
    among_fake = nearest(fakes, fakes, 1, exclude_self=True)[0][:, 0]
    gap = float(among_real[:, 0].median())
    if gap == 0:
        return None
    to_fake, to_real = nearest(reals, fakes, 1)[0][:, 0], nearest(fakes, reals, 1)[0][:, 0]
    return Shares(
        n_looked_at=len(near.fakes),
        copied=_share(near.ratios < CLOSE),
        copied_real=_share(held_out_ratios(real, seed) < CLOSE),
        n_equal=n,
        twins=_share(among_fake <= TWIN * gap),
        twins_real=_share(among_real[:, 0] <= TWIN * gap),
        variety=_ratio(among_fake, gap),
        reached=_share(to_fake <= among_real[:, -1]),
        distance=_ratio(to_real, gap),
    )


def _share(holds: Tensor) -> float:
    return float(holds.double().mean())


def _ratio(distances: Tensor, gap: float) -> float:
    return float(distances.median()) / gap


def flat_map(vectors: Tensor, seed: int) -> tuple[Tensor, str]:
    """Positions `(N, 2)` in [0, 1] of vectors `(N, D)`, neighbours near each other; and the name of the method."""
    from sklearn.manifold import TSNE

    x = vectors.double()
    x = x / power_of_two(largest_of([x]))
    x = x - x.mean(0)
    factors, values, _ = torch.linalg.svd(x, full_matrices=False)
    parts = factors[:, :50] * values[:50]
    if len(x) < 20 or parts.shape[1] < 2:
        places, how = torch.nn.functional.pad(parts[:, :2], (0, max(0, 2 - parts.shape[1]))), "principal components"
    else:
        # The usual start of t-SNE: principal components with a standard deviation of 1e-4.
        start = parts[:, :2] / parts[:, 0].std().clamp(min=1e-12) * 1e-4
        tsne = TSNE(init=start.numpy(), perplexity=min(30.0, (len(x) - 1) / 3), random_state=seed)
        places, how = torch.from_numpy(tsne.fit_transform(parts.numpy())).double(), "t-SNE of 50 principal components"
    low, high = places.amin(0), places.amax(0)
    return (places - low) / (high - low).clamp(min=1e-12), how


def detail(images: list[Tensor]) -> float | None:
    """Median over images of the mean squared Laplacian of their grey values; None for no image or one below 3x3."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    if any(min(image.shape[1:]) < 3 for image in images) or not images:
        return None
    grey = [image.float().mean(0)[None, None] for image in images]
    return float(torch.stack([torch.nn.functional.conv2d(image, kernel).square().mean() for image in grey]).median())
