"""What the vectors of real and fake images say about copies, repeats, gaps and distance, next to what real images say.

Every share is taken of fakes and, the same way, of real images held against the rest of the real ones, so that a number
comes with what it would be if nothing were wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganmetrics.metrics.numerics.neighbours import nearest
from ganmetrics.statistics.samples import Samples, with_start

PAIRS = 10**8  # distances taken for one question; 10,000 fakes against 10,000 real images
LEAST = 1000  # images looked at, however many there are on the other side
BASELINE = 1000  # real images held out
EQUAL = 1000  # of each side, where counts must be equal
K = 5
CLOSE = 0.5  # of the gap between a real image and its nearest real neighbour: nearer than chance puts a fresh image
TWIN = 0.2  # of the median gap: two fakes that are hardly two


@dataclass(frozen=True)
class Neighbours:
    """Fakes looked at, with the real images nearest to them.

    Attributes:
        fakes: `(Q,)` their places.
        distances, reals: `(Q, k)` distances and places of the nearest real images, in order.
        ratios: `(Q,)` distance to the nearest real image over that image's own distance to the nearest other one.
    """

    fakes: Tensor
    distances: Tensor
    reals: Tensor
    ratios: Tensor

    @property
    def most_copied(self) -> Tensor:
        """Rows, the smallest ratio first."""
        return torch.argsort(self.ratios, stable=True)

    @property
    def most_typical(self) -> Tensor:
        """Rows, the smallest distance to the k-th nearest real image first."""
        return torch.argsort(self.distances[:, -1], stable=True)


@dataclass(frozen=True)
class Shares:
    """Numbers in [0, 1], or ratios of medians, of fakes and of real images put to the same question.

    Attributes:
        copied: of images nearer to a real one than CLOSE times that one's own gap.
        twins: of images with another of their kind nearer than TWIN times the median gap of real images.
        variety: median gap between fakes over that between as many real images.
        reached: of real images with a fake among what would be their K nearest real neighbours.
        distance: median distance of a fake to the nearest real image over the median gap of real images.
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
    """`n` of `count` places, all where there are no more, in rising order."""
    if n >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:n].sort().values


def rows_of(samples: Samples, places: Tensor) -> Tensor:
    """Vectors `(len(places), D)` in the order of `places`."""
    wanted, back = places.unique(return_inverse=True)
    found = []
    for start, block in with_start(samples.blocks()):
        here = wanted[(wanted >= start) & (wanted < start + len(block))] - start
        found.append(block[here])
    return torch.cat(found)[back]


def gap_ratios(distances: Tensor, reals: Tensor, real: Samples, without: Tensor | None = None) -> Tensor:
    """`(Q,)` distances to real images over those images' own gaps; `without`: a place not to be counted, each."""
    unique, back = reals.unique(return_inverse=True)
    gaps, places = nearest(rows_of(real, unique), real, min(3, real.count))
    gaps, places = gaps[back], places[back]
    left_out = places == reals[:, None]
    if without is not None:
        left_out |= places == without[:, None]
    own = gaps.masked_fill(left_out, torch.inf).amin(1)
    return torch.where((own == 0) & (distances == 0), torch.ones_like(own), distances / own)


def neighbours(real: Samples, fake: Samples, seed: int) -> Neighbours:
    """The nearest real images of fakes; of all, where that takes no more than PAIRS distances."""
    fakes = drawn(fake.count, max(LEAST, PAIRS // real.count), seed)
    queries = fake if len(fakes) == fake.count else rows_of(fake, fakes)
    distances, reals = nearest(queries, real, min(K, real.count))
    return Neighbours(fakes, distances, reals, gap_ratios(distances[:, 0], reals[:, 0], real))


def held_out_ratios(real: Samples, seed: int) -> Tensor:
    """The ratios of `Neighbours` for real images, each held against all others."""
    places = drawn(real.count, min(BASELINE, max(LEAST // 4, PAIRS // real.count)), seed)
    distances, found = nearest(rows_of(real, places), real, min(3, real.count))
    distances = distances.masked_fill(found == places[:, None], torch.inf)
    first = distances.argmin(1, keepdim=True)
    return gap_ratios(distances.gather(1, first)[:, 0], found.gather(1, first)[:, 0], real, without=places)


def shares(real: Samples, fake: Samples, found: Neighbours, seed: int) -> Shares | None:
    """See `Shares`; None where most real images have an exact twin, so that the gap between them is no measure."""
    n = min(real.count, fake.count, EQUAL)
    reals, fakes = rows_of(real, drawn(real.count, n, seed)), rows_of(fake, drawn(fake.count, n, seed))
    among_real = nearest(reals, reals, min(K, n - 1), exclude_self=True)[0]
    among_fake = nearest(fakes, fakes, 1, exclude_self=True)[0][:, 0]
    gap = float(among_real[:, 0].median())
    if gap == 0:
        return None
    to_fake, to_real = nearest(reals, fakes, 1)[0][:, 0], nearest(fakes, reals, 1)[0][:, 0]
    return Shares(
        n_looked_at=len(found.fakes),
        copied=_share(found.ratios < CLOSE),
        copied_real=_share(held_out_ratios(real, seed) < CLOSE),
        n_equal=n,
        twins=_share(among_fake <= TWIN * gap),
        twins_real=_share(among_real[:, 0] <= TWIN * gap),
        variety=_ratio(among_fake, gap),
        reached=_share(to_fake <= among_real[:, -1]),
        distance=_ratio(to_real, gap),
    )


def _share(of: Tensor) -> float:
    return float(of.double().mean())


def _ratio(distances: Tensor, gap: float) -> float:
    return float(distances.median()) / gap


def flat_map(vectors: Tensor, seed: int) -> tuple[Tensor, str]:
    """Vectors `(N, D)` -> places `(N, 2)` in [0, 1], neighbours beside each other, and how that was done."""
    from sklearn.manifold import TSNE

    x = vectors.double()
    x = x - x.mean(0)
    factors, values, _ = torch.linalg.svd(x, full_matrices=False)
    parts = factors[:, :50] * values[:50]
    if len(x) < 20 or parts.shape[1] < 2:
        places, how = torch.nn.functional.pad(parts[:, :2], (0, max(0, 2 - parts.shape[1]))), "principal components"
    else:
        start = parts[:, :2] / parts[:, 0].std().clamp(min=1e-12) * 1e-4
        tsne = TSNE(init=start.numpy(), perplexity=min(30.0, (len(x) - 1) / 3), random_state=seed)
        places, how = torch.from_numpy(tsne.fit_transform(parts.numpy())).double(), "t-SNE of 50 principal components"
    low, high = places.amin(0), places.amax(0)
    return (places - low) / (high - low).clamp(min=1e-12), how


def detail(images: list[Tensor]) -> float | None:
    """Median over images of the mean squared Laplacian of their grey values; None for images below 3x3."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    if any(min(image.shape[1:]) < 3 for image in images) or not images:
        return None
    grey = [image.float().mean(0)[None, None] for image in images]
    return float(torch.stack([torch.nn.functional.conv2d(one, kernel).square().mean() for one in grey]).median())
