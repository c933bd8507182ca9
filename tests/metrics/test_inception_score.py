"""The Inception Score against closed forms and the functions of torch-fidelity and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics.inception_score import InceptionScore, inception_score
from ganmetrics.protocols import PROTOCOLS, MetricOptions, Splits
from ganmetrics.statistics.samples import Samples
from tests.conftest import peer


def result_of(logits: torch.Tensor, protocol: str = "tensorflow", **options: object):
    metric = InceptionScore.configured(PROTOCOLS[protocol], MetricOptions(**options))
    for batch in logits.split(37):
        metric.update(batch)
    return metric.compute()


@pytest.mark.parametrize("k", [2, 10, 1008])
@pytest.mark.parametrize("order", ["given", "numpy", "torch"])
def test_a_constant_predictor_scores_one(rng: np.random.Generator, k: int, order: str) -> None:
    logits = torch.from_numpy(rng.standard_normal(k)).expand(100, -1)
    scores = inception_score(logits, Splits(order=order))
    torch.testing.assert_close(scores, torch.ones(10, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("k", [2, 10, 50])
@pytest.mark.parametrize("height", [1e3, float("inf")])
def test_a_balanced_one_hot_predictor_scores_k(k: int, height: float) -> None:
    """Also with infinite logits, where p log p must be 0 and not NaN."""
    hot = torch.eye(k).repeat(20, 1)
    logits = torch.where(hot > 0, 0.0, -height)
    scores = inception_score(logits, Splits(count=10))
    torch.testing.assert_close(scores, torch.full((10,), float(k), dtype=torch.float64), rtol=1e-12, atol=0)


def test_two_classes_in_closed_form() -> None:
    """P = (a, 1 - a) for half of the images and the mirror for the rest: IS = exp(log 2 - H(a))."""
    a = 0.9
    p = torch.tensor([[a, 1 - a], [1 - a, a]], dtype=torch.float64).repeat(50, 1)
    entropy = -(a * np.log(a) + (1 - a) * np.log(1 - a))
    torch.testing.assert_close(
        inception_score(p.log(), Splits(count=5)),
        torch.full((5,), np.exp(np.log(2) - entropy), dtype=torch.float64),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize("n", [200, 217, 1003])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("splits", [1, 3, 10])
def test_agrees_with_torch_fidelity(rng: np.random.Generator, n: int, shuffle: bool, splits: int) -> None:
    metric_isc = peer("torch_fidelity.metric_isc")
    logits = torch.from_numpy(rng.standard_normal((n, 30)) * 3).float()
    theirs = metric_isc.isc_features_to_metric(logits, splits=splits, shuffle=shuffle, rng_seed=2020)
    ours = result_of(logits, "torch-fidelity", splits=splits, shuffle=shuffle)
    assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert ours.spread == pytest.approx(theirs["inception_score_std"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("n", [200, 217, 1003])
@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_agrees_with_torchmetrics(rng: np.random.Generator, n: int, seed: int) -> None:
    """Torchmetrics permutes with the global generator: our seed stands for `torch.manual_seed` before its compute."""
    inception = peer("torchmetrics.image.inception")
    logits = torch.from_numpy(rng.standard_normal((n, 30)) * 3)
    theirs = inception.InceptionScore(feature=torch.nn.Identity())
    theirs.update(logits)
    torch.manual_seed(seed)
    mean, std = theirs.compute()
    ours = result_of(logits, "torchmetrics", seed=seed)
    assert ours.value == pytest.approx(float(mean), rel=1e-12)
    assert ours.spread == pytest.approx(float(std), rel=1e-9)


def test_improved_gan_boundaries(rng: np.random.Generator) -> None:
    """The original's own loop, i * N // 10 in the order given, in numpy."""
    logits = rng.standard_normal((333, 12)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = []
    for i in range(10):
        part = p[(i * 333 // 10) : ((i + 1) * 333 // 10)]
        kl = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        expected.append(np.exp(kl.sum(1).mean()))
    ours = result_of(torch.from_numpy(logits))
    assert ours.value == pytest.approx(np.mean(expected), rel=1e-12)
    assert ours.spread == pytest.approx(np.std(expected), rel=1e-10)


def test_torchmetrics_chunks_may_be_fewer_than_splits(rng: np.random.Generator) -> None:
    result = result_of(torch.from_numpy(rng.standard_normal((21, 5))), "torchmetrics")
    assert result.protocol["splits"] == 7
    assert any("cut 21 images into 7 splits" in warning for warning in result.warnings)


def sorted_predictions(n: int = 2000, k: int = 10) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.arange(n) * k // n, k).double() * 8


def test_sorted_images_are_told() -> None:
    result = result_of(sorted_predictions())
    assert result.value < 1.2
    (warning,) = [text for text in result.warnings if "order" in text]
    assert "1.00 as given" in warning
    assert "use --shuffle" in warning
    shuffled = result_of(sorted_predictions(), shuffle=True)
    assert shuffled.value > 9
    assert not [text for text in shuffled.warnings if "order" in text]


def test_shuffled_images_are_not_warned_about(rng: np.random.Generator) -> None:
    logits = torch.from_numpy(rng.standard_normal((2000, 10)) * 3)
    assert not [text for text in result_of(logits).warnings if "order" in text]


def test_the_seed_matters_and_is_kept(rng: np.random.Generator) -> None:
    logits = torch.from_numpy(rng.standard_normal((500, 10)) * 3)
    one, same, other = (result_of(logits, shuffle=True, seed=seed) for seed in (1, 1, 2))
    assert (one.value, one.protocol["seed"]) == (same.value, 1)
    assert one.value != other.value


@pytest.mark.parametrize("n", [0, 1, 10, 19])
def test_a_split_of_one_image_is_refused(n: int) -> None:
    """It would score exactly 1, whatever it shows."""
    with pytest.raises(StatisticsError, match=f"at least two images in each, 20 in all, got {n}; give more images"):
        result_of(torch.randn(n, 5))


@pytest.mark.parametrize("protocol", ["pytorch-fid", "clean-fid"])
def test_tools_without_an_inception_score(protocol: str) -> None:
    with pytest.raises(OptionError, match=r"has no Inception Score; expected one of tensorflow, adm, torch-fidelity"):
        result_of(torch.randn(100, 5), protocol)


@pytest.mark.parametrize("limit", [1, 5000, 10**9])
def test_spilling_to_disk_changes_nothing(rng: np.random.Generator, limit: int) -> None:
    x = torch.from_numpy(rng.standard_normal((999, 7))).float()
    store = Samples(memory_limit=limit)
    for batch in x.split(13):
        store.update(batch)
    assert store.count == 999
    for rows in (1, 100, 10_000) if limit != 1 else (100,):
        blocks = list(store.blocks(rows))
        assert max(map(len, blocks)) <= rows
        torch.testing.assert_close(torch.cat(blocks), x, rtol=0, atol=0)
    store.update(x[:5])
    assert len(torch.cat(list(store.blocks()))) == 1004


def test_spilled_memory_is_flat() -> None:
    store = Samples(memory_limit=10_000)
    for _ in range(100):
        store.update(torch.randn(50, 20))
        assert sum(piece.nbytes for piece in store._held.pieces()) <= 10_000
    assert sum(map(len, store.blocks())) == 5000


def test_probabilities_in_place_of_logits_are_refused(rng: np.random.Generator) -> None:
    logits = rng.standard_normal((60, 4)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    right = np.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    for vectors in (logits, np.log(p)):
        assert gm.metrics.inception_score(vectors, splits=1) == pytest.approx(right, rel=1e-12)
        score = gm.evaluate(None, vectors, ["is"], features_are="net:logits", splits=1)["is"]
        assert score.value == pytest.approx(right, rel=1e-12)
    for wrong in (p, p.astype(np.float16), np.eye(4)[[0, 1, 2, 3] * 15]):
        with pytest.raises(StatisticsError, match="over logits, and these are probabilities"):
            gm.metrics.inception_score(wrong, splits=1)
        with pytest.raises(StatisticsError, match="over logits, and these are probabilities"):
            gm.evaluate(None, wrong, ["is"], features_are="net:logits", splits=1)
