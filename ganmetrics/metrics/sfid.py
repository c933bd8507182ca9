"""sFID: the Frechet distance of feature vectors that keep the spatial layout of the image.

Nash, Menick, Dieleman & Battaglia 2021 (arXiv:2103.03841). Reproduces the evaluator of guided-diffusion (Dhariwal &
Nichol 2021, arXiv:2105.05233): the first seven channels of the Inception's `mixed_6/conv`, 17 x 17 positions each, not
pooled: 2023 dimensions in TensorFlow's order. These features show a wrong layout; the pooled features of FID hardly do.
It differs from that evaluator only in the arithmetic of the matrix square root (see `fid.py`).
"""

from __future__ import annotations

from ganmetrics.metrics.fid import FrechetDistance
from ganmetrics.metrics.index import METRICS


class SpatialFrechetDistance(FrechetDistance):
    """Spatial Fréchet distance as a metric."""

    entry = METRICS["sfid"]
    canonical = ("inception", "spatial")
    kind = "spatial"
