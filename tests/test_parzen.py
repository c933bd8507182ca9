"""The Parzen score against Goodfellow's own script: its bandwidth, streams, baselines, points and pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, SourceError, StatisticsError
from ganmetrics.metrics.numerics.bandwidth import PUBLISHED, Rule
from ganmetrics.metrics.parzen import ParzenLogLikelihood, log_likelihood
from tests.conftest import REPOSITORY
from tests.metrics.test_parzen_density import reference

MNIST = REPOSITORY.parent / "shared" / "data"


def goodfellow(x: np.ndarray, mu: np.ndarray, sigma: float) -> tuple[float, float]:
    """`parzen_ll.py` (adversarial, 2014) in numpy: mean over the batch and its standard error."""
    a = (x[:, None, :] - mu[None, :, :]) / sigma
    exponent = -0.5 * (a**2).sum(2)
    top = exponent.max(1)
    e = top + np.log(np.exp(exponent - top[:, None]).mean(1))
    nll = e - mu.shape[1] * np.log(sigma * np.sqrt(np.pi * 2))
    return nll.mean(), nll.std() / np.sqrt(len(nll))


def test_agrees_with_goodfellows_script(digits: np.ndarray) -> None:
    """Bandwidth from the published grid by the validation data, mean and standard error of the test data."""
    samples, validation, test = digits[:500], digits[500:700], digits[700:1000]
    mu, v, t = (part.reshape(len(part), -1) / 255 for part in (samples, validation, test))
    means = [goodfellow(v, mu, sigma)[0] for sigma in np.logspace(-1, 0, 10)]
    sigma = np.logspace(-1, 0, 10)[int(np.argmax(means))]
    mean, error = goodfellow(t, mu, sigma)
    score = gm.parzen_log_likelihood(samples, validation, test, layout="NHW")
    assert score.protocol["bandwidth"] == pytest.approx(sigma, rel=1e-12)
    assert score.value == pytest.approx(mean, abs=1e-3)
    assert score.spread == pytest.approx(error, rel=1e-5)
    np.testing.assert_allclose([point[1] for point in score.protocol["validation_curve"]], means, atol=1e-3)
    assert score.protocol["dim"] == 64
    assert (score.metric, score.n_fake, score.n_real) == ("parzen", 500, 300)
    assert "arXiv:1511.01844" in score.protocol["note"]


def test_published_grid() -> None:
    np.testing.assert_allclose(PUBLISHED, np.logspace(-1, 0, 10), rtol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 50.0])
def test_auto_finds_the_optimum_to_a_percent(rng: np.random.Generator, scale: float) -> None:
    samples, validation, test = (torch.from_numpy(rng.standard_normal((400, 4)) * scale) for _ in range(3))
    score = gm.parzen_log_likelihood(samples, validation, test, bandwidths="auto")
    dense = np.geomspace(0.05, 5, 400) * scale
    means = [float(log_likelihood(validation, samples, h).mean()) for h in dense]
    assert score.protocol["bandwidth"] == pytest.approx(dense[int(np.argmax(means))], rel=0.025)
    chosen = float(log_likelihood(validation, samples, score.protocol["bandwidth"]).mean())
    assert chosen >= max(means) - 1e-4
    assert not score.warnings


def test_the_test_data_never_touches_the_choice(digits: np.ndarray) -> None:
    results = [
        gm.parzen_log_likelihood(digits[:300], digits[300:500], test, layout="NHW", bandwidths="auto")
        for test in (digits[500:600], 255 - digits[600:900])
    ]
    assert results[0].protocol["bandwidth"] == results[1].protocol["bandwidth"]
    assert results[0].protocol["validation_curve"] == results[1].protocol["validation_curve"]
    assert results[0].value != results[1].value


def test_an_optimum_at_the_end_of_the_grid_is_told(digits: np.ndarray) -> None:
    score = gm.parzen_log_likelihood(
        digits[:300], digits[300:500], digits[500:700], layout="NHW", bandwidths=[0.5, 0.7, 1.0]
    )
    assert any("the best bandwidth, 0.5, is the smallest of the grid" in warning for warning in score.warnings)


def test_validation_points_among_the_samples(digits: np.ndarray) -> None:
    with pytest.raises(StatisticsError, match="grows without bound as the bandwidth shrinks"):
        gm.parzen_log_likelihood(digits[:300], digits[:200], digits[500:700], layout="NHW", bandwidths="auto")
    score = gm.parzen_log_likelihood(digits[:600], digits[600:700], digits[500:800], layout="NHW")
    assert any("100 of 300 test points coincide with a sample" in warning for warning in score.warnings)


def test_validation_and_test_must_differ(digits: np.ndarray, tmp_path: Path) -> None:
    other = digits[300:400].copy()
    for validation, test in ((other, other), (other, other[10:60].copy()), ("digits[0:50]", "digits[0:50]")):
        with pytest.raises(OptionError, match=r"the same .*would be chosen on the test data.*--allow-same"):
            gm.parzen_log_likelihood(digits[500:], validation, test, layout="NHW")
    score = gm.parzen_log_likelihood(digits[500:], other, other, layout="NHW", allow_same=True)
    assert any("biased upward" in warning for warning in score.warnings)
    partly = gm.parzen_log_likelihood(digits[500:], digits[:100], digits[60:160], layout="NHW")
    assert any("40 of the test images are among the validation images" in warning for warning in partly.warnings)


def test_streaming_equals_the_whole(digits: np.ndarray) -> None:
    expected = gm.parzen_log_likelihood(digits[:400], digits[400:600], digits[600:800], layout="NHW")
    window = gm.Parzen(digits[400:600], digits[600:800], layout="NHW")
    for start in range(0, 400, 70):
        window.update(digits[start : min(start + 70, 400)])
    score = window.compute()
    assert score.value == pytest.approx(expected.value, rel=1e-9)
    window.reset()
    with pytest.raises(StatisticsError, match="needs samples: expected at least one point, got 0"):
        window.compute()
    assert window.update(digits[:400]).compute().value == pytest.approx(expected.value, rel=1e-9)
    other = gm.Parzen(digits[400:600], digits[600:800], layout="NHW").update(digits[:100])
    window.reset()
    window.update(digits[100:400])
    window.merge(other)
    assert window.compute().value == pytest.approx(expected.value, rel=1e-9)


def test_float_batches_need_their_range(digits: np.ndarray) -> None:
    window = gm.Parzen(digits[400:600], digits[600:800], layout="NHW")
    batch = torch.from_numpy(digits[:100]).float().div(127.5).sub(1)
    with pytest.raises(SourceError, match="value_range"):
        window.update(batch)
    with_range = window.update(batch, value_range=(-1, 1)).compute()
    whole = gm.parzen_log_likelihood(digits[:100], digits[400:600], digits[600:800], layout="NHW")
    assert with_range.value == pytest.approx(whole.value, rel=1e-9)


@pytest.mark.parametrize("spill", [10**6, 10**9])
@pytest.mark.parametrize("max_samples", [None, 150])
def test_memory_and_max_samples(digits: np.ndarray, spill: int, max_samples: int | None) -> None:
    scores = [
        gm.parzen_log_likelihood(
            digits[:400], digits[400:600], digits[600:800], layout="NHW", memory=memory, max_samples=max_samples, seed=4
        )
        for memory in (spill, "2GiB")
    ]
    assert scores[0].value == pytest.approx(scores[1].value, rel=1e-7)
    assert scores[0].n_fake == (max_samples or 400)
    if max_samples:
        draw = torch.randperm(400, generator=torch.Generator().manual_seed(4))[:max_samples]
        by_hand = gm.parzen_log_likelihood(digits[:400][draw.numpy()], digits[400:600], digits[600:800], layout="NHW")
        assert scores[0].value == pytest.approx(by_hand.value, rel=1e-9)


def test_dequantized_pixels(digits: np.ndarray) -> None:
    """(value + u) / 256, the same noise whatever the batch size, another for another seed."""
    options = {"layout": "NHW", "dequantize": True, "bandwidths": 0.2}
    sets = digits[:400], digits[400:600], digits[600:800]
    scores = [gm.parzen_log_likelihood(*sets, **options, batch_size=size) for size in (1, 7, 512)]
    assert scores[0].value == scores[1].value == scores[2].value
    other = gm.parzen_log_likelihood(*sets, **options, seed=1)
    assert other.value != scores[0].value
    assert other.value == pytest.approx(scores[0].value, rel=0.01)
    assert scores[0].protocol["dequantized"] is True
    assert scores[0].protocol["scale"] == "(value + uniform) / 256"
    plain = gm.parzen_log_likelihood(*sets, layout="NHW", bandwidths=0.2)
    assert plain.protocol["dequantized"] is False
    assert plain.value == pytest.approx(scores[0].value, rel=0.05)


def test_points_from_npy(rng: np.random.Generator, tmp_path: Path) -> None:
    sets = [rng.standard_normal((n, 5)) for n in (100, 50, 60)]
    for name, points in zip(("samples", "validation", "test"), sets, strict=True):
        np.save(tmp_path / f"{name}.npy", points)
    paths = [tmp_path / f"{name}.npy" for name in ("samples", "validation", "test")]
    score = gm.parzen_log_likelihood(*paths, bandwidths=0.5)
    assert score.value == pytest.approx(reference(sets[2], sets[0], 0.5).mean(), rel=1e-9)
    assert score.protocol["features"] == "points"
    direct = gm.parzen_log_likelihood(*sets, bandwidths=0.5)
    assert direct.value == score.value
    np.save(tmp_path / "integers.npy", np.arange(20).reshape(4, 5))
    whole = gm.parzen_log_likelihood(tmp_path / "integers.npy", *sets[1:], bandwidths=3)
    assert whole.value == pytest.approx(reference(sets[2], np.arange(20.0).reshape(4, 5), 3).mean(), rel=1e-9)
    with pytest.raises(OptionError, match="is for pixels, and validation are points"):
        gm.parzen_log_likelihood(*paths, dequantize=True)


def test_points_and_pixels_together(digits: np.ndarray) -> None:
    """Samples as points in [0, 1] against images: the bytes stand for value / 255; another scale is told."""
    flat = digits[:400].reshape(400, -1)
    images = gm.parzen_log_likelihood(digits[:400], digits[400:600], digits[600:800], layout="NHW", bandwidths=0.2)
    points = gm.parzen_log_likelihood(flat / 255, digits[400:600], digits[600:800], layout="NHW", bandwidths=0.2)
    assert points.value == pytest.approx(images.value, abs=1e-3)
    wrong = gm.parzen_log_likelihood(flat * 1.0, digits[400:600], digits[600:800], layout="NHW", bandwidths=0.2)
    assert any("have different scales: samples from 0 to 255" in warning for warning in wrong.warnings)


@pytest.mark.parametrize("kind", ["true", "kmeans"])
def test_baselines(digits: np.ndarray, kind: str) -> None:
    sets = digits[:1000], digits[1000:1400], digits[1400:]
    score = gm.parzen_log_likelihood(*sets, layout="NHW", baseline=kind)
    assert score.protocol["baseline"] == kind
    if kind == "true":
        assert score.value == gm.parzen_log_likelihood(*sets, layout="NHW").value
    else:
        assert score.n_fake == 100
        again = gm.parzen_log_likelihood(*sets, layout="NHW", baseline=kind, max_samples=100)
        assert again.value == score.value
        fewer = gm.parzen_log_likelihood(digits[:100], *sets[1:], layout="NHW")
        assert score.value > fewer.value  # a hundred centres stand for more than a hundred images
    alone = gm.parzen_log_likelihood("digits", baseline=kind)
    assert (alone.protocol["n_validation"], alone.n_real) == (256, 256)


def test_the_metric_alone_needs_no_images(rng: np.random.Generator) -> None:
    metric = ParzenLogLikelihood(rule=Rule.parse("0.3"))
    for side, n in (("samples", 40), ("validation", 10), ("test", 1)):
        metric.update(torch.from_numpy(rng.random((n, 3))), side)
    result = metric.compute()
    assert result.spread is None
    assert result.protocol["n_test"] == 1


@pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason="needs MNIST beside the repository")
def test_mnist_true_images_score_as_published() -> None:
    """Theis et al. 2016 give 243 nats for true images; the published GAN has 225."""
    score = gm.parzen_log_likelihood(
        "mnist:train[0:10000]", "mnist:train[50000:51000]", "mnist:test[0:2000]", data_root=MNIST
    )
    assert score.protocol["dim"] == 784
    assert 200 < score.value < 280


def test_bytes_and_points_do_not_mix_in_one_set(digits: np.ndarray) -> None:
    """Points in [0, 1] were once cut to integers when images had come first."""
    window = gm.Parzen(digits[400:500], digits[500:600], layout="NHW").update(digits[:50])
    with pytest.raises(StatisticsError, match="expected all vectors as bytes or all in floating point"):
        window.update(digits[50:100].reshape(50, -1) / 255)
    with pytest.raises(OptionError, match="holds nothing"):
        window.update(digits[:0])


def test_windows_that_do_not_belong_together(digits: np.ndarray) -> None:
    window = gm.Parzen(digits[400:500], digits[500:600], layout="NHW").update(digits[:50])
    others = (
        gm.Parzen(digits[400:450], digits[500:600], layout="NHW"),
        gm.Parzen(digits[400:500], digits[500:600], layout="NHW", bandwidths=0.3),
        window,
        3,
    )
    for other in others:
        with pytest.raises(OptionError, match="merge: expected"):
            window.merge(other)
    for wrong in ({"baseline": "kmeans"}, {"test": None}):
        with pytest.raises(OptionError, match="expected validation and test, no baseline"):
            gm.Parzen(digits[400:500], **{"test": digits[500:600], "layout": "NHW", **wrong})


def test_the_same_points_in_another_number_format(rng: np.random.Generator) -> None:
    samples, validation = rng.standard_normal((50, 3)), rng.standard_normal((40, 3))
    with pytest.raises(OptionError, match="insist with --allow-same"):
        gm.parzen_log_likelihood(samples, validation, validation[::-1].astype(np.float32))


def test_nothing_at_all() -> None:
    some, none = torch.zeros(2, 3), torch.zeros(0, 3)
    for x, samples in ((none, some), (some, none)):
        with pytest.raises(StatisticsError, match="at least one"):
            log_likelihood(x, samples, 0.1)
    with pytest.raises(OptionError, match="--max-samples: expected a whole number"):
        gm.Parzen(np.zeros((2, 3)), np.ones((2, 3)), max_samples=2.5)
