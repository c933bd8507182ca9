"""MS-SSIM within classes: the mean similarity of random pairs of images of a class, averaged over classes.

Odena, Olah & Shlens 2017 (arXiv:1610.09585, section 4.2): 100 random pairs a class; a class that collapsed to one image
has 1, and a class as varied as real images has what these have, so score them too. Multi-scale structural similarity
is that of Wang, Simoncelli & Bovik 2003 (Multiscale structural similarity for image quality assessment, Equation 7),
with its constants: windows of 11 x 11 (Gaussian, sigma 1.5), K1 = 0.01, K2 = 0.03, five scales. Reproduces
torchmetrics: channels count alike, a negative mean counts as 0, and the coarsest scale is averaged over a border made
by reflection too, which Wang et al. and TensorFlow leave out. It differs in summing in float64 and in drawing the
pairs, of images as they are: nothing is resized.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.base import Result, SingleValued
from ganmetrics.metrics.classes import of_images, require_two_of_each
from ganmetrics.metrics.index import METRICS
from ganmetrics.metrics.numerics.distances import Device, kept_rows, place
from ganmetrics.protocols import MetricOptions, Protocol
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.statistics.samples import Samples

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, from fine to coarse
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
PAIRS = 100  # of each class
HELD = 2**28  # bytes of images in memory at a time; more only if those of one class take more
ENOUGH = 15  # images, which have 105 pairs
AT_ONCE = 2**22  # numbers of the images that are compared at a time


def multiscale_similarity(x: Tensor, y: Tensor, *, value_range: float = 1.0) -> Tensor:
    """MS-SSIM `(N,)` float64 in [0, 1] of images `(N, C, H, W)` with values from 0 to `value_range`; 1 for equal ones.

    Raises StatisticsError for images below 176 x 176, whose coarsest scale is smaller than a window.
    """
    smallest = METRICS["ms-ssim"].smallest
    if min(x.shape[2:]) < smallest:
        raise StatisticsError(f"ms-ssim: expected images of at least {smallest}x{smallest}, got {_size(x)}")
    x, y = x.double() / value_range, y.double() / value_range
    product = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for weight in WEIGHTS[:-1]:
        _, contrast = _luminance_and_contrast(x, y)
        product *= contrast.flatten(1).mean(dim=1).relu() ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    border = [WINDOW // 2] * 4
    luminance, contrast = _luminance_and_contrast(*(F.pad(side, border, mode="reflect") for side in (x, y)))
    return product * (luminance * contrast).flatten(1).mean(dim=1).relu() ** WEIGHTS[-1]


def _size(images: Tensor) -> str:
    return f"{images.shape[3]}x{images.shape[2]}"


def _luminance_and_contrast(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both factors of the structural similarity at each place where a window fits; the second with the structure."""
    mean_x, mean_y, xx, yy, xy = (_averaged(part) for part in (x, y, x * x, y * y, x * y))
    squares, product = mean_x.square() + mean_y.square(), mean_x * mean_y
    variances = (xx - mean_x.square()).clamp(min=0) + (yy - mean_y.square()).clamp(min=0)
    luminance = (2 * product + K1**2) / (squares + K1**2)
    return luminance, (2 * (xy - product) + K2**2) / (variances + K2**2)


def _averaged(images: Tensor) -> Tensor:
    """Weighted means over all windows: `(N, C, H, W)` -> `(N, C, H - 10, W - 10)`."""
    weights = [math.exp(-(((i - WINDOW // 2) / SIGMA) ** 2) / 2) for i in range(WINDOW)]
    for axis in (2, 3):  # sums of shifted images are several times faster than a convolution in float64
        length = images.shape[axis] - WINDOW + 1
        total = torch.zeros_like(images.narrow(axis, 0, length))
        for i, weight in enumerate(weights):
            total.add_(images.narrow(axis, i, length), alpha=weight / sum(weights))
        images = total
    return images


def drawn_pairs(n: int, seed: Sequence[int]) -> np.ndarray:
    """`(P, 2)` different pairs of n images, drawn without replacement: PAIRS of them, or all if there are fewer."""
    total = n * (n - 1) // 2
    few = total <= PAIRS
    chosen = np.arange(total) if few else np.random.default_rng(seed).choice(total, PAIRS, replace=False)
    i = ((1 + np.sqrt(1 + 8 * chosen)) / 2).astype(np.int64)  # pair number i (i - 1) / 2 + j is (i, j), with j < i
    return np.stack([i, chosen - i * (i - 1) // 2], axis=1)


class MultiScaleSimilarity(SingleValued):
    """MS-SSIM within classes as a metric; `protocol["per_class"]` has the mean of every class.

    Args:
        seed: of the pairs.
        device: where images are compared; None means the first CUDA device, or the CPU.
    """

    entry = METRICS["ms-ssim"]
    canonical = ("pixels", "features")
    kind, statistic = "features", Samples

    def __init__(self, *, seed: int = 0, device: Device = None):
        super().__init__()
        self.seed, self.device = seed, device

    @classmethod
    def configured(cls, protocol: Protocol, options: MetricOptions) -> MultiScaleSimilarity:
        return cls(seed=options.seed or 0, device=options.device)

    def require_classes(self, labels: Mapping[str, Sequence[str]]) -> None:
        require_two_of_each(self, "fake", labels["fake"])

    def compute(self) -> Result:
        """Raises StatisticsError for fewer than two images of a class, and for images of unknown or too small size."""
        names, index = of_images(self, "fake")
        self.require_classes(self.labels)
        pairs = [self._pairs(index, i) for i in range(len(names))]
        with exact_arithmetic(place(self.device)):
            means = [float(similarities.mean()) for similarities in self._similarities(pairs)]
        counts = list(map(len, pairs))
        fewest = min(counts)
        about = {
            "pairs_per_class": PAIRS if fewest == PAIRS else dict(zip(names, counts, strict=True)),
            "seed": self.seed,
            "scales": len(WEIGHTS),
            "window": f"{WINDOW}x{WINDOW} Gaussian, sigma {SIGMA}",
            "per_class": dict(zip(names, means, strict=True)),
        }
        return Result(sum(means) / len(means), warnings=self._few(fewest), protocol=about)

    def without_interval(self, name: str) -> str:
        return "none is known for pairs that were drawn; another --seed draws others"

    def _pairs(self, index: Tensor, i: int) -> Tensor:
        """Pairs `(P, 2)` of images of class i, as numbers of images in the order of the vectors."""
        members = (index == i).nonzero()[:, 0]
        return members[torch.from_numpy(drawn_pairs(len(members), [self.seed, i]))]

    def _similarities(self, pairs: Sequence[Tensor]) -> Iterator[Tensor]:
        """The similarities `(P,)` of the pairs of each class, with the images of a few classes in memory at a time."""
        shape, store = self._shape(), self.statistics["fake"]
        held = max(1, HELD // (math.prod(shape) * (1 if store.dtype == torch.uint8 else 4)))
        at_once = max(1, AT_ONCE // math.prod(shape))
        for first, last in _groups([len(own.unique()) for own in pairs], held):
            wanted, places = torch.cat(list(pairs[first:last])).unique(return_inverse=True)
            images = kept_rows(store, wanted).view(-1, *shape).to(place(self.device))
            top = 255.0 if images.dtype == torch.uint8 else 1.0
            for own in places.split([len(own) for own in pairs[first:last]]):
                parts = own.to(images.device).split(at_once)
                yield torch.cat(
                    [multiscale_similarity(*images[part].unbind(dim=1), value_range=top).cpu() for part in parts]
                )

    def _shape(self) -> tuple[int, ...]:
        dim = self.statistics["fake"].dim
        if self.image_shape is None or math.prod(self.image_shape) != dim:
            raise StatisticsError(
                f"{self.name}: expected images, whose height and width are known, got vectors of {dim} dimensions; "
                "give the images themselves"
            )
        return tuple(self.image_shape)

    def _few(self, fewest: int) -> list[str]:
        if fewest == PAIRS:
            return []
        return [
            f"the smallest class has {fewest} pairs of images, where {PAIRS} are drawn of a larger one; give at least "
            f"{ENOUGH} images a class"
        ]


def _groups(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of consecutive groups whose sizes sum to at most `most`, or that hold one."""
    first, total = 0, 0
    for i, size in enumerate(sizes):
        if i > first and total + size > most:
            yield first, i
            first, total = i, 0
        total += size
    yield first, len(sizes)
