"""MS-SSIM within classes: one pair against numpy and torchmetrics, the pairs that are drawn, the way to a score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics import ms_ssim
from ganmetrics.metrics.ms_ssim import MultiScaleSimilarity, drawn_pairs, multiscale_similarity
from ganmetrics.protocols import PROTOCOLS, MetricOptions
from tests.conftest import peer
from tests.helpers.commands import Cli


def reference(x: np.ndarray, y: np.ndarray) -> float:
    """Equation 7 of Wang et al. 2003 for two images `(C, H, W)` of bytes, window by window, in float64.

    As torchmetrics has it: the last scale includes windows over a border that mirrors the image.
    """
    place = np.arange(11) - 5
    window = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def averaged(image: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(image, (11, 11), axis=(1, 2))
        return np.einsum("chwij,ij->chw", windows, window)

    def terms(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ma, mb = averaged(a), averaged(b)
        va, vb, cov = averaged(a * a) - ma**2, averaged(b * b) - mb**2, averaged(a * b) - ma * mb
        return (2 * ma * mb + c1) / (ma**2 + mb**2 + c1), (2 * cov + c2) / (va + vb + c2)

    def halved(a: np.ndarray) -> np.ndarray:
        c, h, w = (a.shape[0], a.shape[1] // 2, a.shape[2] // 2)
        return a[:, : 2 * h, : 2 * w].reshape(c, h, 2, w, 2).mean(axis=(2, 4))

    a, b = x.astype(np.float64), y.astype(np.float64)
    value = 1.0
    for exponent in (0.0448, 0.2856, 0.3001, 0.2363):
        value *= max(terms(a, b)[1].mean(), 0) ** exponent
        a, b = halved(a), halved(b)
    luminance, contrast = terms(*(np.pad(side, ((0, 0), (5, 5), (5, 5)), mode="reflect") for side in (a, b)))
    return value * max((luminance * contrast).mean(), 0) ** 0.1333


def pictures(rng: np.random.Generator, n: int, height: int = 180, width: int = 180, channels: int = 3) -> np.ndarray:
    """Smooth colours that are the same in all, changed a little in each: `(n, C, H, W)` bytes."""

    def smooth(count: int) -> Tensor:
        coarse = torch.from_numpy(rng.random((count, channels, 12, 12)))
        return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")

    noise = torch.from_numpy(rng.standard_normal((n, channels, height, width)))
    mixed = 0.6 * smooth(1) + 0.4 * smooth(n) + 0.03 * noise
    return (255 * mixed.clamp(0, 1)).round().to(torch.uint8).numpy()


SHAPES = [(176, 176, 3), (180, 201, 1), (256, 177, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_one_pair_by_its_definition(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    x, y = pictures(rng, 3, *shape), pictures(rng, 3, *shape)
    y[0] = np.clip(x[0].astype(int) + rng.integers(-20, 20, x[0].shape), 0, 255)
    expected = [reference(a, b) for a, b in zip(x, y, strict=True)]
    assert 0.5 < expected[0] < 1
    found = multiscale_similarity(torch.from_numpy(x), torch.from_numpy(y), value_range=255)
    assert found.tolist() == pytest.approx(expected, rel=1e-10)
    scaled = multiscale_similarity(torch.from_numpy(x / 255), torch.from_numpy(y / 255))
    assert scaled.tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_torchmetrics(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    """Its exponents are float32."""
    theirs = peer("torchmetrics.functional.image").multiscale_structural_similarity_index_measure
    x, y = (torch.from_numpy(pictures(rng, 4, *shape)) for _ in range(2))
    x = torch.cat([x, 255 - y])
    y = torch.cat([y, y])
    expected = theirs(x.double(), y.double(), data_range=255.0, reduction="none")
    torch.testing.assert_close(multiscale_similarity(x, y, value_range=255), expected, rtol=1e-6, atol=1e-12)
    assert float(expected[-1]) == 0  # the negative of an image: below 0 counts as 0


def test_exact_answers() -> None:
    """Equal images have 1; of plain ones only the luminance of the last scale is not 1."""
    plain = torch.full((2, 3, 176, 190), 0.0, dtype=torch.float64)
    plain[1] = 1.0
    a, b, c1 = 0.25, 0.75, 0.01**2
    found = multiscale_similarity(plain[:1] + a, plain[:1] + b)
    assert float(found) == pytest.approx(((2 * a * b + c1) / (a * a + b * b + c1)) ** 0.1333, rel=1e-12)
    image = torch.rand(1, 1, 200, 176)
    assert float(multiscale_similarity(image, image)) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 14, 15, 16, 400, 60_000])
def test_pairs_are_different_and_few(n: int) -> None:
    pairs = drawn_pairs(n, [0, 3])
    assert len(pairs) == min(100, n * (n - 1) // 2)
    assert len({frozenset(pair) for pair in pairs.tolist()}) == len(pairs)
    assert (pairs[:, 0] > pairs[:, 1]).all()
    assert pairs.min() >= 0
    assert pairs.max() < n
    assert np.array_equal(pairs, drawn_pairs(n, [0, 3]))
    assert n < 16 or not np.array_equal(pairs, drawn_pairs(n, [1, 3]))


def test_pairs_are_drawn_evenly() -> None:
    """Every pair of 20 images as often as every other."""
    counts = np.zeros((20, 20))
    for seed in range(2000):
        pairs = drawn_pairs(20, [seed])
        counts[pairs[:, 0], pairs[:, 1]] += 1
    seen = counts[np.tril_indices(20, -1)]
    share = 100 / 190
    assert np.abs(seen / 2000 - share).max() < 5 * (share * (1 - share) / 2000) ** 0.5


def fed(images: np.ndarray, labels: list[str], **options: int) -> MultiScaleSimilarity:
    metric = MultiScaleSimilarity.configured(PROTOCOLS["tensorflow"], MetricOptions(device="cpu", **options))
    metric.update(torch.from_numpy(images.reshape(len(images), -1)))
    metric.labels["fake"] = labels
    metric.image_shape = images.shape[1:]
    return metric


def test_mean_over_drawn_pairs_of_each_class(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ms_ssim, "PAIRS", 7)
    sizes = {"bee": 6, "ant": 5, "cat": 3}
    images = pictures(rng, 14, 176, 176, 1)
    labels = [name for name, size in sizes.items() for _ in range(size)]
    order = rng.permutation(14)
    images, labels = images[order], [labels[i] for i in order]
    result = fed(images, labels, seed=5).compute()
    expected = {}
    for number, name in enumerate(sorted(sizes)):
        own = images[np.array(labels) == name]
        expected[name] = np.mean([reference(own[i], own[j]) for i, j in drawn_pairs(len(own), [5, number])])
    assert result.protocol["per_class"] == pytest.approx(expected, rel=1e-10)
    assert list(result.protocol["per_class"]) == ["ant", "bee", "cat"]
    assert result.value == pytest.approx(np.mean(list(expected.values())), rel=1e-10)
    assert result.protocol["pairs_per_class"] == {"ant": 7, "bee": 7, "cat": 3}
    assert result.protocol["seed"] == 5
    assert result.warnings == [
        "the smallest class has 3 pairs of images, where 7 are drawn of a larger one; give at least 15 images a class"
    ]
    for held in (1, 8 * 176 * 176):  # how many images are in memory changes nothing
        monkeypatch.setattr(ms_ssim, "HELD", held)
        monkeypatch.setattr(ms_ssim, "AT_ONCE", held)
        assert fed(images, labels, seed=5).compute() == result


def test_a_collapsed_class_has_1(rng: np.random.Generator) -> None:
    one = pictures(rng, 1, 176, 176, 1)
    result = fed(np.repeat(one, 20, axis=0), ["a"] * 20).compute()
    assert result.value == pytest.approx(1, rel=1e-12)
    assert result.value <= 1
    assert result.protocol["pairs_per_class"] == 100
    assert not result.warnings


def write(folder: Path, images: np.ndarray, names: str) -> Path:
    for i, image in enumerate(images):
        (folder / names[i % len(names)]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(image, 0, -1).squeeze()).save(folder / names[i % len(names)] / f"{i}.png")
    return folder


def test_the_whole_way(cli: Cli, rng: np.random.Generator, tmp_path: Path) -> None:
    """No weights, whatever --features says; classes from folders; the same from Python and from batches."""
    images = pictures(rng, 10, 176, 190)
    write(tmp_path / "fake", images, "ab")
    order = [*range(0, 10, 2), *range(1, 10, 2)]
    expected = fed(images[order], [*"aaaaabbbbb"]).compute()
    (row,) = cli("ms-ssim", "fake", "--json").scores
    assert (row["metric"], row["better"], row["n_real"], row["n_fake"]) == ("ms-ssim", "lower", None, 10)
    assert row["value"] == pytest.approx(expected.value, rel=1e-12)
    assert row["protocol"]["per_class"] == pytest.approx(expected.protocol["per_class"], rel=1e-12)
    options = {"features": "pixels", "device": "cpu", "progress": False}
    scores = gm.evaluate("fake", "fake", ["fid", "ms-ssim", "intra-class-diversity"], **options)
    assert scores["ms-ssim"].value == row["value"]
    streamed = gm.MSSSIM(device="cpu", progress=False, layout="NCHW")
    for start in (0, 6):
        part = order[start : start + 6]
        streamed.update(images[part], labels=[[*"aaaaabbbbb"][i] for i in range(start, start + len(part))])
    assert streamed.compute().value == row["value"]
    text = cli("evaluate", "fake", "fake", "-m", "ms-ssim", "--confidence")
    assert text.out.startswith("ms-ssim 0.")
    assert "no 95 % interval: none is known for pairs that were drawn; another --seed draws others" in text.err


def test_merged_batches(rng: np.random.Generator) -> None:
    images = pictures(rng, 8, 176, 176, 1)
    options = {"device": "cpu", "progress": False, "layout": "NCHW"}
    whole, first, second, empty = (gm.MSSSIM(**options) for _ in range(4))
    whole.update(images, labels=[*"aabbabab"])
    first.update(images[:5], labels=[*"aabba"])
    second.update(images[5:], labels=[*"bab"])
    empty.merge(first)
    empty.merge(second)
    assert empty.compute().value == pytest.approx(whole.compute().value, rel=1e-12)
    other = gm.MSSSIM(**options)
    other.update(pictures(rng, 2, 176, 180, 1), labels=[*"ab"])
    with pytest.raises(StatisticsError, match="merge: expected"):
        empty.merge(other)


def test_images_that_do_not_suit(rng: np.random.Generator, tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "small", pictures(rng, 4, 175, 300), "ab")
    ran = cli("ms-ssim", "small")
    assert ran.code == 1
    assert ran.err.strip() == (
        "Error: ms-ssim: expected images of at least 176x176 pixels, got 300x175; it resizes nothing: give larger "
        "images, or --prepare 176"
    )
    assert cli("ms-ssim", "small", "--prepare", "176").code == 0
    (tmp_path / "mixed").mkdir()
    write(tmp_path / "mixed", pictures(rng, 2, 176, 176), "ab")
    write(tmp_path / "mixed", pictures(rng, 4, 176, 180)[2:], "ab")
    ran = cli("ms-ssim", "mixed")
    assert ran.code == 1
    with pytest.raises(
        OptionError, match=r"^metrics: ms-ssim compares the images themselves; expected ms-ssim, got ms"
    ):
        gm.evaluate(None, "small", ["ms-ssim@efficientnet-lite0"])
    with pytest.raises(OptionError, match="ms-ssim@pixels is asked for twice, as ms-ssim too"):
        gm.evaluate(None, "small", ["ms-ssim", "ms-ssim@pixels"])
    with pytest.raises(StatisticsError, match=r"^ms-ssim: expected at least 2 fake images of every class, got 1 of b"):
        fed(pictures(rng, 3, 176, 176, 1), [*"aab"]).compute()
    flat = fed(pictures(rng, 3, 176, 176, 1), [*"aaa"])
    flat.image_shape = None
    with pytest.raises(StatisticsError, match=r"^ms-ssim: expected images, whose height and width are known, got vec"):
        flat.compute()
    with pytest.raises(StatisticsError, match=r"^ms-ssim: expected images of at least 176x176, got 176x175$"):
        multiscale_similarity(torch.zeros(1, 1, 175, 176), torch.zeros(1, 1, 175, 176))
