"""Baselines of a Parzen score that need no generator: training images and k-means centres.

Theis, van den Oord & Bethge 2016 (arXiv:1511.01844, Table 1), where k-means centres rank above the true distribution.
"""

from __future__ import annotations

import numpy as np
import torch

from ganmetrics.errors import StatisticsError
from ganmetrics.statistics.points import BYTE
from ganmetrics.statistics.samples import Samples

CENTRES = 10_000  # default at most: the number of samples in published scores
IMAGES_A_CENTRE = 10
SHARE = 7  # one source is cut into 5/7 samples, 1/7 validation, 1/7 test, like MNIST: 50,000, 10,000, 10,000


def cut(whole: Samples, seed: int) -> dict[str, torch.Tensor]:
    """Shuffle `(N, D)` and cut it into samples, validation and test. Raises StatisticsError below SHARE images."""
    if whole.count < SHARE:
        raise StatisticsError(f"a baseline of one source needs at least {SHARE} images to cut it, got {whole.count}")
    points = torch.cat(list(whole.blocks()))
    points = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))]
    part = len(points) // SHARE
    return {"samples": points[2 * part :], "validation": points[:part], "test": points[part : 2 * part]}


def kmeans_centres(images: Samples, n_centres: int | None, seed: int) -> torch.Tensor:
    """k-means centres `(K, D)` float32 in [0, 1] of images or points, by scikit-learn's MiniBatchKMeans.

    If `n_centres` is None, K is a tenth of the images, at most CENTRES. Raises StatisticsError for K > N.
    """
    from sklearn.cluster import MiniBatchKMeans

    wanted = n_centres or max(1, min(CENTRES, images.count // IMAGES_A_CENTRE))
    if wanted > images.count:
        raise StatisticsError(f"k-means: expected at least {wanted} images for as many centres, got {images.count}")
    points = torch.cat(list(images.blocks()))
    real = points.float() * BYTE if points.dtype == torch.uint8 else points
    means = MiniBatchKMeans(wanted, random_state=seed, batch_size=max(1024, 2 * wanted), n_init=1)
    return torch.from_numpy(np.ascontiguousarray(means.fit(real.numpy()).cluster_centers_))
