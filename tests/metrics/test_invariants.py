"""What holds for every metric of the index. A metric that is added and not drawn for here fails."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import get_origin

import numpy as np
import pytest
import torch

import ganmetrics.metrics
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.base import Metric
from ganmetrics.protocols import PROTOCOLS, MetricOptions

# What each metric reads: (vectors of a side drawn from a seed, dimensions).
DRAW = {
    "fid": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "fid-infinity": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "sfid": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "is": lambda rng, shift: rng.standard_normal((257, 20)) * 3 + shift,
    "kid": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "cmmd": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "class-fid": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "intra-class-diversity": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "ms-ssim": lambda rng, shift: rng.random((24, 176 * 176)) + shift,
    "vendi": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "prdc": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "authenticity": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "mifid": lambda rng, shift: rng.standard_normal((257, 20)) + shift,
    "parzen": lambda rng, shift: rng.random((257, 20)) + shift,
    "reconstruction": lambda rng, shift: rng.random((257, 20)) + shift,
}
# Metrics that depend on the order in the protocol asked for below: splits are by index, not torch-fidelity's shuffle;
# a reconstruction belongs to its own test image, so that one side alone may not be mixed; FID-infinity draws its
# subsets by index; classes stay where they are while the vectors are mixed.
ORDERED = {"is", "reconstruction", "fid-infinity", "class-fid", "intra-class-diversity", "ms-ssim"}


def test_every_metric_is_drawn_for() -> None:
    assert set(DRAW) == set(METRICS)


def test_every_metric_file_is_in_the_index() -> None:
    found = set()
    for module in pkgutil.iter_modules(ganmetrics.metrics.__path__):
        for value in vars(importlib.import_module(f"ganmetrics.metrics.{module.name}")).values():
            if get_origin(value) is not None:
                continue  # `tuple[str, ...]` is an instance of `type` to Python 3.10
            if isinstance(value, type) and issubclass(value, Metric) and not inspect.isabstract(value):
                found.add(value)
    assert found == {entry.load() for entry in METRICS.values()}


@pytest.fixture(params=METRICS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def fresh(name: str) -> Metric:
    return METRICS[name].load().configured(PROTOCOLS["tensorflow"], MetricOptions())


def sides_of(name: str, seed: int = 3) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return {side: torch.from_numpy(DRAW[name](rng, i * 0.3)) for i, side in enumerate(METRICS[name].sides)}


def fed(name: str, sides: dict[str, torch.Tensor], batch: int = 1000) -> Metric:
    metric = fresh(name)
    metric.image_shape = (1, 176, 176) if METRICS[name].smallest else None
    for side, vectors in sides.items():
        for part in vectors.split(batch):
            metric.update(part, side)
        if metric.labelled:
            metric.labels[side] = [f"class {i % 3}" for i in range(len(vectors))]
    return metric


def values(metric: Metric) -> dict[str, float]:
    return {name: result.value for name, result in metric.results().items()}


def values_of(name: str, sides: dict[str, torch.Tensor], batch: int = 1000) -> dict[str, float]:
    return values(fed(name, sides, batch))


def test_every_value_is_in_the_index(name: str) -> None:
    assert list(values_of(name, sides_of(name))) == list(METRICS[name].values)


@pytest.mark.parametrize("batch", [1, 10, 100])
def test_whole_and_split_agree(name: str, batch: int) -> None:
    assert values_of(name, sides_of(name), batch) == pytest.approx(values_of(name, sides_of(name)), rel=1e-10)


@pytest.mark.parametrize("cut", [1, 15, 200])
def test_merged_shards_agree(name: str, cut: int) -> None:
    sides = sides_of(name)
    whole = fed(name, sides)
    one = fed(name, {side: vectors[:cut] for side, vectors in sides.items()})
    one.merge(fed(name, {side: vectors[cut:] for side, vectors in sides.items()}))
    one.labels = whole.labels
    assert values(one) == pytest.approx(values(whole), rel=1e-10)


def test_permutation(name: str) -> None:
    sides = sides_of(name)
    mixed = {side: vectors[torch.randperm(len(vectors))] for side, vectors in sides.items()}
    if name in ORDERED:
        assert values_of(name, mixed) != values_of(name, sides)
    else:
        assert values_of(name, mixed) == pytest.approx(values_of(name, sides), rel=1e-10)


def test_float32_vectors_lose_only_their_own_rounding(name: str) -> None:
    short = {side: vectors.float() for side, vectors in sides_of(name).items()}
    assert values_of(name, short) == pytest.approx(values_of(name, sides_of(name)), rel=1e-5)


def test_reset_forgets(name: str) -> None:
    metric, sides = fed(name, sides_of(name, seed=9)), sides_of(name)
    metric.reset()
    for side, vectors in sides.items():
        metric.update(vectors, side)
    metric.labels = fed(name, sides).labels
    assert values(metric) == values_of(name, sides)


def test_compute_twice_and_go_on(name: str) -> None:
    sides = sides_of(name)
    metric = fed(name, {side: vectors[:100] for side, vectors in sides.items()})
    assert metric.results() == metric.results()
    for side, vectors in sides.items():
        metric.update(vectors[100:], side)
    metric.labels = fed(name, sides).labels
    assert values(metric) == pytest.approx(values_of(name, sides), rel=1e-10)
