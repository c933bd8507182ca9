"""A side owns its statistics: one for each need, shared by metrics with the same need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.images.classes import Classes
from ganmetrics.measurement.measurement import configured
from ganmetrics.measurement.reading import feeds, fill
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side, metric_over_sides, needs
from ganmetrics.metrics import METRICS
from ganmetrics.statistics.files import StatisticsFile
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.samples import Samples
from tests.measurement.test_vectors import frechet

OPTIONS = {"features": "pixels", "device": "cpu", "progress": False, "layout": "NCHW"}


def images(rng: np.random.Generator, n: int = 12) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8))


def test_metrics_with_the_same_need_share_one_statistic() -> None:
    measurements = configured(["fid", "kid", "prdc", "mifid", "vendi"], Settings(**OPTIONS))
    fid, kid, *others = [measurement.need for measurement in measurements]
    assert (fid.keep, kid.keep) == (Moments, Samples)
    assert all(need == kid for need in others)
    assert needs(Side("real"), measurements) == [fid, kid]
    side = Side("real")
    assert side.statistic_for(kid) is side.statistic_for(others[0])
    assert side.statistic_for(fid) is not side.statistic_for(kid)


def test_an_extractor_of_its_own_is_a_need_of_its_own() -> None:
    fid, other = configured(["fid", "fid@efficientnet-lite0"], Settings(**OPTIONS))
    assert fid.need != other.need
    assert list(feeds(Side("fake").targets([fid, other]))) == [fid.need.extractor, other.need.extractor]


def test_confidence_turns_a_need_of_moments_into_one_of_vectors() -> None:
    fid, kid = configured(["fid", "kid"], Settings(**OPTIONS, confidence=True))
    assert fid.need == kid.need


def test_one_pass_fills_every_need(rng: np.random.Generator) -> None:
    measurements = configured(["fid", "kid"], Settings(**OPTIONS))
    side = Side("real", images(rng))
    fill(side, needs(Side("real"), measurements), Settings(**OPTIONS))
    assert [side.metric_input(measurement).count for measurement in measurements] == [12, 12]
    assert set(side.statistics) == {measurement.need for measurement in measurements}


def test_a_file_serves_without_the_extractor(rng: np.random.Generator) -> None:
    """Whose weights need not be here."""
    (fid,) = configured(["fid"], Settings(weights="/nowhere/inception.pth", device="cpu"))
    moments = Moments()
    moments.update(torch.from_numpy(rng.standard_normal((9, 4))))
    sides = [Side(name, file=StatisticsFile.of(moments)) for name in ("real", "fake")]
    assert metric_over_sides(fid, sides).statistics == {"real": moments, "fake": moments}


def test_what_is_handed_leaves_the_metric_as_it_was(rng: np.random.Generator) -> None:
    metric = METRICS["kid"].load()()
    vectors = {side: torch.from_numpy(rng.standard_normal((20, 3))) for side in metric.sides}
    for side, rows in vectors.items():
        metric.update(rows, side)
    own = metric.compute().value
    empty = {side: Samples() for side in metric.sides}
    assert [kept.count for kept in metric.over(empty).statistics.values()] == [0, 0]
    assert metric.compute().value == own


def test_results_and_intervals_share_one_computation_until_more_is_seen(rng: np.random.Generator) -> None:
    metric, calls = METRICS["vendi"].load()(), []
    metric.update(torch.from_numpy(rng.standard_normal((5, 3))))
    for _ in range(2):
        metric.once(lambda: calls.append(1))
    assert calls == [1]
    metric.update(torch.from_numpy(rng.standard_normal((5, 3))))
    metric.once(lambda: calls.append(2))
    metric.over(metric.statistics).once(lambda: calls.append(3))
    assert calls == [1, 2, 3]


@pytest.mark.parametrize("left_out", [[], [1]])
def test_labels_are_those_of_the_images_that_were_read(left_out: list[int]) -> None:
    from ganmetrics.images.base import ImageSource

    source = ImageSource("x", 3)
    source.classes = Classes(["a", "b", "a"])
    side = Side("real", opened=source)
    side.summary.left_out = left_out
    assert side.labels == [label for i, label in enumerate(source.labels) if i not in left_out]
    assert Side("fake").labels is None


def test_a_statistics_object_of_the_caller_is_not_changed(rng: np.random.Generator) -> None:
    """Two evaluators that were given one object changed each other."""
    statistics = gm.stats(images(rng), **OPTIONS)
    one, other = (gm.FID(real=statistics, **OPTIONS) for _ in range(2))
    fake, more = images(rng), images(rng)
    for metric in (one, other):
        metric.update(fake)
    before = other.compute().value
    one.update(more, side="real")
    assert one.compute().n_real == 24
    assert other.compute().value == before
    assert statistics.moments.count == 12


def test_a_file_is_of_one_feature_space(rng: np.random.Generator) -> None:
    """With two extractors of equal width every batch counted twice."""
    moments = gm.stats(images(rng), **OPTIONS).moments
    two = gm.Evaluator(["fid", "fid@efficientnet-lite0"], real=moments, **OPTIONS)
    with pytest.raises(StatisticsError, match=r"^statistics from a file are of one feature space, and the metrics"):
        two.update(images(rng), side="real")
    assert moments.count == 12


@pytest.mark.parametrize(
    ("names", "theirs", "shape", "message"),
    [
        (["fid", "prdc"], {}, (1, 5, 5), "merge: expected statistics of 16 dimensions, got 25"),
        (["fid"], {}, (1, 2, 8), "merge: expected images of shape (1, 4, 4), got (1, 2, 8)"),
        (["fid"], {"confidence": True}, (1, 4, 4),
         "merge: expected moments, got samples; give both objects the same --confidence"),
    ],
)  # fmt: skip
def test_a_merge_that_cannot_be_changes_nothing(
    names: list[str], theirs: dict[str, bool], shape: tuple[int, ...], message: str, rng: np.random.Generator
) -> None:
    one, other = gm.Evaluator(names, **OPTIONS), gm.Evaluator(names, **{**OPTIONS, **theirs})
    one.update(images(rng))
    other.update(torch.from_numpy(rng.integers(0, 256, (9, *shape), dtype=np.uint8)))
    with pytest.raises(StatisticsError) as caught:
        one.merge(other)
    assert str(caught.value) == message
    one.update(images(rng), side="real")
    assert {score.n_fake for score in one.compute().values()} == {12}


def test_statistics_have_no_confidence(rng: np.random.Generator) -> None:
    with pytest.raises(
        OptionError, match=r"^confidence: is for scores; to keep what intervals need, use --keep vectors$"
    ):
        gm.stats(images(rng), confidence=True, **OPTIONS)


def test_a_metric_is_named_by_a_string() -> None:
    with pytest.raises(OptionError, match=r"^metrics: expected names such as 'fid', got 3$"):
        configured(["fid", 3], Settings(**OPTIONS))  # type: ignore[list-item]


@pytest.mark.parametrize("kept", ["vectors", None])
@pytest.mark.parametrize("others", [[], ["fid"]])
def test_mifid_counts_images_that_are_added_to_a_file(
    rng: np.random.Generator, tmp_path: Path, kept: Literal["vectors"] | None, others: list[str]
) -> None:
    """Its file holds moments beside the vectors, and both are those of all images."""
    first, more = (torch.from_numpy(rng.integers(0, 256, (n, 3, 4, 4), dtype=np.uint8)) for n in (150, 70))
    fake = (first[:90].int() + torch.from_numpy(rng.integers(-40, 41, (90, 3, 4, 4)))).clamp(0, 255).to(torch.uint8)
    gm.stats(first, ["mifid"], keep=kept, **OPTIONS).save(tmp_path / "real.npz")
    evaluator = gm.Evaluator(["mifid", *others], real=tmp_path / "real.npz", **OPTIONS)
    evaluator.update(more, side="real")
    evaluator.update(fake)
    x, y = (side.reshape(len(side), -1).double().numpy() / 255 for side in (torch.cat([first, more]), fake))
    u, v = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    distance = (1 - np.abs(v @ u.T)).min(axis=1).mean()
    assert distance < 0.1
    score = evaluator.compute()["mifid"]
    assert score.value == pytest.approx(frechet(x, y) / distance, rel=1e-6)
    assert score.n_real == 220


@pytest.mark.parametrize(("part", "edit"), [(0, {"count": 12.0}), (0, {"count": -1}), (1, {"divisor": 2**70})])
def test_a_list_of_parts_that_was_edited(
    rng: np.random.Generator, tmp_path: Path, part: int, edit: dict[str, float]
) -> None:
    gm.stats(images(rng), keep="vectors", **OPTIONS).save(tmp_path / "kept.npz")
    with np.load(tmp_path / "kept.npz", allow_pickle=False) as kept:
        arrays = dict(kept)
    parts = json.loads(str(arrays["parts"]))
    parts[part].update(edit)
    np.savez(tmp_path / "edited.npz", **{**arrays, "parts": np.array(json.dumps(parts))})
    with pytest.raises(StatisticsError, match=r"edited\.npz: its list of parts does not fit its arrays"):
        gm.kid(tmp_path / "edited.npz", images(rng), **OPTIONS)
