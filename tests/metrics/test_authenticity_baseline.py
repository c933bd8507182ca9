"""What fresh real images of a set score on authenticity, which stands beside the score of the fakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.metrics.authenticity import Authenticity, authentic, fresh
from ganmetrics.protocols import PROTOCOLS, MetricOptions
from tests.conftest import write_folder
from tests.helpers.commands import Cli


def by_halves(real: np.ndarray, seed: int) -> float:
    """Each half against the other, over whole matrices of distances."""
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed)).numpy()
    halves = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
    found = []
    for own, other in (halves, halves[::-1]):
        across = np.square(own[:, None] - other).sum(axis=2)
        among = np.square(other[:, None] - other).sum(axis=2)
        np.fill_diagonal(among, np.inf)
        found += list(across.min(axis=1) > among.min(axis=1)[across.argmin(axis=1)])
    return float(np.mean(found))


@pytest.mark.parametrize(("n", "dim"), [(4, 2), (5, 3), (9, 1), (150, 2), (401, 20)])
@pytest.mark.parametrize("seed", [0, 7])
def test_each_half_against_the_other(n: int, dim: int, seed: int, rng: np.random.Generator) -> None:
    real, fake = (torch.from_numpy(rng.standard_normal((m, dim))) for m in (n, 30))
    metric = Authenticity.configured(PROTOCOLS["tensorflow"], MetricOptions(seed=seed, device="cpu"))
    metric.update(real, "real")
    metric.update(fake, "fake")
    protocol = metric.compute().protocol
    assert protocol["fresh_real"] == pytest.approx(by_halves(real.numpy(), seed), abs=1e-12)
    assert protocol["seed"] == seed


def test_images_whose_neighbours_all_lie_in_one_half(rng: np.random.Generator) -> None:
    """Images sorted so that a half holds whole clusters: the eight nearest of none lie in the other half."""
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0)).numpy()
    real = np.empty((60, 2))
    real[order] = rng.standard_normal((60, 2)) + 100 * (np.arange(60) // 10)[:, None]
    assert float(fresh(torch.from_numpy(real), device="cpu").mean()) == by_halves(real, 0)


@pytest.mark.parametrize(("dim", "share"), [(2, 0.40), (10, 0.63), (100, 0.84)])
def test_fresh_images_score_what_the_halves_say(dim: int, share: float, rng: np.random.Generator) -> None:
    """It was said to be a third to a half for all; that holds where density is the same all around."""
    real, new = (torch.from_numpy(rng.standard_normal((2000, dim))) for _ in range(2))
    told = float(fresh(real, device="cpu").mean())
    assert told == pytest.approx(float(authentic(real, new, device="cpu").mean()), abs=0.06)
    assert told == pytest.approx(share, abs=0.05)


def test_too_few_to_halve(rng: np.random.Generator) -> None:
    metric = Authenticity(device="cpu")
    metric.update(torch.from_numpy(rng.standard_normal((3, 2))), "real")
    metric.update(torch.from_numpy(rng.standard_normal((3, 2))), "fake")
    assert metric.compute().protocol == {}


def test_repeated_real_images(rng: np.random.Generator) -> None:
    """Their gap is 0, so that any fake but a copy is authentic."""
    real, fake = (torch.from_numpy(rng.standard_normal((50, 3))) for _ in range(2))
    metric = Authenticity(device="cpu")
    metric.update(torch.cat([real, real]), "real")
    metric.update(fake, "fake")
    result = metric.compute()
    assert result.value == 1
    assert result.warnings[-1] == (
        "50 of 50 fake images are nearest to a real image that is repeated (another has the same features), and are "
        "authentic unless they are copies; remove the repeats"
    )


def test_it_is_printed_beside_the_score(cli: Cli, rng: np.random.Generator, tmp_path: Path) -> None:
    pixels = {name: rng.integers(0, 256, (n, 2, 2, 3), dtype=np.uint8) for name, n in (("real", 70), ("fake", 65))}
    for name, images in pixels.items():
        write_folder(tmp_path / name, images)
    told = by_halves(pixels["real"].reshape(70, 12).astype(np.float64), 0)
    score = gm.evaluate("real", "fake", ["authenticity"], features="pixels")["authenticity"]
    assert score.protocol["fresh_real"] == pytest.approx(told, abs=1e-12)
    assert f"; fresh real images {told:.4f}" in cli("authenticity", "real", "fake", "--features", "pixels").out
