"""Intervals: drawn sets, influences against finite differences, and how often an interval holds what it should."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import ganmetrics as gm
from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.base import Metric
from ganmetrics.metrics.fid import FrechetDistance
from ganmetrics.metrics.inception_score import InceptionScore, split_membership
from ganmetrics.metrics.numerics import resampling
from ganmetrics.metrics.numerics.frechet_influence import frechet_influence
from ganmetrics.metrics.numerics.resampling import counts, linear
from ganmetrics.protocols import Splits
from ganmetrics.statistics.files import StatisticsFile
from ganmetrics.statistics.moments import Moments
from tests.conftest import write_folder
from tests.helpers.commands import Cli


def fid_of(x: Tensor, y: Tensor, ddof: int = 1) -> FrechetDistance:
    metric = FrechetDistance(ddof=ddof, confidence=True)
    metric.update(x, "real")
    metric.update(y, "fake")
    return metric


def test_counts_are_multinomial() -> None:
    drawn = torch.cat(list(counts(40, 5000, 3)))
    assert drawn.shape == (5000, 40)
    assert (drawn.sum(dim=1) == 40).all()
    assert drawn.mean(dim=0) == pytest.approx(np.ones(40), abs=5 / 5000**0.5)
    covariance = np.cov(drawn.numpy(), rowvar=False)
    expected = np.eye(40) - 1 / 40
    assert np.abs(covariance - expected).max() < 0.12


def test_counts_do_not_depend_on_their_blocks_and_sides_draw_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.cat(list(counts(30, 50, 7)))
    monkeypatch.setattr(resampling, "BLOCK", 100)
    assert [len(block) for block in counts(30, 10, 7)] == [3, 3, 3, 1]
    assert torch.equal(torch.cat(list(counts(30, 50, 7))), whole)
    assert not torch.equal(torch.cat(list(counts(30, 50, 7, "real"))), whole)
    assert not torch.equal(torch.cat(list(counts(30, 50, 8))), whole)


def test_counts_within_groups_keep_their_sizes() -> None:
    groups = torch.tensor([5, 2, 5, 2, 2, 9])
    drawn = torch.cat(list(counts(6, 200, 1, groups=groups)))
    for group, size in ((5, 2), (2, 3), (9, 1)):
        assert (drawn[:, groups == group].sum(dim=1) == size).all()
    assert drawn[:, [0, 2]].var(dim=0) == pytest.approx([0.5, 0.5], abs=0.1)


def test_linear_replicates_of_a_mean_are_exact(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal(60))
    expected = torch.cat(list(counts(60, 100, 2))) @ x / 60 - x.mean()
    torch.testing.assert_close(linear(x, 100, 2), expected, rtol=1e-12, atol=1e-12)


def weighted_fid(x: Tensor, y: Tensor, weights: Tensor, ddof: int) -> float:
    """FID from y of x under weights that sum to one."""
    means, factors = [], []
    for points, p in ((x, weights), (y, torch.full((len(y),), 1 / len(y), dtype=torch.float64))):
        means.append(p @ points)
        factors.append((p * len(points) / (len(points) - ddof)).sqrt()[:, None] * (points - means[-1]))
    nuclear = np.linalg.norm((factors[0] @ factors[1].T).numpy(), "nuc")
    return float((means[0] - means[1]).square().sum() + sum(a.square().sum() for a in factors)) - 2 * float(nuclear)


@pytest.mark.parametrize(("n", "m"), [(60, 50), (60, 7), (7, 60), (7, 6)])
@pytest.mark.parametrize("ddof", [0, 1])
def test_influence_on_a_frechet_distance_is_its_derivative(rng: np.random.Generator, n: int, m: int, ddof: int) -> None:
    d = 10
    x, y = (torch.from_numpy(rng.standard_normal((k, d)) @ rng.standard_normal((d, d))) for k in (n, m))
    metric = fid_of(x, y, ddof=ddof)
    (block,) = metric._blocks("real") or ()
    influence = frechet_influence(metric.moments("real"), metric.moments("fake"), [block[:3], block[3:]], ddof)
    step, uniform = 1e-6, torch.full((n,), 1 / n, dtype=torch.float64)
    for i in (0, n // 2, n - 1):
        toward = torch.nn.functional.one_hot(torch.tensor(i), n) - uniform
        moved = [weighted_fid(x, y, uniform + sign * step * toward, ddof) for sign in (1, -1)]
        assert float(influence[i]) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6, abs=1e-6)
    assert abs(float(influence.mean())) < 1e-10


def test_replicates_are_the_same_from_vectors_and_from_moments_that_keep_them(rng: np.random.Generator) -> None:
    x, y = (torch.from_numpy(rng.standard_normal((n, 30))) for n in (20, 25))
    kept = fid_of(x, y)
    summed = FrechetDistance()
    summed.update(x, "real")
    summed.update(y, "fake")
    assert summed.compute() == kept.compute()
    assert torch.equal(summed.replicates(100, 4)["fid"], kept.replicates(100, 4)["fid"])
    assert not torch.equal(summed.replicates(100, 5)["fid"], kept.replicates(100, 4)["fid"])


@pytest.mark.parametrize("side", ["real", "fake"])
def test_moments_without_vectors_give_no_replicates(rng: np.random.Generator, side: str) -> None:
    x, y = (torch.from_numpy(rng.standard_normal((30, 5))) for _ in range(2))
    metric = fid_of(x, y)
    metric.statistics[side] = Moments.from_covariance(torch.zeros(5), torch.eye(5), count=100)
    assert metric.replicates(100, 0) == {}


def test_vectors_that_come_later_count(rng: np.random.Generator) -> None:
    x, y, more = (torch.from_numpy(rng.standard_normal((30, 5))) for _ in range(3))
    metric = fid_of(x, y)
    before = metric.compute().value
    metric.update(more, "fake")
    assert metric.compute() == fid_of(x, torch.cat([y, more])).compute()
    metric.reset("fake")
    metric.update(y, "fake")
    assert metric.compute().value == before


Draw = Callable[[np.random.Generator], Metric]


def gaussians(n: int, d: int, shift: float, scale: float) -> Draw:
    return lambda rng: fid_of(
        torch.from_numpy(rng.standard_normal((n, d))), torch.from_numpy(rng.standard_normal((n, d)) * scale + shift)
    )


def logits(n: int) -> Draw:
    def draw(rng: np.random.Generator) -> Metric:
        metric = InceptionScore(splits=Splits(4))
        metric.update(torch.from_numpy(rng.standard_normal((n, 6)) * 2))
        return metric

    return draw


def coverage(draw: Draw, rng: np.random.Generator, trials: int, resamples: int) -> float:
    """How often the interval of one set holds the mean over all sets of that size."""
    name = draw(rng).name
    metrics = [draw(rng) for _ in range(trials)]
    values = [metric.results()[name].value for metric in metrics]
    wanted = np.mean(values)
    intervals = [interval(v, m.replicates(resamples, 0)[name]) for v, m in zip(values, metrics, strict=True)]
    return float(np.mean([low <= wanted <= high for low, high in intervals]))


@pytest.mark.parametrize(
    ("draw", "least", "most"),
    [
        pytest.param(gaussians(400, 4, 0.5, 1.0), 0.905, 0.98, id="fid, many images"),
        pytest.param(gaussians(60, 12, 0.5, 1.5), 0.905, 1.0, id="fid, few images a dimension"),
        pytest.param(gaussians(15, 40, 0.3, 1.2), 0.905, 1.0, id="fid, fewer images than dimensions"),
        pytest.param(gaussians(100, 8, 0.0, 1.0), 0.905, 1.0, id="fid, one distribution"),
        pytest.param(logits(200), 0.905, 0.98, id="is"),
    ],
)
def test_an_interval_holds_the_expected_value_95_times_in_100(
    rng: np.random.Generator, draw: Draw, least: float, most: float
) -> None:
    assert least <= coverage(draw, rng, trials=400, resamples=200) <= most


def test_inception_score_replicates_are_scores_of_the_drawn_set(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal((41, 5)) * 3)
    metric = InceptionScore(splits=Splits(3, order="numpy", seed=4))
    metric.update(x)
    membership = split_membership(41, metric.splits)
    (drawn,) = counts(41, 6, 9, groups=membership)
    for row, replicate in zip(drawn.long(), metric.replicates(6, 9)["is"], strict=True):
        scores = []
        for split in range(3):
            p = x[membership == split].repeat_interleave(row[membership == split], dim=0).softmax(dim=1)
            scores.append(float((p * (p / p.mean(dim=0)).log()).sum(dim=1).mean().exp()))
        assert float(replicate) == pytest.approx(np.mean(scores), rel=1e-10)


def test_intervals_from_images_and_none_from_a_statistics_file(rng: np.random.Generator) -> None:
    real, fake = (rng.integers(0, 256, (n, 2, 2, 3), dtype=np.uint8) for n in (70, 60))
    score = gm.fid(real, fake, features="pixels", confidence=True, resamples=200, seed=3)
    assert score.interval is not None
    assert score.interval[0] < score.value < score.interval[1]
    assert (score.protocol["resamples"], score.protocol["resampling_seed"]) == (200, 3)
    plain = gm.fid(real, fake, features="pixels")
    assert (score.value, plain.interval) == (plain.value, None)
    file = StatisticsFile.of(
        Moments.from_covariance(torch.zeros(12), torch.eye(12), count=100), plain.protocol, "x.npz"
    )
    without = gm.fid(file, fake, features="pixels", confidence=True)
    assert without.interval is None
    assert "no 95 % interval: statistics files hold moments alone, and no images to resample" in without.warnings


def test_an_interval_ends_where_the_range_of_the_metric_does() -> None:
    drawn = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    assert interval(0.5, drawn) == pytest.approx((-0.45, 1.45))
    assert interval(0.5, drawn, within=(0.0, 1.0)) == (0.0, 1.0)
    assert math.copysign(1, interval(0.0, drawn, within=(0.0, 1.0))[0]) == 1


RANGES = {
    "fid": (0, math.inf),
    "fid-infinity": (0, math.inf),
    "mifid": (0, math.inf),
    "cmmd": (0, math.inf),
    "class-fid": (0, math.inf),
    "precision": (0, 1),
    "recall": (0, 1),
    "density": (0, math.inf),
    "coverage": (0, 1),
    "authenticity": (0, 1),
    "vendi": (1, math.inf),
    "kid": (-math.inf, math.inf),
}


def test_intervals_stay_in_the_range_of_their_metric(tmp_path: Path, rng: np.random.Generator) -> None:
    """Coverage came with [0.846, 1.044], FID of one distribution with [-2.44, ...]."""
    folders = []
    for side in ("real", "fake"):
        for name in ("a", "b"):
            write_folder(tmp_path / side / name, rng.integers(0, 256, (20, 1, 2), dtype=np.uint8))
        folders.append(tmp_path / side)
    metrics = [name for name in METRICS if name in {*RANGES, "prdc"}]
    scores = gm.evaluate(*folders, metrics, features="pixels", confidence=True, resamples=200)
    assert set(scores) == set(RANGES)
    beyond = []
    for name, score in scores.items():
        if score.interval is None:
            continue
        low, high = score.interval
        assert RANGES[name][0] <= low <= high <= RANGES[name][1], name
        beyond += [name] * (low in RANGES[name] or high in RANGES[name])
    assert {"fid-infinity", "cmmd"} <= set(beyond)
    assert scores["kid"].interval[0] < 0


def test_why_there_is_no_interval_is_said(tmp_path: Path, rng: np.random.Generator, cli: Cli) -> None:
    """It was "precision-pixels: no interval is known for precision-pixels on these statistics"."""
    real = rng.integers(100, 120, (30, 2, 2, 3), dtype=np.uint8)
    write_folder(tmp_path / "real", real)
    write_folder(tmp_path / "fake", 255 - real)
    ran = cli("prdc", "real", "fake", "--features", "pixels", "--confidence", "--quiet")
    said = "no 95 % interval: it is the same for every image, so that resampling images does not change it"
    assert f"Warning: {said}\n" in ran.err or f": {said}\n" in ran.err
    assert "no interval is known" not in ran.err
