"""How sure precision, recall, density and coverage are: values on halves of both sides, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics.numerics import ball_halves
from ganmetrics.metrics.numerics.resampling import halves
from ganmetrics.metrics.prdc import NAEEM, Manifold
from tests.helpers.manifolds import NAMES, fed, network_like, prdc, two_sides

LATTICE = "lattice"


def drawn(rng: np.random.Generator, kind: str, n: int, shift: float) -> Tensor:
    """Vectors like a network's, or few whole numbers, which have ties everywhere."""
    if kind == LATTICE:
        return torch.from_numpy(rng.integers(0, 6, (n, 3)) + round(shift)).double()
    return network_like(rng, n, 20, shift)


@pytest.mark.parametrize("kind", ["network", LATTICE])
@pytest.mark.parametrize(("n", "m"), [(157, 140), (60, 201), (12, 13)])
@pytest.mark.parametrize("same_balls", [False, True])
def test_replicates_are_values_on_halves(
    kind: str, n: int, m: int, same_balls: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the metric itself has them of these images alone, if all neighbours are known."""
    monkeypatch.setattr(ball_halves, "reach_of", lambda k, n: n - 1)
    real, fake = drawn(rng, kind, n, 0.0), drawn(rng, kind, m, 0.6)
    balls = {"precision_recall": NAEEM} if same_balls else {}
    metric = fed(real, fake, **balls)
    found = metric.replicates(25, 3)
    chosen = zip(halves(n, 25, 3, "real"), halves(m, 25, 3, "fake"), strict=True)
    for i, (in_real, in_fake) in enumerate(chosen):
        assert (int(in_real.sum()), int(in_fake.sum())) == (n // 2, m // 2)
        expected = prdc(real[in_real], fake[in_fake], **balls)
        assert {name: float(values[i]) for name, values in found.items()} == pytest.approx(
            {name: expected[name] for name in found}, abs=1e-12
        )
    assert found


def test_some_neighbours_are_enough(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = fed(*two_sides(rng))
    some = metric.replicates(100, 0)
    monkeypatch.setattr(ball_halves, "reach_of", lambda k, n: n - 1)
    for name, values in metric.replicates(100, 0).items():
        assert float((some[name] - values).abs().mean()) < 0.01 * float(values.std()), name


def test_replicates_depend_on_the_seed_alone(rng: np.random.Generator) -> None:
    metric = fed(*two_sides(rng))
    first, second, other = (metric.replicates(50, seed) for seed in (3, 3, 4))
    assert list(first) == list(NAMES)
    for name in NAMES:
        assert torch.equal(first[name], second[name])
        assert not torch.equal(first[name], other[name])


def test_neighbours_for_intervals_are_found_at_once(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second search with more neighbours would double the time."""
    from ganmetrics.metrics import METRICS
    from ganmetrics.metrics.numerics import neighbours
    from ganmetrics.protocols import PROTOCOLS, MetricOptions

    searched = []
    search = neighbours._nearest_squared
    monkeypatch.setattr(neighbours, "_nearest_squared", lambda *given: searched.append(given[2]) or search(*given))
    options = MetricOptions(confidence=True, device="cpu")
    metric = METRICS["prdc"].load().configured(PROTOCOLS["tensorflow"], options)
    for side, vectors in zip(("real", "fake"), two_sides(rng), strict=True):
        metric.update(vectors, side)
    metric.results()
    metric.replicates(20, 0)
    assert len(searched) == 2


def test_a_share_of_one_has_no_interval() -> None:
    """Drawn anew it would stay 1, and an interval of no width would say that it is certain."""
    grid = torch.arange(40.0)[:, None]
    assert list(fed(grid, torch.cat([grid, grid[:3]])).replicates(100, 0)) == ["density"]


def test_few_images_have_no_interval(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = (torch.from_numpy(rng.standard_normal((n, 2))) for n in (11, 40))
    metric = fed(real, fake + 1)
    assert metric.replicates(100, 0) == {}
    said = "it is from halves of both sides, which takes at least 12 images a side"
    assert metric.without_interval("density") == said
    metric = fed(real, fake[:9] + 1, density_coverage=Manifold(3, closed=False))
    assert "density" in metric.replicates(100, 0)
    monkeypatch.setattr(ball_halves, "MOST", 10)
    assert metric.replicates(100, 0) == {}
    assert metric.without_interval("density") == "more images lie in each other's balls than memory holds"


def share_held(trials: int, n: int, m: int, dim: int, rng: np.random.Generator) -> dict[str, float]:
    """How often the interval of one real and one fake set holds the mean over all such sets: both are drawn anew."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in NAMES}
    for trial in range(trials):
        real, fake = rng.standard_normal((n, dim)), rng.standard_normal((m, dim)) + 0.6
        metric = fed(torch.from_numpy(real), torch.from_numpy(fake))
        replicates, results = metric.replicates(200, trial), metric.results()
        for name in NAMES:
            value = results[name].value
            found[name].append((value, *interval(value, replicates[name])))
    values, low, high = torch.tensor([found[name] for name in NAMES], dtype=torch.float64).unbind(dim=2)
    target = values.mean(dim=1, keepdim=True)
    return dict(zip(NAMES, ((low <= target) & (target <= high)).double().mean(dim=1).tolist(), strict=True))


def test_intervals_hold_the_truth(rng: np.random.Generator) -> None:
    """They held it in 87 to 90 cases of 100 while they resampled one side."""
    for name, share in share_held(120, 150, 150, 4, rng).items():
        assert share >= 0.895, name


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m", "dim"), [(300, 300, 3), (300, 300, 12), (300, 100, 12), (150, 300, 12)])
def test_intervals_hold_the_truth_closely(n: int, m: int, dim: int, rng: np.random.Generator) -> None:
    """Never too narrow; wider than they need be by at most a third, where balls overlap much."""
    for name, share in share_held(500, n, m, dim, rng).items():
        assert 0.92 <= share <= 0.995, name
