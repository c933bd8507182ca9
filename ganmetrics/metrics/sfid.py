"""sFID: the Frechet distance over vectors that still tell where in the image things are.

Nash, Menick, Dieleman & Battaglia 2021 (arXiv:2103.03841). Reproduces the evaluator of guided-diffusion (Dhariwal &
Nichol 2021, arXiv:2105.05233): the first seven channels of the Inception's `mixed_6/conv`, 17 x 17 places each, not
pooled: 2023 dimensions in TensorFlow's order. The pooled features of FID hardly see a layout that is wrong; these do.
It differs from that evaluator in the arithmetic of the matrix square root alone (see `fid.py`).
"""

from __future__ import annotations

from ganmetrics.metrics.fid import FrechetDistance
from ganmetrics.metrics.index import METRICS


class SpatialFrechetDistance(FrechetDistance):
    """Streaming form. A statistics file does not serve: those hold the pooled features."""

    entry = METRICS["sfid"]
    canonical = ("inception", "spatial")
    kind = "spatial"
    moments_serve = ()
