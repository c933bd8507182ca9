"""Distances that are equal between bytes are equal for the metrics of neighbours; others are over value / 255 as ever.

The right values come from whole numbers: squared distances of bytes in int64, where no tie can break.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ganmetrics as gm
from ganmetrics.errors import StatisticsError
from ganmetrics.features import load_extractor
from ganmetrics.features.extractor import Options
from ganmetrics.metrics.numerics.neighbours import nearest_squared
from ganmetrics.report import findings
from ganmetrics.statistics.samples import Samples
from tests.helpers.cached import stored

OPTIONS: dict[str, Any] = {"features": "pixels", "device": "cpu", "progress": False, "cache": False, "layout": "NCHW"}
VALUES = ("precision", "recall", "density", "coverage", "authenticity")


def images(draw: np.random.Generator, n: int, shape: tuple[int, int, int], levels: Sequence[int]) -> np.ndarray:
    """`(n, C, H, W)` uint8 of some grey levels; few of them make many equal distances."""
    return np.asarray(levels, np.uint8)[draw.integers(0, len(levels), (n, *shape))]


def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`(n, m)` int64."""
    x, y = (side.reshape(len(side), -1).astype(np.int64) for side in (x, y))
    return np.stack([((y - row) ** 2).sum(axis=1) for row in x])


def by_whole_numbers(real: np.ndarray, fake: np.ndarray, k: tuple[int, int] = (3, 5)) -> dict[str, float]:
    """Precision and recall with closed balls, density and coverage with open ones, authenticity."""
    among_real, among_fake, between = squared(real, real), squared(fake, fake), squared(fake, real)
    for own in (among_real, among_fake):
        np.fill_diagonal(own, np.iinfo(np.int64).max)
    radii = {
        name: [np.sort(own, axis=1)[:, i - 1] for i in k] for name, own in (("real", among_real), ("fake", among_fake))
    }
    nearest = between.argmin(axis=1)
    return {
        "precision": (between <= radii["real"][0]).any(axis=1).mean(),
        "recall": (between <= radii["fake"][0][:, None]).any(axis=0).mean(),
        "density": (between < radii["real"][1]).sum() / (k[1] * len(fake)),
        "coverage": (between < radii["real"][1]).any(axis=0).mean(),
        "authenticity": (between.min(axis=1) > among_real.min(axis=1)[nearest]).mean(),
    }


def test_four_grey_levels() -> None:
    """Divided by 255 in float32, authenticity was .4733, density .938 and coverage .9467."""
    draw = np.random.default_rng(1)
    real, fake = (images(draw, 300, (1, 3, 3), (0, 60, 120, 180)) for _ in range(2))
    expected = by_whole_numbers(real, fake)
    assert (round(expected["authenticity"], 4), expected["density"], expected["coverage"]) == (0.3967, 0.76, 0.92)
    scores = gm.evaluate(real, fake, ["prdc", "authenticity"], **OPTIONS)
    assert {name: scores[name].value for name in VALUES} == pytest.approx(expected, abs=1e-12)


SHAPES = [(1, 1, 1), (1, 2, 3), (3, 1, 1), (1, 3, 3), (3, 4, 5), (1, 8, 8), (3, 8, 8), (3, 32, 32), (1, 37, 41)]
LEVELS = {
    "two": (0, 255),
    "three": (7, 101, 195),
    "four": (0, 60, 120, 180),
    "neighbours": (253, 254, 255),
    "even steps": tuple(range(0, 256, 17)),
    "all": tuple(range(256)),
}


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_against_whole_numbers(shape: tuple[int, int, int], levels: str, rng: np.random.Generator) -> None:
    real, fake = (images(rng, n, shape, LEVELS[levels]) for n in (70, 60))
    fake[:5], fake[5:9] = real[:5], fake[9:13]  # copies of real images and of one another
    scores = gm.evaluate(real, fake, ["prdc", "authenticity"], batch_size=int(rng.integers(1, 40)), **OPTIONS)
    assert {name: scores[name].value for name in VALUES} == pytest.approx(by_whole_numbers(real, fake), abs=1e-12)


@pytest.mark.parametrize("sizes", [(6, 7), (2100, 33), (33, 2100)])
def test_other_numbers_of_images(sizes: tuple[int, int], rng: np.random.Generator) -> None:
    """Also more than one block of the search."""
    real, fake = (images(rng, n, (1, 3, 4), (0, 40, 80)) for n in sizes)
    scores = gm.evaluate(real, fake, ["prdc", "authenticity"], **OPTIONS)
    assert {name: scores[name].value for name in VALUES} == pytest.approx(by_whole_numbers(real, fake), abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_other_neighbours(k: int, rng: np.random.Generator) -> None:
    real, fake = (images(rng, 80, (3, 2, 2), (10, 20, 30)) for _ in range(2))
    expected = by_whole_numbers(real, fake, (k, k))
    scores = gm.evaluate(real, fake, ["prdc"], k=k, **OPTIONS)
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {name: expected[name] for name in scores}, abs=1e-12
    )


def test_batch_by_batch_and_merged(rng: np.random.Generator) -> None:
    real, fake = (images(rng, 90, (3, 3, 3), (0, 60, 120, 180)) for _ in range(2))
    expected = by_whole_numbers(real, fake)
    evaluators = [gm.Evaluator(["prdc", "authenticity", "fid"], **OPTIONS) for _ in range(2)]
    for part in np.split(real, 3):
        evaluators[0].update(part, side="real")
    for evaluator, part in zip(evaluators, np.split(fake, 2), strict=True):
        evaluator.update(part)
    evaluators[0].merge(evaluators[1])
    scores = evaluators[0].compute()
    assert {name: scores[name].value for name in VALUES} == pytest.approx(expected, abs=1e-12)
    monitor = gm.Monitor(real, ["authenticity", "prdc"], n_samples=90, batch_size_samples=90, **OPTIONS)
    scores = monitor.measure(0, lambda n: torch.from_numpy(fake))
    assert {name: scores[name].value for name in VALUES} == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("statistics_cache")
def test_out_of_the_cache(rng: np.random.Generator) -> None:
    """Bytes are kept there, and moments of values; neither is read as the other."""
    real, fake = (images(rng, 90, (3, 3, 3), (0, 60, 120, 180)) for _ in range(2))
    metrics = ["prdc", "authenticity", "fid", "kid", "vendi"]
    first, again = (gm.evaluate(real, fake, metrics, **{**OPTIONS, "cache": True}) for _ in range(2))
    assert again["density"].protocol["cached"] == again["fid"].protocol["cached"] == ["real"]
    assert {name: score.value for name, score in again.items()} == {name: score.value for name, score in first.items()}
    assert {name: first[name].value for name in VALUES} == pytest.approx(by_whole_numbers(real, fake), abs=1e-12)
    kept = [json.loads(path.open("rb").readline()) for path in stored()]
    assert sorted(array[1] for entry in kept for array in entry["arrays"]) == ["float64"] * 2 + ["uint8"]
    assert gm.kid(real, fake, **{**OPTIONS, "cache": True}).value == gm.kid(real, fake, **OPTIONS).value


def test_the_protocol_says_what_is_compared(rng: np.random.Generator) -> None:
    real, fake = (images(rng, 20, (1, 2, 2), (0, 60)) for _ in range(2))
    scores = gm.evaluate(real, fake, ["prdc", "authenticity", "fid", "kid"], **OPTIONS)
    dtypes = {name: score.protocol["dtype"] for name, score in scores.items()}
    assert dtypes == {**dict.fromkeys(VALUES, "uint8"), "fid": "float32", "kid": "float32"}
    assert {score.protocol["features"] for score in scores.values()} == {"pixels"}


def by_hand(x: Tensor) -> Tensor:
    """What `pixels` was before: value / 255 in float32."""
    return x.flatten(1).float() / 255


def close(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12)


OF_SCALE = ("fid", "fid-infinity", "kid", "cmmd", "vendi", "mifid", "class-fid", "intra-class-diversity")


@pytest.mark.parametrize("confidence", [False, True])
def test_every_other_metric_is_over_value_by_255(confidence: bool, rng: np.random.Generator) -> None:
    names = [str(i % 3) for i in range(120)]
    real, fake = (images(rng, 120, (3, 3, 2), range(low, low + 100)) for low in (10, 60))
    by_features = {}
    for features in ("pixels", by_hand):
        options = {**OPTIONS, "features": features, "confidence": confidence, "resamples": 100}
        evaluator = gm.Evaluator(list(OF_SCALE), **options)
        for part in (slice(0, 70), slice(70, None)):
            evaluator.update(real[part], side="real", labels=names[part])
            evaluator.update(fake[part], labels=names[part])
        by_features[features] = evaluator.compute()
    for name, expected in by_features[by_hand].items():
        score = by_features["pixels"][name]
        assert (score.metric, score.value) == (expected.metric.replace("by_hand", "pixels"), close(expected.value))
        assert score.interval == (None if expected.interval is None else close(expected.interval)), name
        assert score.spread == (None if expected.spread is None else close(expected.spread)), name


def test_fid_by_hand(rng: np.random.Generator) -> None:
    """In [0, 1], so that it is 255^2 times smaller than that of bytes."""
    real, fake = (images(rng, 200, (1, 2, 2), range(low, low + 100)) for low in (10, 60))
    x, y = (side.reshape(len(side), -1) / 255 for side in (real, fake))
    roots = np.sqrt(np.maximum(np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T)).real, 0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * roots
    assert gm.fid(real, fake, **OPTIONS).value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("confidence", [False, True])
def test_statistics_files_hold_values(confidence: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    """Those of before stay readable, can be compared with images, and can take more images."""
    real, fake = (images(rng, 60, (1, 3, 2), range(low, low + 100)) for low in (10, 60))
    vectors = by_hand(torch.from_numpy(real)).double().numpy()
    saved = gm.stats(real, **OPTIONS)
    saved.save(tmp_path / "new.npz")
    np.savez(
        tmp_path / "old.npz", mu=vectors.mean(axis=0), sigma=np.cov(vectors.T), count=60,
        format="ganmetrics-moments-1", protocol=json.dumps(saved.protocol),
    )  # fmt: skip
    value = gm.fid(real, fake, **OPTIONS).value
    for file in ("new.npz", "old.npz"):
        assert gm.fid(tmp_path / file, fake, **OPTIONS).value == pytest.approx(value, rel=1e-10)
        stream = gm.FID(tmp_path / file, **OPTIONS)
        stream.update(fake, side="real")
        stream.update(fake)
        expected = gm.fid(np.concatenate([real, fake]), fake, **OPTIONS).value
        assert stream.compute().value == pytest.approx(expected, rel=1e-10)
    merged = gm.merge([tmp_path / "new.npz", tmp_path / "old.npz"])
    assert merged.moments.mean().numpy() == pytest.approx(vectors.mean(axis=0), rel=1e-12)


def test_files_that_keep_vectors(tmp_path: Path, rng: np.random.Generator) -> None:
    """Bytes and their divisor: every metric has the same value from files as from images, and after a merge."""
    names = ["prdc", "authenticity", "fid", "kid", "vendi"]
    real, fake = (images(rng, 90, (1, 3, 3), (0, 60, 120, 180)) for _ in range(2))
    for name, data in (("real", real), ("first", fake[:40]), ("second", fake[40:])):
        gm.stats(data, keep="vectors", **OPTIONS).save(tmp_path / f"{name}.npz")
    gm.merge([tmp_path / "first.npz", tmp_path / "second.npz"]).save(tmp_path / "fake.npz")
    with np.load(tmp_path / "real.npz") as file:
        assert (file["vectors"].dtype, file["vectors"].tolist()) == (np.uint8, real.reshape(90, -1).tolist())
        assert file["mu"] == pytest.approx(real.reshape(90, -1).mean(axis=0) / 255, rel=1e-6)
    from_images = gm.evaluate(real, fake, names, **OPTIONS)
    assert {name: from_images[name].value for name in VALUES} == pytest.approx(by_whole_numbers(real, fake), abs=1e-12)
    for one, other in (
        (tmp_path / "real.npz", fake),
        (real, tmp_path / "fake.npz"),
        (tmp_path / "real.npz", tmp_path / "fake.npz"),
    ):
        scores = gm.evaluate(one, other, names, **OPTIONS)
        assert {name: score.value for name, score in scores.items()} == {
            name: close(score.value) for name, score in from_images.items()
        }
    evaluator = gm.Evaluator(names, tmp_path / "first.npz", **OPTIONS)
    evaluator.update(fake[40:], side="real")
    evaluator.update(real)
    assert {name: score.value for name, score in evaluator.compute().items() if name in VALUES} == pytest.approx(
        by_whole_numbers(fake, real), abs=1e-12
    )


def test_vectors_of_values_that_were_saved_elsewhere(tmp_path: Path, rng: np.random.Generator) -> None:
    """They are never taken for bytes, nor bytes for them."""
    real, fake = (images(rng, 90, (1, 3, 3), range(256)) for _ in range(2))
    np.save(tmp_path / "real.npy", real.reshape(90, -1) / 255)
    np.save(tmp_path / "bytes.npy", real.reshape(90, -1))
    options = {**OPTIONS, "features_are": "pixels"}
    expected = gm.fid(real, fake, **OPTIONS).value
    assert gm.fid(tmp_path / "real.npy", (fake / 255).reshape(90, -1), **options).value == pytest.approx(
        expected, rel=1e-6
    )
    both = gm.metrics.fid(np.load(tmp_path / "bytes.npy"), fake.reshape(90, -1))
    assert both == pytest.approx(expected * 255**2, rel=1e-6)
    assert gm.metrics.authenticity(np.load(tmp_path / "bytes.npy"), fake.reshape(90, -1)) == pytest.approx(
        by_whole_numbers(real, fake)["authenticity"], abs=1e-12
    )


def test_the_vectors_are_bytes() -> None:
    extractor = load_extractor("pixels", Options())
    x = torch.arange(24).reshape(2, 1, 3, 4).byte()
    assert torch.equal(extractor([x], ["features"])["features"], x.flatten(1))
    assert extractor.divisor == 255


def store(data: np.ndarray, divisor: int = 255, limit: int = 2**28) -> Samples:
    samples = Samples(limit)
    for part in np.array_split(data.reshape(len(data), -1), 7):
        samples.update(torch.from_numpy(part), divisor)
    return samples


@pytest.mark.parametrize("limit", [1, 2**28])
def test_a_store_of_bytes(limit: int, rng: np.random.Generator) -> None:
    """In memory and on disk: what is kept, and what it stands for."""
    data = images(rng, 500, (1, 3, 3), range(256))
    samples = store(data, limit=limit)
    assert samples.dtype == torch.uint8
    assert torch.equal(torch.cat(list(samples.kept(64))), torch.from_numpy(data).flatten(1))
    assert torch.equal(torch.cat(list(samples.blocks(64))), torch.from_numpy(data).flatten(1).float() / 255)
    mean = data.reshape(500, -1).mean(axis=0) / 255
    assert samples.moments().mean().numpy() == pytest.approx(mean, rel=1e-6)
    other = store(data[:100])
    other.merge(samples)
    assert torch.equal(torch.cat(list(other.kept()))[100:], torch.from_numpy(data).flatten(1))
    with pytest.raises(StatisticsError, match="expected vectors to be divided by 255, got some by 1"):
        other.merge(store(data, divisor=1))
    plain = Samples()
    plain.update(torch.zeros(1, 9))
    plain.merge(other)
    assert torch.equal(torch.cat(list(plain.kept()))[1:], torch.cat(list(other.blocks())))


def test_distances_are_of_values(rng: np.random.Generator) -> None:
    """Also where a store of bytes meets plain vectors of values."""
    x, y = (images(rng, n, (1, 2, 2), range(256)) for n in (30, 50))
    expected = np.sort(squared(x, y), axis=1)[:, :3] / 255**2
    both = nearest_squared(store(x), store(y), 3)[0].numpy()
    assert both == pytest.approx(expected, rel=1e-15)
    assert both.tolist() == expected.tolist()
    mixed = nearest_squared(torch.from_numpy(x).flatten(1).double() / 255, store(y), 3)[0].numpy()
    assert mixed == pytest.approx(expected, rel=1e-6)


def test_the_shares_of_a_report(rng: np.random.Generator) -> None:
    """`reached` is a share of ties: distances to a fake at most that to neighbour K."""
    real, fake = (images(rng, 200, (1, 3, 3), (0, 60, 120, 180)) for _ in range(2))
    one, other = store(real), store(fake)
    shares = findings.shares(one, other, findings.neighbours(one, other, 0), 0)
    among_real, between = squared(real, real), squared(real, fake)
    np.fill_diagonal(among_real, np.iinfo(np.int64).max)
    kth = np.sort(among_real, axis=1)[:, findings.K - 1]
    assert shares is not None
    assert shares.reached == pytest.approx((between.min(axis=1) <= kth).mean(), abs=1e-12)


def test_vectors_of_ones_own_extractor_are_never_divided(rng: np.random.Generator) -> None:
    """Bytes of a callable stand for themselves."""
    real, fake = (images(rng, 60, (3, 2, 2), range(low, low + 100)) for low in (10, 60))

    def own(x: Tensor) -> Tensor:
        return x.flatten(1)

    options = {**OPTIONS, "features": own}
    assert gm.fid(real, fake, **options).value == pytest.approx(gm.fid(real, fake, **OPTIONS).value * 255**2, rel=1e-5)
    scores = gm.evaluate(real, fake, ["prdc", "authenticity"], **options)
    assert {name: scores[name].value for name in VALUES} == pytest.approx(by_whole_numbers(real, fake), abs=1e-12)
