"""How sure precision, recall, density and coverage are: their replicates and intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics.prdc import membership
from tests.helpers.manifolds import NAMES, fed, two_sides


def test_replicates_are_means_over_drawn_images(rng: np.random.Generator) -> None:
    features = two_sides(rng)
    metric = fed(*features)
    drawn = metric.replicates(4000, 3)
    members = membership(*features, device="cpu")
    assert list(drawn) == list(NAMES)
    for name, values in drawn.items():
        of_each = getattr(members, name)
        assert len(of_each) == len(features[name in ("precision", "density")])
        assert float(values.mean()) == pytest.approx(float(of_each.mean()), abs=5 * float(values.std()) / 4000**0.5)
        if name != "coverage":  # whose balls move too
            error = float(of_each.std(correction=0)) / len(of_each) ** 0.5
            assert float(values.std()) == pytest.approx(error, rel=0.06)
    assert not torch.equal(drawn["precision"], metric.replicates(4000, 4)["precision"])


def test_a_share_of_one_has_no_interval() -> None:
    """Drawn anew it would stay 1, and an interval of no width would say that it is certain."""
    grid = torch.arange(40.0)[:, None]
    assert list(fed(grid, torch.cat([grid, grid[:3]])).replicates(100, 0)) == ["density"]


def test_coverage_of_few_reals_has_no_interval(rng: np.random.Generator) -> None:
    real, fake = (torch.from_numpy(rng.standard_normal((n, 2))) for n in (8, 40))
    assert "coverage" not in fed(real, fake + 1).replicates(100, 0)
    assert "coverage" in fed(torch.cat([real, fake]), fake + 1).replicates(100, 0)


def shares_held(trials: int, n: int, dim: int, rng: np.random.Generator) -> dict[str, float]:
    """How often an interval holds the value that it is for, which is the mean over all trials.

    Precision and density: one set of reals, new fakes in each trial. Recall and coverage: one set of fakes, new reals.
    """

    def draw(shift: float) -> Tensor:
        return torch.from_numpy(rng.standard_normal((n, dim)) + shift)

    real, fake = draw(0), draw(0.6)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in NAMES}
    for trial in range(trials):
        tried = {("precision", "density"): fed(real, draw(0.6)), ("recall", "coverage"): fed(draw(0), fake)}
        for names, metric in tried.items():
            replicates = metric.replicates(500, trial)
            for name in names:
                value = metric.results()[name].value
                found[name].append((value, *interval(value, replicates[name])))
    values, low, high = torch.tensor([found[name] for name in NAMES], dtype=torch.float64).unbind(dim=2)
    target = values.mean(dim=1, keepdim=True)
    return dict(zip(NAMES, ((low <= target) & (target <= high)).double().mean(dim=1).tolist(), strict=True))


def test_intervals_hold_their_target(rng: np.random.Generator) -> None:
    for name, share in shares_held(60, 150, 3, rng).items():
        assert share >= 0.85, name


@pytest.mark.slow
@pytest.mark.parametrize("dim", [3, 12])
def test_intervals_hold_their_target_closely(dim: int, rng: np.random.Generator) -> None:
    for name, share in shares_held(600, 300, dim, rng).items():
        assert 0.915 <= share <= 0.985, name
