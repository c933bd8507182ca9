"""`--protocol adm`: the definitions of guided-diffusion's evaluator, typed out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganmetrics.metrics.inception_score import InceptionScore
from ganmetrics.metrics.prdc import PRDC
from ganmetrics.protocols import PROTOCOLS, MetricOptions


def typed_out_inception_score(probabilities: np.ndarray, size: int) -> float:
    scores = []
    for start in range(0, len(probabilities), size):
        part = probabilities[start : start + size]
        divergence = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        scores.append(np.exp(divergence.sum(1).mean()))
    return float(np.mean(scores))


@pytest.mark.parametrize("n", [7, 5000, 10_000, 12_345, 10_001])
def test_the_inception_score_of_adm_is_over_blocks_in_order(rng: np.random.Generator, n: int) -> None:
    logits = rng.standard_normal((n, 11)) * 3
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    metric = InceptionScore.configured(PROTOCOLS["adm"], MetricOptions())
    metric.update(torch.from_numpy(logits))
    result = metric.compute()
    assert result.value == pytest.approx(typed_out_inception_score(probabilities, 5000), rel=1e-12)
    assert (result.spread, result.protocol["splits"], result.protocol["order"]) == (None, -(-n // 5000), "given")
    assert any("counts as much as each of 5000" in text for text in result.warnings) == (n > 5000 and n % 5000 > 0)


def test_splits_that_the_user_asks_for_replace_the_blocks(rng: np.random.Generator) -> None:
    metric = InceptionScore.configured(PROTOCOLS["adm"], MetricOptions(splits=3))
    metric.update(torch.from_numpy(rng.standard_normal((30, 4))))
    assert metric.compute().protocol["splits"] == 3


def distances16(u: np.ndarray, v: np.ndarray, dtype: type) -> np.ndarray:
    """Squared distances as guided-diffusion's evaluator has them: norms and products, here each rounded to `dtype`.

    A float16 product on a GPU is summed in float32 and then rounded.
    """
    u, v = u.astype(dtype), v.astype(dtype)
    wide = np.float32 if dtype is np.float16 else dtype
    norm_u, norm_v = ((rows.astype(wide) ** 2).sum(1).astype(dtype) for rows in (u, v))
    product = (u.astype(wide) @ v.astype(wide).T).astype(dtype)
    left = (norm_u[:, None] - (2 * product).astype(dtype)).astype(dtype)
    return np.maximum((left + norm_v[None]).astype(dtype), 0).astype(np.float64)


def precision_and_recall(real: np.ndarray, fake: np.ndarray, dtype: type, k: int = 3) -> tuple[float, float]:
    """Typed out: the share of fakes in a ball of a real image to its third neighbour, and the reverse."""
    radii = [np.partition(distances16(x, x, dtype), k, axis=1)[:, k] for x in (real, fake)]
    between = distances16(fake, real, dtype)
    return float((between <= radii[0][None]).any(1).mean()), float((radii[1][None] >= between.T).any(1).mean())


def undecided(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Shares of fakes and of real images whose answer changes if every squared radius grows or shrinks by the error.

    A distance is off by at most four roundings of numbers up to the sum of the norms, and so is a radius.
    """
    largest = max(float((x**2).sum(1).max()) for x in (real, fake))
    off = 8 * 4 * largest * 2**-11
    radii = [np.partition(distances16(x, x, np.float64), k, axis=1)[:, k] for x in (real, fake)]
    between = distances16(fake, real, np.float64)

    def share(distances: np.ndarray, squared_radii: np.ndarray) -> float:
        inside, maybe = ((distances <= squared_radii[None] + change).any(1) for change in (-off, off))
        return float((inside != maybe).mean())

    return share(between, radii[0]), share(between.T, radii[1])


@pytest.mark.parametrize(("n", "m", "d"), [(300, 260, 8), (120, 200, 64), (80, 80, 2048)])
def test_precision_and_recall_of_adm(rng: np.random.Generator, n: int, m: int, d: int) -> None:
    """Equal to the definition in float64; its float16 products move only images within their rounding of a radius."""
    real, fake = rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 0.9 + 0.05
    metric = PRDC.configured(PROTOCOLS["adm"], MetricOptions(device="cpu"))
    metric.update(torch.from_numpy(real), "real")
    metric.update(torch.from_numpy(fake), "fake")
    results = metric.results()
    got = results["precision"].value, results["recall"].value
    assert got == pytest.approx(precision_and_recall(real, fake, np.float64), abs=1e-12)
    assert results["precision"].protocol["k"] == 3
    rounded = precision_and_recall(real, fake, np.float16)
    for exact, half, may_move in zip(got, rounded, undecided(real, fake), strict=True):
        assert abs(exact - half) <= may_move
