"""Every metric over real and fake images has its class, whose batches give what `gm.evaluate` gives of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import ganmetrics as gm
from ganmetrics.metrics import METRICS, OF_IMAGES
from ganmetrics.metrics.index import SIDES
from ganmetrics.streaming import Named

OF_SAMPLES = list(OF_IMAGES)
CLASSES: dict[str, Any] = {
    kind.name: kind
    for kind in (getattr(gm, name) for name in gm.__all__)
    if isinstance(kind, type) and issubclass(kind, Named)
}
CLASSES_OF = [f"class {i % 3}" for i in range(60)]


def test_every_metric_over_samples_has_its_class() -> None:
    assert set(CLASSES) == set(OF_SAMPLES)


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    real = torch.randint(0, 256, (60, 1, 16, 16), dtype=torch.uint8)
    return real, (real.flip(0) // 2 + torch.randint(0, 128, real.shape)).to(torch.uint8)


def options(name: str, weights: Path | None = None) -> dict[str, Any]:
    """Pixels where a metric reads plain features; a network, which costs more, where it reads something else."""
    features = {"features": "pixels", "logits": "efficientnet-lite0", "spatial": "inception"}[METRICS[name].load().kind]
    given = {"features": features, "device": "cpu", "progress": False}
    return {
        **given,
        **({"splits": 2} if name == "is" else {}),
        **({"weights": weights} if features == "inception" else {}),
    }


def some(name: str, images: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The sides of a metric; few images where a network reads them, or where they must be large."""
    entry = METRICS[name]
    n = 6 if entry.smallest else 60 if entry.load().kind == "features" else 4
    sides = {side: whole[:n] for side, whole in zip(SIDES, images, strict=True) if side in entry.sides}
    larger = max(1, entry.smallest // 16)
    return {side: whole.repeat_interleave(larger, 2).repeat_interleave(larger, 3) for side, whole in sides.items()}


def fed(metric: Any, sides: dict[str, torch.Tensor]) -> dict[str, float]:
    """The values after both sides came in batches."""
    labelled = METRICS[metric.name].labelled
    for side, whole in sides.items():
        for start in range(0, len(whole), 25):
            labels = {"labels": CLASSES_OF[start : start + 25][: len(whole)]} if labelled else {}
            metric.update(whole[start : start + 25], side=side, **labels)
    return values(metric)


def values(metric: Any) -> dict[str, float]:
    found = metric.compute()
    assert isinstance(found, dict) == bool(METRICS[metric.name].parts)
    return {name: score.value for name, score in (found if isinstance(found, dict) else {metric.name: found}).items()}


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_batches_give_what_the_whole_gives(
    name: str, images: tuple[torch.Tensor, torch.Tensor], synthetic_weights: Path
) -> None:
    sides, given = some(name, images), options(name, synthetic_weights)
    torch.manual_seed(4)
    following = torch.rand(3)
    torch.manual_seed(4)
    found = fed(CLASSES[name](**given), sides)
    assert torch.equal(torch.rand(3), following)  # nothing was drawn from the caller's random numbers
    assert list(found) == list(METRICS[name].values)
    if METRICS[name].labelled:
        return  # classes are given with batches, or by folders, which the metric's own tests read
    read = CLASSES[name](**({"real": sides["real"]} if "real" in sides else {}), **given)
    assert fed(read, {"fake": sides["fake"]}) == pytest.approx(found, rel=1e-6)
    whole = gm.evaluate(sides.get("real"), sides["fake"], [name], **given)
    assert found == pytest.approx({n: score.value for n, score in whole.items()}, rel=1e-6)


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_the_class_says_what_it_is(name: str) -> None:
    assert CLASSES[name].__doc__
    assert CLASSES[name].__module__ == "ganmetrics.streaming"


def test_merge_and_reset_of_several_values(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, fake = images
    one, other, whole = (gm.PRDC(real=real, **options("prdc")) for _ in range(3))
    one.update(fake[:20])
    other.update(fake[20:])
    whole.update(fake)
    one.merge(other)
    expected = {name: score.value for name, score in whole.compute().items()}
    assert {name: score.value for name, score in one.compute().items()} == expected
    whole.reset()
    whole.update(fake)
    assert {name: score.value for name, score in whole.compute().items()} == expected
