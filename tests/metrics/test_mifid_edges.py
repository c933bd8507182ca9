"""MiFID of near copies, of exact ones, and of features of any size, in float64 by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.mifid import MemorizationInformedDistance, least_cosine_distances
from ganmetrics.protocols import PROTOCOLS, MetricOptions


def mifid(real: np.ndarray | Tensor, fake: np.ndarray | Tensor, protocol: str = "tensorflow"):
    metric = MemorizationInformedDistance.configured(PROTOCOLS[protocol], MetricOptions(device="cpu"))
    metric.update(torch.as_tensor(real), "real")
    metric.update(torch.as_tensor(fake), "fake")
    return metric.compute()


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """By eigenvalues of S1^(1/2) S2 S1^(1/2)."""
    (m1, s1), (m2, s2) = ((side.mean(axis=0), np.cov(side, rowvar=False)) for side in (real, fake))
    values, vectors = np.linalg.eigh(s1)
    root = vectors * np.sqrt(values) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ s2 @ root).clip(0)).sum()
    return float((m1 - m2) @ (m1 - m2) + np.trace(s1) + np.trace(s2) - 2 * cross)


def turned(real: np.ndarray, angle: float, rng: np.random.Generator) -> np.ndarray:
    """Each vector turned by a small angle, so that 1 - cos is angle^2 / 2, and lengthened, so that FID is not 0."""
    across = rng.standard_normal(real.shape)
    across -= (across * real).sum(axis=1, keepdims=True) / np.square(real).sum(axis=1, keepdims=True) * real
    across *= np.linalg.norm(real, axis=1, keepdims=True) / np.linalg.norm(across, axis=1, keepdims=True)
    return 2 * (real + np.tan(angle) * across)


@pytest.mark.parametrize("m", [1e-3, 1e-10, 3e-14, 1e-16, 1e-22])
def test_nothing_is_added_to_a_small_distance(m: float, rng: np.random.Generator) -> None:
    """1e-14 was: 23 % at 3e-14. torchmetrics does, and so does its protocol, which says so."""
    real = rng.standard_normal((80, 6))
    fake = turned(real, 2 * np.arcsin(np.sqrt(m / 2)), rng)
    fid = frechet(real, fake)
    result = mifid(real, fake)
    assert result.protocol["memorisation_distance"] == pytest.approx(m, rel=1e-4)
    assert result.value == pytest.approx(fid / m, rel=1e-4)
    assert "added_to_distance" not in result.protocol
    theirs = mifid(real, fake, "torchmetrics")
    assert theirs.value == pytest.approx(fid / (theirs.protocol["memorisation_distance"] + 1e-14), rel=1e-6)
    assert theirs.protocol["added_to_distance"] == 1e-14


@pytest.mark.parametrize("scale", [1.0, -1.0, 3.0, 0.7, 1e-5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_copies_of_another_length_have_no_value(scale: float, dtype: type, rng: np.random.Generator) -> None:
    """The distance is 0 and FID is not; 3.7e13 was printed. In float32, 3 x has another direction than x."""
    real = rng.standard_normal((60, 5)).astype(dtype)
    fake = np.concatenate([real[:10]] * 3) * dtype(scale)
    if dtype is np.float32 and scale not in (1.0, -1.0):
        assert mifid(real, fake).protocol["memorisation_distance"] == pytest.approx(1e-15, rel=0.99)
        return
    with pytest.raises(
        StatisticsError, match=r"^MiFID is FID over the memorisation distance, and here .* over 0: the f"
    ):
        mifid(real, fake)
    assert mifid(real, fake, "torchmetrics").value > 0  # its mean is over the reals, of which 50 are not copied


@pytest.mark.parametrize(
    ("power", "dtype"),
    [*((power, torch.float32) for power in (-60, -20, 20, 60, 100)), *((p, torch.float64) for p in (-250, -20, 250))],
)
def test_features_of_any_size(power: int, dtype: torch.dtype, rng: np.random.Generator) -> None:
    """Those of size 1e-6 were refused as copies; of float32 rows beyond 1.8e19 the length was infinite."""
    real, fake = (torch.from_numpy(rng.standard_normal((90, 5)) + 0.3).to(dtype) for _ in range(2))
    expected, found = mifid(real, fake), mifid(real * 2.0**power, fake * 2.0**power)
    assert expected.protocol["memorisation_distance"] < 0.1
    assert found.protocol["memorisation_distance"] == expected.protocol["memorisation_distance"]
    assert found.value * 4.0**-power == pytest.approx(expected.value, rel=1e-12)
    with pytest.raises(StatisticsError, match="the fakes are copies of the real images"):
        mifid(real * 2.0**power, real * 2.0**power)


def test_rows_of_all_lengths(rng: np.random.Generator) -> None:
    """The distance is of directions."""
    own, other = rng.standard_normal((40, 7)), rng.standard_normal((50, 7))
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (own, other))
    expected = (1 - np.abs(x @ y.T)).min(axis=1)
    sides = [torch.from_numpy(side * np.exp2(rng.integers(-1000, 1000, (len(side), 1)))) for side in (own, other)]
    np.testing.assert_allclose(least_cosine_distances(*sides, device="cpu").numpy(), expected, rtol=1e-12)


def test_bytes_have_directions(rng: np.random.Generator) -> None:
    own, other = (torch.from_numpy(rng.integers(1, 4, (30, 4), dtype=np.uint8)) for _ in range(2))
    own[3] = 0
    expected = least_cosine_distances(own.double(), other.double(), device="cpu")
    assert len(expected) == 29
    assert torch.equal(least_cosine_distances(own, other, device="cpu"), expected)
