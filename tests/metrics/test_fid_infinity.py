"""FID-infinity: the fit against scikit-learn, the whole against the procedure written plainly, the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import linregress
from sklearn.linear_model import LinearRegression

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics.fid import frechet_distance, frechet_distance_of_moments
from ganmetrics.metrics.fid_infinity import FidInfinity, sizes_of_subsets, value_at_infinity
from ganmetrics.protocols import MetricOptions, get_protocol
from ganmetrics.statistics.moments import Moments


def fed(real: torch.Tensor | Moments, fake: torch.Tensor, seed: int = 0, ddof: int = 1) -> FidInfinity:
    metric = FidInfinity(seed=seed, ddof=ddof)
    if isinstance(real, Moments):
        metric.statistics["real"] = real
    else:
        metric.update(real, "real")
    metric.update(fake, "fake")
    return metric


@pytest.mark.parametrize("n", [10_000, 12_345, 50_000])
def test_published_sizes(n: int) -> None:
    assert sizes_of_subsets(n) == np.linspace(5000, n, 15).astype("int32").tolist()


def test_fewer_fakes_go_from_their_half() -> None:
    assert len(set(sizes_of_subsets(30))) == 15
    sizes = sizes_of_subsets(1001)
    assert (sizes[0], sizes[-1], len(set(sizes))) == (500, 1001, 15)


def test_the_line_is_least_squares(rng: np.random.Generator) -> None:
    sizes = np.sort(rng.integers(100, 5000, 15))
    distances = 3 + 70 / sizes + rng.standard_normal(15) * 0.01
    value, error = value_at_infinity(torch.from_numpy(sizes), torch.from_numpy(distances))
    fitted = LinearRegression().fit(1 / sizes[:, None], distances)
    assert value == pytest.approx(fitted.predict(np.array([[0.0]]))[0], rel=1e-12)
    assert error == pytest.approx(linregress(1 / sizes, distances).intercept_stderr, rel=1e-9)


def test_a_line_without_noise_is_met(rng: np.random.Generator) -> None:
    sizes = torch.linspace(500, 1000, 15)
    value, error = value_at_infinity(sizes, 2.5 + 40 / sizes.double())
    assert value == pytest.approx(2.5, rel=1e-9)
    assert error < 1e-9


@pytest.mark.parametrize("ddof", [0, 1])
def test_agrees_with_the_procedure_written_plainly(rng: np.random.Generator, ddof: int) -> None:
    x, y = rng.standard_normal((150, 12)), rng.standard_normal((400, 12)) * 1.5 + 0.2
    draw = np.random.default_rng(8)
    distances = []
    for size in np.linspace(200, 400, 15).astype(int):
        part = y[np.sort(draw.permutation(400)[:size])]
        moments = [torch.from_numpy(m) for z in (x, part) for m in (z.mean(0), np.cov(z, rowvar=False, ddof=ddof))]
        distances.append(frechet_distance(*moments))
    sizes = np.linspace(200, 400, 15).astype(int)[:, None]
    expected = LinearRegression().fit(1 / sizes, distances).intercept_
    metric = fed(torch.from_numpy(x), torch.from_numpy(y), seed=8, ddof=ddof)
    assert metric.compute().raw == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "d", "within"), [(200, 16, 0.1), (400, 30, 0.05)])
def test_comes_nearer_the_truth_than_fid(rng: np.random.Generator, n: int, d: int, within: float) -> None:
    """Normal features of known moments: the average error of FID is several times that of its extrapolation."""
    truth = d * (0.2**2 + (1.3 - 1) ** 2)
    real = Moments.from_covariance(torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64))
    metrics = [fed(real, torch.from_numpy(rng.standard_normal((n, d)) * 1.3 + 0.2), seed) for seed in range(60)]
    extrapolated = float(np.mean([metric.compute().value for metric in metrics]))
    plain = float(np.mean([frechet_distance_of_moments(real, metric.moments("fake")) for metric in metrics]))
    assert extrapolated == pytest.approx(truth, rel=within)
    assert plain - truth > 3 * abs(extrapolated - truth)


def test_an_interval_holds_the_expected_value_95_times_in_100(rng: np.random.Generator) -> None:
    pairs = [[torch.from_numpy(rng.standard_normal((200, 6)) * scale) for scale in (1.0, 1.3)] for _ in range(250)]
    metrics = [fed(x, y, seed) for seed, (x, y) in enumerate(pairs)]
    values = [metric.compute().value for metric in metrics]
    intervals = [interval(v, m.replicates(200, 0)["fid-infinity"]) for v, m in zip(values, metrics, strict=True)]
    assert 0.9 <= np.mean([low <= np.mean(values) <= high for low, high in intervals]) <= 0.985


def test_a_negative_value_is_told_and_kept_raw(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal((400, 10)))
    result = fed(x, x).compute()
    assert result.raw is not None
    assert result.raw < 0
    assert result.value == 0
    assert f"the line meets 1/N = 0 at {result.raw:.4g}, below 0; the value is given as 0, raw as it is" in (
        result.warnings
    )


def test_says_what_was_fitted_and_draws_by_the_seed(rng: np.random.Generator) -> None:
    x, y = (torch.from_numpy(rng.standard_normal((60, 3)) * scale) for scale in (1, 2))
    metric = FidInfinity.configured(get_protocol(None), MetricOptions(seed=5))
    metric.update(x, "real")
    metric.update(y, "fake")
    result = metric.compute()
    assert result.protocol == {"ddof": 1, "sizes": sizes_of_subsets(60), "seed": 5}
    assert result == fed(x, y, seed=5).compute()
    assert result.value != fed(x, y, seed=6).compute().value
    assert result.spread is not None
    assert result.spread > 0
    metric.update(y, "fake")
    assert metric.compute() == fed(x, torch.cat([y, y]), seed=5).compute()


@pytest.mark.parametrize("n", [2, 29])
def test_too_few_fakes(n: int) -> None:
    with pytest.raises(StatisticsError, match=f"^FID-infinity needs at least 30 fake images, got {n}$"):
        fed(torch.randn(50, 3), torch.randn(n, 3)).compute()


def test_small_samples_are_told_with_the_number_needed() -> None:
    first, second = fed(torch.randn(40, 30), torch.randn(90, 30) * 3).compute().warnings
    assert first == (
        "90 fake images: fitted over subsets of 45 to 90, where published values use 5000 to 50000; FID is no line "
        "over 1/N below 60 images (30 dimensions): do not trust it; give at least 10000"
    )
    assert second == (
        "40 real images for 30 dimensions: the bias that comes with few of these stays; give at least 150"
    )
    (only,) = fed(torch.randn(400, 10), torch.randn(400, 10) * 3).compute().warnings
    assert only == (
        "400 fake images: fitted over subsets of 200 to 400, where published values use 5000 to 50000; "
        "give at least 10000"
    )


def test_wrong_ddof() -> None:
    with pytest.raises(OptionError, match=r"^--ddof: expected 1 "):
        FidInfinity.configured(get_protocol(None), MetricOptions(ddof=2))
