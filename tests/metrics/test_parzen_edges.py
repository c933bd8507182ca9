"""Parzen windows of extreme bandwidths and of points that differ beyond float32; sets of unlike scales."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from tests.helpers.commands import Cli


def exponents(x: np.ndarray, samples: np.ndarray, bandwidth: float) -> list[Fraction]:
    """-d^2 / (2 h^2) of each point and the sample nearest to it, without rounding."""
    exact = [[[Fraction(number) for number in row] for row in side.tolist()] for side in (x, samples)]
    distances = [min(sum((a - b) ** 2 for a, b in zip(p, s, strict=True)) for s in exact[1]) for p in exact[0]]
    return [-squared / (2 * Fraction(bandwidth) ** 2) for squared in distances]


@pytest.mark.parametrize("kind", ["bytes", "float32", "float64"])
@pytest.mark.parametrize("bandwidth", [1e-80, 1e-99, 1e-22, 1e-12])
def test_small_bandwidths(kind: str, bandwidth: float, rng: np.random.Generator) -> None:
    """The standard error squared 1e160 and printed +- inf; bytes became NaN below 1e-21."""
    pixels = [rng.integers(0, 256, (n, 4), dtype=np.uint8) for n in (30, 20, 25)]
    sets = (
        [side.reshape(-1, 2, 2) for side in pixels]
        if kind == "bytes"
        else [(side / 255).astype(kind) for side in pixels]
    )
    score = gm.parzen_log_likelihood(*sets, bandwidths=bandwidth, **({"layout": "NHW"} if kind == "bytes" else {}))
    values = pixels if kind == "bytes" else sets
    found = exponents(values[2], values[0], bandwidth * (255 if kind == "bytes" else 1))
    mean = sum(found) / 25
    variance = sum((value - mean) ** 2 for value in found) / 25**2
    assert score.value == pytest.approx(float(mean), rel=1e-9)
    assert abs(Fraction(score.spread) ** 2 / variance - 1) < 1e-9
    assert json.loads(score.to_json())["spread"] == score.spread


def test_a_grid_whose_ends_are_beyond_float64(rng: np.random.Generator, cli: Cli, tmp_path: Path) -> None:
    """The likelihood at the smallest is -infinity; such points are left out of the curve, and JSON is written."""
    for name, n in (("s", 40), ("v", 30), ("t", 20)):
        np.save(tmp_path / f"{name}.npy", rng.standard_normal((n, 2)) * 1e70)
    files = [tmp_path / f"{name}.npy" for name in "svt"]
    (record,) = cli("parzen", *files, "--bandwidths", "1e-99,1e-92,1e68,1e70", "--json").scores
    assert [h for h, _ in record["protocol"]["validation_curve"]] == [1e68, 1e70]
    assert np.isfinite([value for _, value in record["protocol"]["validation_curve"]]).all()
    ran = cli("parzen", *files, "--bandwidths", "1e-90,1e-89", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert "at every bandwidth up to 1e-89 the validation likelihood is below the range of float64" in ran.err


def test_points_too_far_for_float64_are_one_line(rng: np.random.Generator) -> None:
    near, far = rng.standard_normal((20, 2)), rng.standard_normal((20, 2)) * 1e200
    with pytest.raises(StatisticsError, match=r"^the log-likelihood came out as -inf: the points are too large for fl"):
        gm.parzen_log_likelihood(far, near, near + 1, bandwidths=1.0)
    with pytest.raises(
        OptionError, match=r"^--bandwidths: expected numbers from 1e-100 to 1e100, got \S+; scale all poi"
    ):
        gm.parzen_log_likelihood(*(rng.standard_normal((20, 2)) * 1e-130 for _ in range(3)), bandwidths="auto")


def test_points_that_differ_beyond_float32_are_different(rng: np.random.Generator) -> None:
    """Validation and test were called the same, and test points copies of samples."""
    samples = rng.standard_normal((40, 3))
    validation, test = (samples[:30] + 1e-9 * rng.standard_normal((30, 3)) for _ in range(2))
    score = gm.parzen_log_likelihood(samples, validation, test, bandwidths=0.5)
    assert not score.warnings
    nearest = [((row - samples) ** 2).sum(axis=1).min() for row in validation]
    auto = gm.parzen_log_likelihood(samples, validation, test, bandwidths="auto")
    assert auto.protocol["bandwidth"] == pytest.approx(np.sqrt(np.mean(nearest) / 3), rel=0.02)
    with pytest.raises(OptionError, match="insist with --allow-same"):
        gm.parzen_log_likelihood(samples, validation.astype(np.float32), validation[:9], bandwidths=0.5)
    other = gm.Parzen(validation, test, bandwidths=0.5).update(samples)
    with pytest.raises(OptionError, match="merge: expected a window over the same test points"):
        gm.Parzen(validation, test + 1e-12, bandwidths=0.5).merge(other)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("bandwidth", [1e-7, 0.5])
def test_copies_are_equal_number_by_number(offset: float, bandwidth: float, rng: np.random.Generator) -> None:
    samples, validation, test = (offset + rng.standard_normal((n, 3)) for n in (40, 30, 25))
    test[:4], test[4:10] = samples[7:11], samples[20:26] * (1 + 2e-16)
    assert len({*map(bytes, samples[20:26])} & {*map(bytes, test)}) < 6
    equal = sum(bool((row == samples).all(axis=1).any()) for row in test)
    score = gm.parzen_log_likelihood(samples, validation, test, bandwidths=bandwidth)
    assert f"{equal} of 25 test points coincide with a sample" in score.warnings[0]


def test_copies_among_points_of_another_dtype(rng: np.random.Generator) -> None:
    samples = rng.standard_normal((40, 3)).astype(np.float32)
    test = np.concatenate([samples[:5].astype(np.float64), rng.standard_normal((5, 3))])
    score = gm.parzen_log_likelihood(samples, rng.standard_normal((9, 3)), test, bandwidths=0.5)
    assert "5 of 10 test points coincide with a sample" in score.warnings[0]


SCALES = {
    "[-1, 1]": lambda x: 2 * x - 1,
    "[-0.5, 0.5]": lambda x: x - 0.5,
    "standardised": lambda x: (x - x.mean()) / x.std(),
    "[0, 2]": lambda x: 2 * x,
    "[0, 255]": lambda x: 255 * x,
    "[0, 1e300]": lambda x: 1e300 * x,
}


@pytest.mark.parametrize("scaled", ["samples", "validation", "test"])
@pytest.mark.parametrize("scale", SCALES)
def test_sets_that_are_scaled_unlike_are_told(scale: str, scaled: str, digits: np.ndarray) -> None:
    """Points in [-1, 1] against [0, 1] came out as -1074.6 nats, without a word."""
    flat = digits.reshape(-1, 64) / 255
    sets = {"samples": flat[:500], "validation": flat[500:700], "test": flat[700:900]}
    changed = SCALES[scale](sets[scaled])
    options = {"bandwidths": 0.2 if scale == "[0, 1e300]" else "auto"}
    if scale == "[0, 1e300]" and scaled != "validation":
        return  # no likelihood
    score = gm.parzen_log_likelihood(*{**sets, scaled: changed}.values(), **options)
    (said,) = score.warnings
    assert said.startswith("the three sets have different scales: samples from ")
    assert f"{scaled} from {changed.min():g} to {changed.max():g}" in said
    alike = {name: SCALES[scale](part) for name, part in sets.items()} if scale != "standardised" else sets
    if scale != "[0, 1e300]":
        assert not gm.parzen_log_likelihood(*alike.values(), bandwidths="auto").warnings


def test_points_beside_images_have_their_scale(digits: np.ndarray) -> None:
    """Bytes stand for value / 255."""
    flat = digits[:500].reshape(500, 64) / 255
    images = digits[500:700], digits[700:900]
    for samples, told in ((flat, 0), (2 * flat - 1, 1)):
        assert len(gm.parzen_log_likelihood(samples, *images, layout="NHW", bandwidths=0.2).warnings) == told


@pytest.mark.parametrize("dim", [1, 2, 20])
def test_sets_of_one_distribution_are_not_told(dim: int, rng: np.random.Generator) -> None:
    """Neither for chance, nor for a range that grows with the number of samples."""
    for draw in (rng.standard_normal, rng.random, rng.standard_exponential):
        for n in (60, 400):
            sets = [draw((k, dim)) for k in (2000, n, n)]
            assert not gm.parzen_log_likelihood(*sets, bandwidths=0.7).warnings


def test_images_are_scaled_alike_whatever_they_show(digits: np.ndarray) -> None:
    """Grey fakes are no points of another scale, and k-means centres vary less than what they are the centres of."""
    pale = 100 + digits[:500] // 5
    assert not gm.parzen_log_likelihood(pale, digits[500:700], digits[700:900], layout="NHW", bandwidths=0.2).warnings
    noise = np.random.default_rng(0).standard_normal((900, 30))
    sets = noise[:500], noise[500:700], noise[700:]
    assert not gm.parzen_log_likelihood(*sets, bandwidths="auto", baseline="kmeans", max_samples=20).warnings


def test_scales_of_large_sets_are_told_from_some_points(monkeypatch: pytest.MonkeyPatch, digits: np.ndarray) -> None:
    """Of every part of the set, whatever the blocks."""
    flat = digits.reshape(-1, 64) / 255
    sets = flat[:800], flat[800:1300], flat[1300:]
    monkeypatch.setattr("ganmetrics.metrics.numerics.point_scales.ENOUGH", 64 * 200)
    assert not gm.parzen_log_likelihood(*sets, bandwidths=0.2).warnings
    assert len(gm.parzen_log_likelihood(2 * sets[0] - 1, *sets[1:], bandwidths=0.2).warnings) == 1
