"""Repeated images: what they do to metrics of neighbours, and that it is said, with the number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.metrics.prdc import NAEEM, PRDC, Manifold
from tests.conftest import write_folder
from tests.helpers.commands import Cli
from tests.helpers.manifolds import fed

REPEATED = (
    "{} of {} {} images are repeated (another has the same features): with k = {} {}; remove the repeats, or give "
)
EMPTY, FEWER = "the balls of {} reach no further than a repeat", "their balls reach fewer others"


def said(metric: PRDC) -> dict[str, list[str]]:
    return {name: [text for text in result.warnings if "repeated" in text] for name, result in metric.results().items()}


@pytest.mark.parametrize(("times", "k"), [(2, 1), (3, 2), (4, 3), (7, 5)])
def test_images_that_occur_more_than_k_times(times: int, k: int, rng: np.random.Generator) -> None:
    """Every image three times and k = 2: all radii are 0, and so is all of PRDC; nothing was said."""
    one, other = (torch.from_numpy(rng.standard_normal((30, 4))) for _ in range(2))
    real = one.repeat(times, 1)
    metric = fed(real, other, precision_recall=Manifold(k, closed=True), density_coverage=Manifold(k, closed=False))
    n = 30 * times
    expected = REPEATED.format(n, n, "real", k, EMPTY.format(n))
    assert metric.results()["precision"].value == metric.results()["coverage"].value == 0
    for name, texts in said(metric).items():
        assert len(texts) == (name != "recall")
        assert all(text.startswith(expected) for text in texts)
    (text,) = said(fed(other, real, precision_recall=Manifold(k, closed=True)))["recall"]
    assert text.startswith(expected.replace("real", "fake"))


def test_some_repeats(rng: np.random.Generator) -> None:
    """None is named below a tenth, unless a ball is empty."""
    one, fake = (torch.from_numpy(rng.standard_normal((100, 4))) for _ in range(2))

    def texts(*counts: int) -> list[str]:
        copies = torch.cat([one[i : i + 1].repeat(count, 1) for i, count in enumerate(counts)])
        return said(fed(torch.cat([one[len(counts) :], copies]), fake, density_coverage=NAEEM))["density"]

    assert texts(*[2] * 4) == []
    assert texts(*[2] * 8)[0].startswith(REPEATED.format(16, 108, "real", 3, FEWER))
    assert texts(4)[0].startswith(REPEATED.format(4, 103, "real", 3, EMPTY.format(4)))


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e200])
def test_repeats_of_a_network_differ_by_rounding(size: float, rng: np.random.Generator) -> None:
    one, fake = (torch.from_numpy(size * rng.standard_normal((60, 20))) for _ in range(2))
    rounded = one * (1 + 1e-7 * torch.from_numpy(rng.standard_normal((60, 20))))
    assert said(fed(torch.cat([one, rounded]), fake))["density"][0].startswith("120 of 120 real images are repeated ")
    assert not said(fed(torch.cat([one, one * 1.01]), fake))["density"]


def test_command_line(cli: Cli, rng: np.random.Generator, tmp_path: Path) -> None:
    pixels = rng.integers(0, 256, (12, 2, 2, 3), dtype=np.uint8)
    write_folder(tmp_path / "real", np.concatenate([pixels] * 3))
    write_folder(tmp_path / "fake", rng.integers(0, 256, (20, 2, 2, 3), dtype=np.uint8))
    ran = cli("prdc", "real", "fake", "--features", "pixels", "--k", "2", "--quiet")
    assert ran.code == 0
    assert "36 of 36 real images are repeated" in ran.err
    scores = gm.prdc("real", "fake", features="pixels")
    assert "36 of 36 real images are repeated" in " ".join(scores["density"].warnings)
