"""The metrics as functions of vectors: each equal to its definition in float64, whatever was imported before."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics import functions
from tests.measurement.test_vectors import definitions, frechet


@pytest.fixture
def sides(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((60, 5)), rng.standard_normal((50, 5)) * 0.9 + 0.1


def test_equal_to_the_definitions(sides: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = sides
    right = definitions(x, y)
    got = {name: getattr(gm.metrics, name)(x, y) for name in ("fid", "kid", "authenticity")}
    got |= gm.metrics.prdc(x, y)
    got["vendi"] = gm.metrics.vendi(torch.from_numpy(y))
    assert got == pytest.approx(right, rel=1e-9)
    means = [torch.from_numpy(rows.mean(0)) for rows in sides]
    covariances = [torch.from_numpy(np.cov(rows, rowvar=False)) for rows in sides]
    direct = gm.metrics.frechet_distance(means[0], covariances[0], means[1], covariances[1])
    assert direct == pytest.approx(right["fid"], rel=1e-9)


def test_those_of_other_papers(sides: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    x, y = sides
    u, v = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in sides)
    width = 1 / (2 * 10**2)
    kernels = [np.exp(-width * ((a[:, None] - b[None]) ** 2).sum(2)).mean() for a, b in ((u, u), (v, v), (u, v))]
    assert gm.metrics.cmmd(x, y) == pytest.approx(1000 * (kernels[0] + kernels[1] - 2 * kernels[2]), rel=1e-6)
    distance = (1 - np.abs(v @ u.T)).min(1).mean()
    fid = frechet(x, y)
    assert gm.metrics.mifid(x, y) == pytest.approx(fid / distance if distance < 0.1 else fid, rel=1e-9)
    labels = np.arange(60) % 2, np.arange(50) % 2
    by_class = [frechet(x[labels[0] == c], y[labels[1] == c]) for c in range(2)]
    assert gm.metrics.class_fid(x, labels[0], y, labels[1]) == pytest.approx(np.mean(by_class), rel=1e-9)
    within = []
    for c in range(2):
        rows = v[labels[1] == c]
        pairs = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
        within.append((1 - pairs).mean())
    assert gm.metrics.intra_class_diversity(y, labels[1]) == pytest.approx(np.mean(within), rel=1e-9)
    logits = rng.standard_normal((40, 6))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    parts = [np.exp((q * np.log(q / q.mean(0))).sum(1).mean()) for q in np.split(p, 4)]
    assert gm.metrics.inception_score(logits, splits=4) == pytest.approx(np.mean(parts), rel=1e-9)


def test_every_function_is_told_of_shapes_and_errors() -> None:
    assert set(functions.__all__) == set(gm.metrics.FUNCTIONS)
    for name in functions.__all__:
        text = inspect.getdoc(getattr(gm.metrics, name)) or ""
        assert "(N, " in text or "(D" in text, name


@pytest.mark.parametrize("first", ["import ganmetrics.metrics.kid", "import ganmetrics.evaluation", "pass"])
def test_a_module_of_the_same_name_does_not_hide_the_function(first: str) -> None:
    code = (
        f"{first}\nimport importlib, numpy\nimport ganmetrics as gm\nx = numpy.eye(5)\n"
        "importlib.import_module('ganmetrics.metrics.kid')\n"
        "from ganmetrics.metrics.kid import KernelInceptionDistance\n"
        "print(gm.metrics.kid(x, x) < 1, callable(gm.metrics.prdc))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("True True\n", 0), ran.stderr


@pytest.mark.parametrize(
    ("real", "message"),
    [
        (np.ones(5), r"real: expected vectors of shape \(N, D\), got \(5,\)"),
        ([[1.0, 2.0]], r"real: expected vectors of shape \(N, D\), got list"),
        (np.full((9, 3), np.nan), "real: NaN or infinity"),
        (np.ones((9, 4)), r"expected vectors of one dimension, got 4 \(real\) and 3 \(fake\)"),
        (np.ones((9, 3), dtype=complex), "real: expected vectors of real numbers .*, got complex128"),
        (np.arange(27).reshape(9, 3) + 2**60, "real: int64 beyond 2.53, which float64 does not hold exactly"),
        (torch.ones(9, 3).to_sparse(), "real: expected a dense tensor, got a sparse one"),
        (np.ma.masked_equal(np.arange(27.0).reshape(9, 3), 4), "real: holds masked entries"),
        (np.ones((1, 3)), "needs at least 2 real images"),
    ],
)
def test_what_is_refused(real: object, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        gm.metrics.kid(real, np.ones((9, 3)))


def test_options_are_checked(sides: tuple[np.ndarray, np.ndarray]) -> None:
    for call in (
        lambda: gm.metrics.prdc(*sides, k=0),
        lambda: gm.metrics.fid_infinity(*sides, seed=-1),
        lambda: gm.metrics.inception_score(sides[0], splits=1.5),  # type: ignore[arg-type]
    ):
        with pytest.raises(OptionError, match=r"^(k|seed|splits): expected a whole number of at least"):
            call()


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, lambda array: array.tolist()])
def test_the_distance_of_gaussians_takes_any_arrays(convert: Callable[[np.ndarray], Any]) -> None:
    """Of commuting covariances it is |m1 - m2|^2 + tr (S1^(1/2) - S2^(1/2))^2."""
    m1, m2 = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    s1, s2 = np.diag([4.0, 9.0, 1.0]), np.diag([1.0, 1.0, 16.0])
    value = gm.metrics.frechet_distance(*map(convert, (m1, s1, m2, s2)))
    assert value == pytest.approx(5 + 1 + 4 + 9, rel=1e-12)


def test_gaussians_that_are_none() -> None:
    zero, one = np.zeros(2), np.eye(2)
    for arrays, message in (
        ((zero, zero, one, one), r"expected the first mean \(D,\) and its covariance \(D, D\), got \(2,\) and \(2,\)"),
        ((zero, one, zero, np.array([[1.0, 5], [0, 1]])), "the second covariance is none: not symmetric"),
        ((zero, -one, zero, one), "the first covariance is none: .* a variance is negative"),
        ((zero * np.nan, one, zero, one), "the first mean and covariance: expected finite real numbers"),
        ((zero, one, np.zeros(3), np.eye(3)), "expected means of one dimension, got 2 and 3"),
        (("a", "b", zero, one), "expected arrays of real numbers"),
    ):
        with pytest.raises(StatisticsError, match=message):
            gm.metrics.frechet_distance(*arrays)  # type: ignore[arg-type]


def test_labels_of_any_kind_of_number(sides: tuple[np.ndarray, np.ndarray]) -> None:
    plain = [i % 2 for i in range(50)]
    right = gm.metrics.intra_class_diversity(sides[1], plain)
    assert gm.metrics.intra_class_diversity(sides[1], [torch.tensor(label) for label in plain]) == right
    for wrong in (3, None, "a" * 50, np.eye(2)[plain]):
        with pytest.raises(StatisticsError, match="fake: expected 50 labels, one for each vector, got "):
            gm.metrics.intra_class_diversity(sides[1], wrong)  # type: ignore[arg-type]


def test_labels_are_one_for_each_vector(sides: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(StatisticsError, match="fake: expected 50 labels, one for each vector, got 3"):
        gm.metrics.intra_class_diversity(sides[1], [0, 1, 2])


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3"])
def test_a_neighbour_that_is_none_is_refused(sides: tuple[np.ndarray, np.ndarray], k: object) -> None:
    with pytest.raises(OptionError, match="k: expected a whole number of at least 1, got "):
        gm.metrics.prdc(*sides, k=k)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options"), [("inception_score", {"splits": 0}), ("inception_score", {"splits": 2.5}),
                          ("fid_infinity", {"seed": -1}), ("fid_infinity", {"seed": 2**32})],
)  # fmt: skip
def test_options_are_those_of_a_measurement(name: str, options: dict[str, object]) -> None:
    vectors = (np.eye(40),) if name == "inception_score" else (np.eye(40), np.eye(40))
    (option,) = options
    with pytest.raises(OptionError, match=f"{option}: expected a whole number"):
        getattr(gm.metrics, name)(*vectors, **options)


@pytest.mark.parametrize("n", [3, 50])  # fewer and more than dimensions
@pytest.mark.parametrize("size", [1e155, 1e160, 1e300])
def test_a_distance_beyond_float64_is_an_error_in_words(rng: np.random.Generator, n: int, size: float) -> None:
    x, y = rng.standard_normal((2, n, 4)) * size
    for function in (gm.metrics.fid, gm.metrics.mifid):
        with pytest.raises(StatisticsError, match="beyond float64; scale all features"):
            function(x, y)
    unit = rng.standard_normal((2, n, 4))
    at_1e100 = gm.metrics.fid(*(unit * 1e100))
    assert at_1e100 / 1e200 == pytest.approx(gm.metrics.fid(*unit), rel=1e-9)
