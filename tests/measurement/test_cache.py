"""Statistics of reference images, kept: every metric is the same from them to the bit, and no image is read again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import StatisticsError
from ganmetrics.images.classes import Classes
from ganmetrics.measurement import cache_files as entries
from ganmetrics.measurement import reading
from ganmetrics.measurement.measurement import configured
from ganmetrics.measurement.reference_cache import ReferenceCache
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side, needs
from ganmetrics.metrics.index import METRICS, SIDES
from tests.conftest import write_folder
from tests.helpers.cached import OPTIONS, fid, stored, without_origin

pytestmark = pytest.mark.usefixtures("statistics_cache")

COMPARING = [name for name, entry in METRICS.items() if entry.sides == SIDES]


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("name", COMPARING)
def test_every_metric_is_the_same_from_the_cache(
    name: str, confidence: bool, class_folders: tuple[Path, Path], sides_read: list[str]
) -> None:
    if METRICS[name].load().kind == "spatial":
        pytest.skip("pixels have no spatial vectors; the statistics are those of fid")
    options = {**OPTIONS, "confidence": confidence, "resamples": 100, "batch_size": 7}
    plain, first, second = (
        gm.evaluate(*class_folders, [name], cache=cache, **options) for cache in (False, True, True)
    )
    assert sides_read == ["real", "fake", "real", "fake", "fake"]
    for value in plain:
        assert without_origin(plain[value]) == without_origin(first[value]) == without_origin(second[value])
        assert "cached" not in first[value].protocol
        assert second[value].protocol["cached"] == ["real"]


def test_the_network_sees_no_real_image_again(
    class_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganmetrics.features.extractor import NetworkExtractor

    seen = []
    extract = NetworkExtractor.extract
    monkeypatch.setattr(
        NetworkExtractor,
        "extract",
        lambda own, stacks, taps: seen.append(sum(map(len, stacks))) or extract(own, stacks, taps),
    )
    options = {**OPTIONS, "features": "efficientnet-lite0"}
    real, fake = (
        sorted(map(str, (folder / "a").iterdir()))[:n] for folder, n in zip(class_folders, (7, 5), strict=True)
    )
    one, two = (gm.fid(real, fake, **options) for _ in range(2))
    assert sum(seen) == 7 + 5 + 5
    assert (one.value, one.warnings) == (two.value, two.warnings)


def test_what_is_missing_alone_is_measured(class_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """FID's moments are there, the vectors themselves are not."""
    plain = gm.evaluate(*class_folders, ["fid"], **OPTIONS, cache=False)["fid"]
    fid(*class_folders)
    fed = []
    feeds = reading.feeds
    monkeypatch.setattr(reading, "feeds", lambda targets: fed.append([need for need, _ in targets]) or feeds(targets))
    settings = Settings(**OPTIONS)
    mixed = [*configured(["fid"], settings), *configured(["fid"], Settings(**OPTIONS, confidence=True))]
    side = Side("real", class_folders[0])
    reading.fill(side, needs(Side("real"), mixed), settings)
    assert fed == [[mixed[1].need]]
    assert side.cached == {mixed[0].need}
    assert [side.metric_input(measurement).count for measurement in mixed] == [70, 70]
    assert len(stored()) == 2
    assert plain.n_real == 70


@pytest.mark.parametrize("n", [1, 30, 50, 600, 2000])
def test_moments_come_back_bit_by_bit(n: int, rng: np.random.Generator, tmp_path: Path) -> None:
    """Rows alone, a scatter alone, and both; and what is added afterwards is added in the same way."""
    images, more = (rng.integers(0, 256, (k, 4, 4, 3), dtype=np.uint8) for k in (n, 100))
    kept = []
    for _ in range(2):
        side, settings = Side("real", images), Settings(**OPTIONS, layout="NHWC", batch_size=64)
        (need,) = needs(Side("real"), configured(["fid"], settings))
        reading.fill(side, [need], settings)
        kept.append((side, side.statistic_for(need)))
    (first, one), (second, two) = kept
    assert (len(first.cached), len(second.cached)) == (0, 1)
    for _ in range(2):
        assert (one.count, one.folded, one.arrays().keys()) == (two.count, two.folded, two.arrays().keys())
        assert all(torch.equal(held, two.arrays()[name]) for name, held in one.arrays().items())
        for statistic in (one, two):
            statistic.update(torch.from_numpy(more.reshape(100, 48)).float() / 255)


def test_samples_stay_in_the_file_and_can_be_added_to(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = rng.integers(0, 256, (5000, 4, 4, 3), dtype=np.uint8)
    settings = Settings(**OPTIONS, layout="NHWC", confidence=True)
    found = []
    for _ in range(2):
        (need,) = needs(Side("real"), configured(["fid"], settings))
        reading.fill(side := Side("real", images), [need], settings)
        found.append(side.statistic_for(need))
    one, two = found
    assert not two._held.count
    shutil.rmtree(entries.folder())  # another process clears the cache: what is open stays readable
    for rows in (7, 4096):
        assert [len(block) for block in one.blocks(rows)] == [len(block) for block in two.blocks(rows)]
        assert all(torch.equal(a, b) for a, b in zip(one.blocks(rows), two.blocks(rows), strict=True))
    inner = [torch.equal(outer, next(iter(two.blocks(100)))) for outer in two.blocks(100)]
    assert inner == [True] + [False] * 49  # a pass within a pass
    for store in found:
        store._limit = 1000
        store.update(torch.ones(9, 48, dtype=torch.uint8), 255)
        store.update(torch.zeros(2, 48, dtype=torch.uint8), 255)
    assert torch.equal(torch.cat(list(one.blocks())), torch.cat(list(two.blocks())))
    assert two.count == 5011


def test_classes_and_remarks_are_those_of_today(class_folders: tuple[Path, Path]) -> None:
    real, _ = class_folders
    (real / "a/00003.bmp").write_bytes(b"no image")
    settings = Settings(**OPTIONS, on_error="skip")
    for renamed in (False, True):
        if renamed:
            (real / "b").rename(real / "cats")
            (real / "odd.jfif").write_bytes(b"left out")
        side = Side("real", real, opened=settings.open(real))
        side.opened.classes = Classes([entry.name.split("/")[0] for entry in side.opened.entries])
        reading.fill(side, needs(Side("real"), configured(["fid"], settings)), settings)
        assert side.labels == ["a"] * 34 + ["cats" if renamed else "b"] * 35
        assert side.summary.remarks == (["1 .jfif left out: not among the extensions that are read"] if renamed else [])
    assert side.cached


def test_pixels_of_another_shape_are_refused_as_without(class_folders: tuple[Path, Path], tmp_path: Path) -> None:
    """8x2 pixels make as many numbers as 4x4."""
    write_folder(tmp_path / "wide", np.zeros((9, 2, 8, 3), np.uint8))
    messages = []
    for cache in (False, True, True):
        with pytest.raises(StatisticsError) as caught:
            fid(class_folders[0], tmp_path / "wide", cache=cache)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] == messages[2]
    assert "got 4x4 RGB and 8x2 RGB" in messages[0]


def test_in_a_training_loop(class_folders: tuple[Path, Path], sides_read: list[str]) -> None:
    batch = torch.randint(0, 256, (60, 3, 4, 4), dtype=torch.uint8)
    values = []
    for cache in (False, True, True):
        with torch.inference_mode():
            metric = gm.FID(real=class_folders[0], **OPTIONS, cache=cache, layout="NCHW")
        metric.update(batch)
        metric.update(batch, side="real")
        values.append(metric.compute().value)
    assert sides_read == ["real", "real"]
    assert values[0] == values[1] == values[2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_moments_come_back_to_the_device(rng: np.random.Generator) -> None:
    real = rng.integers(0, 256, (200, 3, 4, 4), dtype=np.uint8)
    batch = torch.from_numpy(rng.integers(0, 256, (60, 3, 4, 4), dtype=np.uint8)).cuda()
    values = []
    for _ in range(2):
        metric = gm.FID(real=real, **{**OPTIONS, "device": "cuda"}, layout="NCHW")
        for side in ("real", "fake"):
            metric.update(batch, side=side, layout="NCHW")
        values.append(metric.compute().value)
    assert values[0] == values[1]


def test_watchers_still_see_every_image(class_folders: tuple[Path, Path]) -> None:
    settings = Settings(**OPTIONS)
    for _ in range(2):
        seen: list[int] = []
        side = Side("real", class_folders[0])
        reading.fill(
            side,
            needs(Side("real"), configured(["fid"], settings)),
            settings,
            [lambda stack, to=seen: to.append(len(stack))],
        )
        assert sum(seen) == 70
    assert side.cached


def test_one_line_where_progress_is_shown(
    class_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fid(*class_folders)
    for progress, terminal in ((False, True), (True, False), (True, True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda shown=terminal: shown, raising=False)
        settings = Settings(**OPTIONS)
        side = Side("real", class_folders[0], opened=settings.open(class_folders[0]))
        ReferenceCache(
            side, needs(Side("real"), configured(["fid"], settings)), enabled=True, skip=False, progress=progress
        )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("real: 70 images from the cache (compared in ")
