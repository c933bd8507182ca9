"""The metrics as functions of vectors, for features of any network: `gm.metrics.kid(real, fake)`.

Each takes arrays or tensors `(N, D)` of real numbers, one row for each image, and computes in float64 as the metric of
the same name does over images. Rows may be memory-mapped. Every function raises StatisticsError for too few rows, for
unlike dimensions, and for NaN or infinity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.fid import frechet_distance as distance_of_gaussians
from ganmetrics.metrics.index import METRICS
from ganmetrics.protocols import MetricOptions, get_protocol
from ganmetrics.statistics.plain_numbers import fault_of
from ganmetrics.statistics.samples import Samples
from ganmetrics.validation import whole

__all__ = [
    "authenticity", "class_fid", "cmmd", "fid", "fid_infinity", "frechet_distance", "inception_score",
    "intra_class_diversity", "kid", "mifid", "prdc", "vendi",
]  # fmt: skip
Vectors = np.ndarray | Tensor
Labels = Sequence[Any] | np.ndarray | Tensor
LEAST = {"k": 1, "seed": 0, "splits": 1}  # of the options


def fid(real: Vectors, fake: Vectors, *, ddof: int = 1) -> float:
    """Fréchet distance of two sets of features `(N, D)` and `(M, D)`, from 0 up (Heusel et al. 2017).

    `frechet_distance` computes it from means and covariances. ddof: 1 divides covariances by n - 1, 0 by n.
    """
    return _value("fid", {"real": real, "fake": fake}, ddof=ddof)


def frechet_distance(mean1: Vectors, covariance1: Vectors, mean2: Vectors, covariance2: Vectors) -> float:
    """|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) of means `(D,)` and covariances `(D, D)`, in float64."""
    first, second = _moments(mean1, covariance1, "first"), _moments(mean2, covariance2, "second")
    if len(first[0]) != len(second[0]):
        raise StatisticsError(f"expected means of one dimension, got {len(first[0])} and {len(second[0])}")
    return distance_of_gaussians(*first, *second)


def fid_infinity(real: Vectors, fake: Vectors, *, seed: int = 0) -> float:
    """Fréchet distance of features `(N, D)` and `(M, D)` for endlessly many fakes, from 0 up (Chong & Forsyth 2020).

    seed: of the subsets of fakes that it is extrapolated from.
    """
    return _value("fid-infinity", {"real": real, "fake": fake}, seed=seed)


def kid(real: Vectors, fake: Vectors) -> float:
    """Kernel distance of features `(N, D)` and `(M, D)`, unbiased, over all pairs (Bińkowski et al. 2018).

    The kernel is (x.y / D + 1)^3; about 0 for equal distributions, and slightly negative by chance.
    """
    return _value("kid", {"real": real, "fake": fake})


def cmmd(real: Vectors, fake: Vectors) -> float:
    """1000 times the maximum mean discrepancy of unit vectors, Gaussian kernel of width 10, from 0 up.

    Features `(N, D)` and `(M, D)` are scaled to length 1 (Jayasumana et al. 2024, who take embeddings of CLIP).
    """
    return _value("cmmd", {"real": real, "fake": fake})


def prdc(real: Vectors, fake: Vectors, *, k: int | None = None) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), by name.

    Of features `(N, D)` and `(M, D)`. k: the neighbour that sets the radius of each ball; None is that of the papers, 3
    for the first two and 5 for the others.
    """
    return _values("prdc", {"real": real, "fake": fake}, k=k)


def vendi(vectors: Vectors) -> float:
    """Vendi score of features `(N, D)`, from 1 to N: how many different ones there are (Friedman & Dieng 2022)."""
    return _value("vendi", {"fake": vectors})


def authenticity(real: Vectors, fake: Vectors) -> float:
    """Share, from 0 to 1, of fakes `(M, D)` that are no near copies of a real one `(N, D)` (Alaa et al. 2022)."""
    return _value("authenticity", {"real": real, "fake": fake})


def mifid(real: Vectors, fake: Vectors, *, ddof: int = 1) -> float:
    """Memorization-informed Fréchet distance of features `(N, D)` and `(M, D)`, from 0 up (Bai et al. 2021)."""
    return _value("mifid", {"real": real, "fake": fake}, ddof=ddof)


def inception_score(logits: Vectors, *, splits: int = 10) -> float:
    """Inception Score of logits `(N, K)`, from 1 to K: mean over splits in the order given (Salimans et al. 2016)."""
    return _value("is", {"fake": logits}, splits=splits)


def class_fid(real: Vectors, real_labels: Labels, fake: Vectors, fake_labels: Labels, *, ddof: int = 1) -> float:
    """Mean over classes of the Fréchet distance of features `(N, D)` and `(M, D)` with a label for each row.

    Miyato & Koyama 2018. Raises StatisticsError for unlike classes.
    """
    labels = {"real": real_labels, "fake": fake_labels}
    return _value("class-fid", {"real": real, "fake": fake}, labels, ddof=ddof)


def intra_class_diversity(vectors: Vectors, labels: Labels) -> float:
    """Mean over classes of the cosine distance between two features `(N, D)` of a class, from 0 up."""
    return _value("intra-class-diversity", {"fake": vectors}, {"fake": labels})


def _value(
    name: str, sides: Mapping[str, Vectors], labels: Mapping[str, Labels] | None = None, **options: Any
) -> float:
    (value,) = _values(name, sides, labels, **options).values()
    return value


def _values(
    name: str, sides: Mapping[str, Vectors], labels: Mapping[str, Labels] | None = None, **options: Any
) -> dict[str, float]:
    """The values of a metric of vectors, by name."""
    for option, least in LEAST.items():
        if options.get(option) is not None:
            whole(option, options[option], least)
    metric = METRICS[name].load().configured(get_protocol(None), MetricOptions(**options))
    stores = {side: _store(vectors, side) for side, vectors in sides.items()}
    if len({store.dim for store in stores.values()}) > 1:
        dims = " and ".join(f"{store.dim} ({side})" for side, store in stores.items())
        raise StatisticsError(f"expected vectors of one dimension, got {dims}")
    classes = {side: _classes(own, stores[side].count, side) for side, own in (labels or {}).items()}
    if classes:
        metric.require_classes(classes)
    inputs = {side: store if metric.statistic is Samples else store.moments() for side, store in stores.items()}
    for side, store in stores.items():
        metric.require(side, store.count)
    return {value: result.value for value, result in metric.over(inputs, classes).results().items()}


def _store(vectors: Vectors, side: str) -> Samples:
    if not isinstance(vectors, (np.ndarray, Tensor)) and hasattr(vectors, "__array__"):
        vectors = np.asarray(vectors)  # of JAX, pandas and others
    if not isinstance(vectors, (np.ndarray, Tensor)) or vectors.ndim != 2 or 0 in vectors.shape:
        got = tuple(vectors.shape) if hasattr(vectors, "shape") else type(vectors).__name__
        raise StatisticsError(f"{side}: expected vectors of shape (N, D), got {got}")
    if fault := fault_of(vectors):
        raise StatisticsError(f"{side}: {fault}")
    return Samples.over(vectors)


def _classes(labels: Labels, n: int, side: str) -> list[str]:
    if getattr(labels, "ndim", 1) != 1 or isinstance(labels, (str, bytes)) or not hasattr(labels, "__iter__"):
        got = tuple(labels.shape) if hasattr(labels, "shape") else type(labels).__name__
        raise StatisticsError(f"{side}: expected {n} labels, one for each vector, got {got}")
    plain = labels.tolist() if hasattr(labels, "tolist") else [_plain(label) for label in labels]
    if len(plain) != n:
        raise StatisticsError(f"{side}: expected {n} labels, one for each vector, got {len(plain)}")
    return [str(label) for label in plain]


def _plain(label: Any) -> Any:
    """A label that is a number of NumPy or a tensor as that number."""
    return label.item() if getattr(label, "shape", None) == () else label


def _moments(mean: Vectors, covariance: Vectors, which: str) -> tuple[Tensor, Tensor]:
    """Mean `(D,)` and covariance `(D, D)` in float64."""
    try:
        pair = [torch.as_tensor(np.asarray(one) if not isinstance(one, Tensor) else one).detach().cpu()
                for one in (mean, covariance)]  # fmt: skip
    except (TypeError, ValueError) as error:
        raise StatisticsError(f"the {which} mean and covariance: expected arrays of real numbers: {error}") from error
    (m, s), d = pair, pair[0].numel()
    if m.shape != (d,) or s.shape != (d, d) or not d:
        raise StatisticsError(
            f"expected the {which} mean (D,) and its covariance (D, D), got {tuple(m.shape)} and {tuple(s.shape)}"
        )
    if any(one.is_complex() or one.dtype == torch.bool or not bool(torch.isfinite(one).all()) for one in pair):
        raise StatisticsError(f"the {which} mean and covariance: expected finite real numbers")
    m, s = m.double(), s.double()
    if float((s - s.T).abs().max()) > 1e-6 * float(s.abs().max()) or bool((s.diagonal() < 0).any()):
        raise StatisticsError(f"the {which} covariance is none: not symmetric, or a variance is negative")
    return m, s
