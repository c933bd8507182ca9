"""A score in a person's hands: formatted, rounded, compared, serialised and logged like the number that it is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.score import Score
from tests.helpers.commands import Cli

FID = Score("fid", 12.3456, "lower", interval=(11.0, 14.0))


def test_it_is_formatted_and_rounded() -> None:
    assert f"{FID:.2f}" == "12.35"
    assert f"{FID:8.1f}|" == "    12.3|"
    assert f"{FID}" == str(FID) == "fid 12.3456 [11.0000, 14.0000]"
    assert (round(FID, 2), round(FID)) == (12.35, 12)


def test_it_is_compared_with_numbers_and_scores_of_its_metric() -> None:
    score, better, ten, twenty = FID, Score("fid", 9.0, "lower"), np.float64(10), 20
    assert better < score
    assert score > better
    assert better <= better
    assert score >= 12.3456
    assert score < twenty
    assert twenty > score
    assert not score < ten
    assert ten < score
    assert min([score, better]) is better
    assert max({"a": score, "b": better}.values()) is score
    assert sorted([score, better]) == [better, score]


def test_scores_of_two_metrics_do_not_compare() -> None:
    """The least of a FID and a KID means nothing."""
    with pytest.raises(TypeError, match=r"^kid and fid are different metrics: their values do not compare$"):
        min(FID, Score("kid", 0.001, "lower"))  # asks whether the second is less
    with pytest.raises(TypeError):
        _ = FID < "12"


def test_it_is_written_as_json_and_as_a_scalar(tmp_path: Path) -> None:
    assert json.loads(json.dumps({"fid": FID}, default=float)) == {"fid": 12.3456}
    assert np.asarray(FID) == np.float64(12.3456)
    assert np.mean([FID, Score("fid", 10.0, "lower")]) == pytest.approx(11.1728)
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("fid", FID, 3)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(tmp_path))
    read.Reload()
    (event,) = read.Scalars("fid")
    assert (event.step, event.value) == (3, pytest.approx(12.3456, rel=1e-6))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_kid_of_very_few_images_has_no_interval(n: int, cli: Cli, rng: np.random.Generator) -> None:
    """It was (-inf, -inf), and --json ended in a traceback."""
    for side in ("real", "fake"):
        np.save(f"{side}.npy", rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8))
    (score,) = cli("kid", "real.npy", "fake.npy", "--features", "pixels", "--confidence", "--json").scores
    assert math.isfinite(score["value"])
    assert score["interval"] is None
    assert "no 95 % interval: some sets of resampled images have no value; give more images" in score["warnings"]


TWO_APART = (torch.eye(16)[:2].reshape(2, 1, 4, 4) * 200).to(torch.uint8)


@pytest.mark.parametrize(("images", "value"), [(torch.full((6, 1, 4, 4), 9, dtype=torch.uint8), 1), (TWO_APART, 2)])
def test_an_interval_of_no_width_is_none(images: torch.Tensor, value: float) -> None:
    """Vendi of equal images, and of two: drawing them anew moves nothing but rounding."""
    options = {"features": "pixels", "layout": "NCHW", "device": "cpu", "progress": False, "confidence": True}
    score = gm.evaluate(None, images, ["vendi"], resamples=100, **options)["vendi"]
    assert score.value == pytest.approx(value)
    assert score.interval is None
    assert "no 95 % interval: all sets of resampled images have the same value; give more images" in score.warnings


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Score("fd", 3.2e-10, "lower", interval=(1e-10, 5.5e-10)), "fd 3.2000e-10 [1.0000e-10, 5.5000e-10]"),
        (Score("kd-vectors", -1.05e37, "lower", spread=2e36), "kd-vectors -1.0500e+37 +- 2.0000e+36"),
        (Score("kid", 4e-7, "lower", spread=0.0031), "kid 0.000000 +- 0.003100"),
        (Score("fid", 0.0, "lower"), "fid 0.0000"),
        (Score("kid", -0.000004, "lower"), "kid -0.000004"),
        (Score("parzen", -77533.3893, "higher"), "parzen -77533.3893"),
    ],
)
def test_a_value_on_any_scale_is_read(score: Score, text: str) -> None:
    """Features of size 1e-5 had a distance of 0.000000, and a Parzen window of 1e-80 one of 160 digits."""
    assert str(score) == text
