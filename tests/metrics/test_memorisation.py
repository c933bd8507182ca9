"""Authenticity and MiFID: does a generator copy its training images? By hand, in closed form, against the peers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.authenticity import Authenticity, authentic
from ganmetrics.metrics.mifid import MemorizationInformedDistance, least_cosine_distances
from ganmetrics.protocols import PROTOCOLS, MetricOptions
from tests.conftest import write_folder
from tests.helpers.commands import PIXELS, Cli


def fed(metric, real: Tensor, fake: Tensor):
    metric.update(real, "real")
    metric.update(fake, "fake")
    return metric


def authenticity(real: Tensor, fake: Tensor) -> float:
    return fed(Authenticity(device="cpu"), real, fake).compute().value


def mifid(real: Tensor, fake: Tensor, protocol: str = "tensorflow") -> MemorizationInformedDistance:
    metric = MemorizationInformedDistance.configured(PROTOCOLS[protocol], MetricOptions(device="cpu"))
    return fed(metric, real, fake)


def features(rng: np.random.Generator, n: int, dim: int = 24) -> Tensor:
    """Not negative, as a network's are; float32."""
    mixing = np.random.default_rng(3).standard_normal((6, dim))
    found = rng.standard_normal((n, 6)) @ mixing + 0.3 * rng.standard_normal((n, dim)) + 1
    return torch.from_numpy(np.maximum(found, 0)).float()


def signed(rng: np.random.Generator, n: int, dim: int = 24) -> Tensor:
    return torch.from_numpy(rng.standard_normal((n, dim))).float()


# --- authenticity


def test_authenticity_by_hand() -> None:
    """Reals 0, 1, 5 are 1, 1 and 4 from their nearest other."""
    real = torch.tensor([[0.0], [1.0], [5.0]])
    fake = torch.tensor([[-1.0], [-1.5], [0.3], [8.9], [9.1], [5.0]])
    assert authentic(real, fake, device="cpu").tolist() == [0, 1, 0, 0, 1, 0]  # -1 is as far as the other: not further
    assert authenticity(real, fake) == 2 / 6


def test_copies_are_not_authentic_and_neither_are_copies_with_noise(rng: np.random.Generator) -> None:
    real = features(rng, 200)
    assert authenticity(real, real) == 0
    assert authenticity(real, real + 1e-3 * signed(rng, 200)) == 0
    assert authenticity(real, real + 100) == 1


@pytest.mark.parametrize(("dim", "union"), [(1, 3 / 2), (2, 4 / 3 + 3**0.5 / (2 * np.pi)), (3, 27 / 16)])
def test_closed_form_of_authenticity_where_fakes_are_new(dim: int, union: float, rng: np.random.Generator) -> None:
    """A fake of the reals' own distribution is authentic unless it and its nearest real are nearest to each other.

    Clark & Evans 1955, Pickard 1982: the chance of that is the volume of a ball over that of the union of two, each
    with its centre on the surface of the other. It falls to one half as dimensions grow.
    """
    trials, n = 30, 500
    drawn = [authenticity(*(torch.from_numpy(rng.random((n, dim))) for _ in range(2))) for _ in range(trials)]
    edges = {1: 0.002, 2: 0.01, 3: 0.02}[dim]  # in a box, not in all space
    assert np.mean(drawn) == pytest.approx(1 - 1 / union, abs=4 * np.std(drawn) / trials**0.5 + edges)


@pytest.mark.parametrize("draw", [features, signed])
def test_authenticity_equals_auth_pct(draw, rng: np.random.Generator) -> None:
    """The definition of dgm-eval's AuthPct, over whole matrices; its percent are a share here."""
    real, fake = draw(rng, 150).double(), draw(rng, 130).double()
    among_real = np.linalg.norm(real.numpy()[:, None] - real.numpy()[None], axis=2)
    np.fill_diagonal(among_real, np.inf)
    across = np.linalg.norm(real.numpy()[:, None] - fake.numpy()[None], axis=2)
    percent = 100 * np.mean(among_real.min(axis=0)[across.argmin(axis=0)] < across.min(axis=0))
    assert 0 < percent < 100
    assert authenticity(real, fake) == pytest.approx(percent / 100, rel=1e-12)


def test_authenticity_needs_images() -> None:
    with pytest.raises(StatisticsError, match=r"^authenticity needs at least 2 real images, got 1$"):
        authenticity(torch.ones(1, 3), torch.ones(5, 3))
    with pytest.raises(StatisticsError, match=r"^authenticity needs at least 1 fake image, got 0$"):
        authenticity(torch.ones(3, 3), torch.ones(0, 3))


def test_authenticity_warns_of_few_fakes(rng: np.random.Generator) -> None:
    result = fed(Authenticity(), features(rng, 40), features(rng, 100)).compute()
    assert result.warnings == ["100 fake images: a standard error up to 0.05; give at least 1000"]
    assert not fed(Authenticity(), features(rng, 40), features(rng, 1000)).compute().warnings


def intervals_hold(trials: int, n: int, rng: np.random.Generator) -> float:
    """How often the interval holds the share among endlessly many fakes, for one training set."""
    real = features(rng, n)
    target = authenticity(real, features(rng, 20_000))
    hits = 0
    for trial in range(trials):
        metric = fed(Authenticity(device="cpu"), real, features(rng, n))
        low, high = interval(metric.compute().value, metric.replicates(400, trial)["authenticity"])
        hits += low <= target <= high
    return hits / trials


def test_intervals_of_authenticity_hold_their_target(rng: np.random.Generator) -> None:
    assert 0.88 <= intervals_hold(120, 150, rng) <= 0.995


@pytest.mark.slow
def test_intervals_of_authenticity_hold_their_target_closely(rng: np.random.Generator) -> None:
    assert intervals_hold(1500, 400, rng) == pytest.approx(0.95, abs=0.02)


# --- MiFID


def all_cosine_distances(own: Tensor, other: Tensor) -> np.ndarray:
    x, y = own.double().numpy(), other.double().numpy()
    cosine = x @ y.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(y, axis=1)
    return 1 - np.abs(cosine)


@pytest.mark.parametrize("draw", [features, signed])
def test_least_cosine_distances(draw, rng: np.random.Generator) -> None:
    own, other = draw(rng, 90), draw(rng, 110)
    expected = all_cosine_distances(own, other).min(axis=1)
    found = least_cosine_distances(own, other, device="cpu")
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(least_cosine_distances(own.double(), other.double()).numpy(), expected, rtol=1e-12)


def test_opposite_and_scaled_vectors_are_copies(rng: np.random.Generator) -> None:
    """The cosine does not see lengths, and the absolute value no signs; what is near is measured without cancelling."""
    own = signed(rng, 30).double()
    assert least_cosine_distances(own, -3 * own).max() < 1e-15
    beside = own + 1e-7 * signed(rng, 30).double()
    angle = beside / beside.norm(dim=1, keepdim=True) - own / own.norm(dim=1, keepdim=True)
    torch.testing.assert_close(least_cosine_distances(own, beside), angle.square().sum(dim=1) / 2, rtol=1e-6, atol=0)


def test_vectors_without_direction_are_left_out(rng: np.random.Generator) -> None:
    own, other = features(rng, 20), features(rng, 30)
    zeros = torch.zeros(3, 24)
    expected = least_cosine_distances(own, other)
    assert torch.equal(least_cosine_distances(torch.cat([zeros, own]), torch.cat([other, zeros])), expected)
    with pytest.raises(StatisticsError, match=r"^a cosine distance needs vectors that are not 0, and all are$"):
        least_cosine_distances(own, zeros)


def theirs(first: Tensor, second: Tensor) -> float:
    """MiFID by torchmetrics' own functions, in float64 as it does by `set_dtype`."""
    peer = pytest.importorskip("torchmetrics.image.mifid", reason="a peer; pip install 'ganmetrics[peers]'")
    sides = [side.double() for side in (first, second)]
    moments = [(side.mean(dim=0), torch.cov(side.T), side) for side in sides]
    return float(peer._mifid_compute(*moments[0], *moments[1]))


@pytest.mark.parametrize("spread", [0.05, 0.3, 3.0])
@pytest.mark.parametrize("over", ["real", "fake"])
def test_equals_torchmetrics(spread: float, over: str, rng: np.random.Generator) -> None:
    """Which side the mean is over is the order of the arguments; the class hands them in as (real, fake)."""
    real = features(rng, 120)
    fake = torch.from_numpy(np.maximum(features(rng, 100).numpy() + spread * rng.standard_normal((100, 24)), 0)).float()
    metric = mifid(real, fake, "torchmetrics" if over == "real" else "tensorflow")
    expected = theirs(real, fake) if over == "real" else theirs(fake, real)
    assert metric.compute().value == pytest.approx(expected, rel=1e-6)
    assert metric.compute().protocol["memorisation_over"] == over


def test_equals_the_torchmetrics_class(rng: np.random.Generator) -> None:
    peer = pytest.importorskip("torchmetrics.image.mifid", reason="a peer; pip install 'ganmetrics[peers]'")

    class Flat(torch.nn.Module):
        num_features = 12

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).float()

    whole = peer.MemorizationInformedFrechetInceptionDistance(feature=Flat(), normalize=False)
    images = {
        side: torch.from_numpy(rng.integers(0, 256, (n, 3, 2, 2), dtype=np.uint8))
        for side, n in (("real", 90), ("fake", 80))
    }
    for side, stack in images.items():
        whole.update(stack, real=side == "real")
    ours = mifid(*(stack.flatten(1) for stack in images.values()), protocol="torchmetrics").compute()
    assert float(whole.compute()) == pytest.approx(ours.value, rel=1e-4)  # its distances are float32
    assert ours.protocol["memorisation_distance"] < 0.1


def test_the_default_sees_a_copying_generator_and_torchmetrics_a_copied_training_set(rng: np.random.Generator) -> None:
    """A generator that gives ten training images again and again: every fake is a copy, few reals are copied."""
    real = signed(rng, 300)
    fake = real[torch.arange(200) % 10] + 1e-3 * signed(rng, 200)
    ours, peer = mifid(real, fake).compute(), mifid(real, fake, "torchmetrics").compute()
    assert ours.protocol["memorisation_distance"] < 1e-5
    assert peer.protocol["memorisation_distance"] > 0.1
    assert ours.value > 1000 * peer.value


def test_above_the_threshold_it_is_fid(rng: np.random.Generator) -> None:
    from ganmetrics.metrics.fid import FrechetDistance

    real, fake = signed(rng, 150), signed(rng, 150)
    result = mifid(real, fake).compute()
    assert result.protocol["memorisation_distance"] > 0.1
    assert result.value == fed(FrechetDistance(), real, fake).compute().value
    assert not any("cosine" in warning for warning in result.warnings)


def test_below_the_threshold_it_says_so(rng: np.random.Generator) -> None:
    result = mifid(features(rng, 120), features(rng, 120)).compute()
    m = result.protocol["memorisation_distance"]
    assert result.protocol["threshold"] == 0.1
    assert result.warnings[-1] == (
        f"the mean cosine distance from each fake to its nearest real image is {m:.3g}, below 0.1: the value is "
        f"FID {result.value * m:.4g} divided by it; look whether the generator copies"
    )


def test_ddof_is_that_of_its_fid(rng: np.random.Generator) -> None:
    """It was ignored: what was divided was the FID with n - 1."""
    real, fake = features(rng, 40), features(rng, 40)
    values = {}
    for ddof in (0, 1):
        options = MetricOptions(ddof=ddof)
        metrics = [METRICS[name].load().configured(PROTOCOLS["tensorflow"], options) for name in ("fid", "mifid")]
        for metric in metrics:
            metric.update(real, "real")
            metric.update(fake, "fake")
        frechet, result = (metric.compute() for metric in metrics)
        m = result.protocol["memorisation_distance"]
        values[ddof] = result.value
        assert result.value == pytest.approx(frechet.value / (m if m < 0.1 else 1), rel=1e-9)
        assert result.protocol["ddof"] == ddof
    assert values[0] != values[1]
    with pytest.raises(OptionError, match=r"^--ddof: expected 1 \(divide by n - 1\) or 0 \(by n\), got 2$"):
        METRICS["mifid"].load().configured(PROTOCOLS["tensorflow"], MetricOptions(ddof=2))


def test_nought_over_nought_is_refused(rng: np.random.Generator) -> None:
    """By torchmetrics it is 0, the best score there is, for a generator that returns its training set."""
    real = features(rng, 60)
    assert theirs(real, real) == 0
    with pytest.raises(StatisticsError, match="the fakes are copies of the real images"):
        mifid(real, real.clone()).compute()


def test_replicates_of_mifid(rng: np.random.Generator) -> None:
    """Over fakes, against the value recomputed on drawn fakes; none where the mean is over reals."""
    real, fake = features(rng, 400, 4), features(rng, 400, 4) + 0.5
    metric = mifid(real, fake)
    drawn = metric.replicates(1000, 1)["mifid"]
    low, high = interval(metric.compute().value, drawn)
    again = [mifid(real, features(rng, 400, 4) + 0.5).compute().value for _ in range(60)]
    assert float(drawn.std()) == pytest.approx(float(np.std(again)), rel=0.4)
    assert low < np.mean(again) < high
    assert mifid(real, fake, "torchmetrics").replicates(100, 1) == {}


def test_command_line(cli: Cli, rng: np.random.Generator, tmp_path: Path) -> None:
    for name, n in (("real", 70), ("fake", 65)):
        write_folder(tmp_path / name, rng.integers(0, 256, (n, 2, 2, 3), dtype=np.uint8))
    for name in ("authenticity", "mifid"):
        (row,) = cli(name, "real", "fake", *PIXELS, "--json").scores
        score = gm.evaluate("real", "fake", [name], features="pixels", confidence=True)[name]
        assert (row["metric"], row["value"]) == (f"{name}-pixels", float(score))
        low, high = score.interval
        assert low < float(score) < high
        assert score.protocol["held_fixed"] == "the real images (the training set)"
        ran = cli(name, "real", "fake", *PIXELS, "--confidence")
        assert "; interval with the real images (the training set) held fixed" in ran.out
        assert "held_fixed" not in row["protocol"]
