"""KID over subsets: the draws of the tools themselves on the same features, and what a draw adds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from ganmetrics.errors import OptionError
from ganmetrics.metrics.kid import KernelInceptionDistance, kernel_distance, subset_distances
from ganmetrics.protocols import PROTOCOLS, MetricOptions, Subsets
from tests.conftest import peer
from tests.helpers.kernels import like_inception, metric_of, store


def torch_fidelity(x: np.ndarray, y: np.ndarray, size: int, seed: int) -> tuple[float, float]:
    found = peer("torch_fidelity.metric_kid").kid_features_to_metric(
        torch.from_numpy(y), torch.from_numpy(x), kid_subset_size=size, rng_seed=seed, verbose=False
    )
    return found["kernel_inception_distance_mean"], found["kernel_inception_distance_std"]


def torchmetrics(x: np.ndarray, y: np.ndarray, size: int, seed: int) -> tuple[float, float]:
    kid = peer("torchmetrics.image.kid")
    theirs = kid.KernelInceptionDistance(feature=nn.Identity(), subset_size=size).set_dtype(torch.float64)
    theirs.update(torch.from_numpy(x), real=True)
    theirs.update(torch.from_numpy(y), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, std = theirs.compute()
    return float(mean), float(std)


def clean_fid(x: np.ndarray, y: np.ndarray, size: int, seed: int) -> tuple[float, None]:
    fid = peer("cleanfid.fid")
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        return fid.kernel_distance(x, y, max_subset_size=size), None
    finally:
        np.random.set_state(before)


PEER: dict[str, Callable[..., tuple[float, float | None]]] = {
    "torch-fidelity": torch_fidelity,
    "torchmetrics": torchmetrics,
    "clean-fid": clean_fid,
}


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
@pytest.mark.parametrize("protocol", PEER)
@pytest.mark.parametrize("seed", [None, 7])
def test_subsets_of_the_tools(rng: np.random.Generator, protocol: str, seed: int | None) -> None:
    x, y = like_inception(rng, 90), like_inception(rng, 120, shift=0.1)
    mean, std = PEER[protocol](x, y, 50, {"torch-fidelity": 2020}.get(protocol, 0) if seed is None else seed)
    options = {"subset_size": 50} | ({} if seed is None else {"seed": seed})
    result = metric_of(x, y, protocol, **options).compute()
    assert result.value == pytest.approx(mean, rel=1e-9)
    assert std is None or result.spread == pytest.approx(std, rel=1e-9)
    assert result.warnings == []
    assert (result.protocol["subsets"], result.protocol["subset_size"]) == (100, 50)


def test_the_tools_draw_apart(rng: np.random.Generator) -> None:
    """Or the test above would not see who draws first, and how."""
    x, y = like_inception(rng, 90), like_inception(rng, 90, shift=0.1)
    values = [metric_of(x, y, protocol, subset_size=50, seed=7).compute().value for protocol in PEER]
    assert values[0] != pytest.approx(values[1], rel=1e-4)
    swapped = subset_distances(store(x), store(y), Subsets(size=50, first="real", seed=7)).mean()
    assert float(swapped) != pytest.approx(values[0], rel=1e-4)
    assert values[0] == pytest.approx(values[2], rel=1e-12)  # torch-fidelity's and clean-fid's differ in the seed alone


@pytest.mark.parametrize("protocol", PEER)
def test_shrunk_subsets(rng: np.random.Generator, protocol: str) -> None:
    """clean-fid does the same without a word; torch-fidelity and torchmetrics refuse."""
    x, y = like_inception(rng, 20, 8), like_inception(rng, 30, 8, shift=0.1)
    result = metric_of(x, y, protocol, subsets=3).compute()
    assert result.protocol["subset_size"] == 20
    assert list(result.warnings) == [
        "subsets of 1000 need as many images a side, got 20 real and 30 fake: they were shrunk to 20; "
        "compare only at this size"
    ]
    if protocol == "clean-fid":
        assert result.value == pytest.approx(metric_of(x, y, protocol, subsets=3, subset_size=20).compute().value)


def test_the_mean_over_all_subsets_is_the_estimate_over_all_pairs(rng: np.random.Generator) -> None:
    """Every subset of four among six: the expectation of a mean over drawn ones, exactly."""
    x, y = like_inception(rng, 6), like_inception(rng, 6, shift=0.1)
    choices = [list(choice) for choice in itertools.combinations(range(6), 4)]
    values = [kernel_distance(store(x[one]), store(y[other]))[0] for one in choices for other in choices]
    assert np.mean(values) == pytest.approx(kernel_distance(store(x), store(y))[0], rel=1e-10)


def test_drawn_subsets_scatter_about_it(rng: np.random.Generator) -> None:
    x, y = like_inception(rng, 200, 16), like_inception(rng, 150, 16, shift=0.1)
    values = subset_distances(store(x), store(y), Subsets(count=400, size=40))
    error = float(values.std()) / math.sqrt(len(values))
    assert abs(float(values.mean()) - kernel_distance(store(x), store(y))[0]) < 4 * error


def test_an_interval_over_subsets_holds_the_draw_too(rng: np.random.Generator) -> None:
    x, y = like_inception(rng, 300, 16), like_inception(rng, 300, 16, shift=0.1)
    drawn = metric_of(x, y, subsets=4, subset_size=20)
    every, over_subsets = (float(metric.replicates(400, 1)["kid"].var()) for metric in (metric_of(x, y), drawn))
    of_draw = float(subset_distances(*drawn.statistics.values(), Subsets(4, 20)).var(correction=0)) / 4
    assert over_subsets == pytest.approx(every + of_draw, rel=0.3)
    assert over_subsets > 1.5 * every


def test_options_and_protocols() -> None:
    def subsets(protocol: str, **options: int) -> Subsets | None:
        return KernelInceptionDistance.configured(PROTOCOLS[protocol], MetricOptions(**options)).subsets

    assert subsets("tensorflow") is None
    assert subsets("pytorch-fid") is None
    assert subsets("tensorflow", seed=3) is None
    assert subsets("tensorflow", subset_size=50) == Subsets(100, 50)
    assert subsets("torch-fidelity") == Subsets(100, 1000, "numpy", "fake", 2020)
    assert subsets("torchmetrics", subsets=5, seed=1) == Subsets(5, 1000, "torch", "real", 1)
    for wrong in ({"subsets": 0}, {"subset_size": 1}):
        with pytest.raises(OptionError, match=r"^--subset\S+: expected a whole number of at least"):
            subsets("tensorflow", **wrong)
