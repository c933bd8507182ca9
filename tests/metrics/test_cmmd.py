"""CMMD against exact answers and the published arithmetic, and the CLIP embeddings that it is meant for."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features import load_extractor
from ganmetrics.features.extractor import CPU, Options
from ganmetrics.features.timm_backbone import is_clip
from ganmetrics.measurement.comparability import score_name
from ganmetrics.measurement.confidence import interval
from ganmetrics.metrics.cmmd import ClipDistance, cmmd
from ganmetrics.metrics.numerics.resampling import counts
from ganmetrics.runtime.arithmetic import exact_arithmetic
from tests.helpers.kernels import Points, store


def published(x: np.ndarray, y: np.ndarray) -> float:
    """`mmd` of google-research's cmmd/distance.py on embeddings as its embedding.py normalises them, in float64."""
    x, y = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (x, y))
    gamma = 1 / (2 * 10**2)

    def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
        squared = -2 * a @ b.T + np.diag(a @ a.T)[:, None] + np.diag(b @ b.T)[None, :]
        return np.exp(-gamma * squared).mean()

    return 1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))


def embeddings(rng: np.random.Generator, n: int, dim: int = 48, shift: float = 0.0) -> np.ndarray:
    """Vectors about a common direction, of lengths about ten, as CLIP's are."""
    return 10 * (rng.standard_normal((n, dim)) * 0.8 + 0.5 + shift * np.sin(np.arange(dim))) / math.sqrt(dim)


def metric_of(x: Points, y: Points) -> ClipDistance:
    metric = ClipDistance()
    metric.update(torch.as_tensor(x), "real")
    metric.update(torch.as_tensor(y), "fake")
    return metric


@pytest.mark.parametrize(("m", "n"), [(2, 3), (200, 200), (310, 120)])
def test_the_published_arithmetic(rng: np.random.Generator, m: int, n: int) -> None:
    x, y = embeddings(rng, m), embeddings(rng, n, shift=0.2)
    assert metric_of(x, y).compute().value == pytest.approx(published(x, y), rel=1e-9)


def test_two_opposite_points() -> None:
    """|x - y| = 2 whatever the lengths: 1000 (1 + 1 - 2 exp(-4 / 200))."""
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    value, bias = cmmd(store(x), store(-5 * x))
    assert value == pytest.approx(2000 * (1 - math.exp(-0.02)), rel=1e-12)
    assert bias == 0


def test_float32_keeps_the_digits_that_the_published_means_lose(rng: np.random.Generator) -> None:
    x, y = (embeddings(rng, 800, 768, shift).astype(np.float32) for shift in (0.0, 0.1))
    exact = published(x.astype(np.float64), y.astype(np.float64))
    assert metric_of(x, y).compute().value == pytest.approx(exact, rel=1e-6)


def test_bias_of_few_images(rng: np.random.Generator) -> None:
    """What is named is the difference from the unbiased estimate, and the number to give makes it a 20th."""
    x, y = embeddings(rng, 40), embeddings(rng, 60, shift=0.2)
    value, bias = cmmd(store(x), store(y))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y)]
    within, between = (
        [np.exp(-(((a[:, None] - b) ** 2).sum(-1)) / 200) for a, b in pairs]
        for pairs in ([(unit[0], unit[0]), (unit[1], unit[1])], [tuple(unit)])
    )
    unbiased = sum(k[~np.eye(len(k), dtype=bool)].mean() for k in within) - 2 * between[0].mean()
    assert value - bias == pytest.approx(1000 * unbiased, rel=1e-9)
    (said,) = metric_of(x, y).compute().warnings
    need = int(said.rpartition("at least ")[2])
    assert said.startswith("40 real and 60 fake images: ")
    assert bias * 40 / need == pytest.approx(0.05 * (value - bias + bias * 40 / need), rel=0.02)
    assert not metric_of(np.repeat(x, 20, axis=0), np.repeat(y - 9, 20, axis=0)).compute().warnings


def test_same_distribution_asks_for_no_number(rng: np.random.Generator) -> None:
    x = embeddings(rng, 30)
    (said,) = metric_of(x, x[:29]).compute().warnings
    value, bias = cmmd(store(x), store(x[:29]))
    assert bias > value > 0
    assert said == (
        f"30 real and 29 fake images: the bias of so few is {bias:.3g}, all of the {value:.3g}: no difference is seen"
    )


def test_a_number_out_of_reach_is_not_given(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said "compare only at these counts, or no number of images in reach would make it small"."""
    monkeypatch.setattr(sys.modules[ClipDistance.__module__], "OUT_OF_REACH", 41)
    (said,) = metric_of(embeddings(rng, 40), embeddings(rng, 60, shift=0.2)).compute().warnings
    assert said.endswith(" is the bias of so few; compare only at these counts")


def test_errors(rng: np.random.Generator) -> None:
    x = embeddings(rng, 6)
    with pytest.raises(StatisticsError, match="needs at least 2 fake images, got 1"):
        metric_of(x, x[:1]).compute()
    with pytest.raises(StatisticsError, match="an embedding is all zeros"):
        metric_of(x, x * 0).compute()


def test_replicates_are_the_value_on_drawn_images(rng: np.random.Generator) -> None:
    x, y = embeddings(rng, 40), embeddings(rng, 30, shift=0.2)
    found = metric_of(x, y).replicates(100, seed=3)["cmmd"]
    drawn = [torch.cat(list(counts(len(side), 100, 3, name))).int() for name, side in (("real", x), ("fake", y))]
    for i in (0, 99):
        again = [np.repeat(side, each[i].numpy(), axis=0) for side, each in zip((x, y), drawn, strict=True)]
        assert float(found[i]) == pytest.approx(published(*again), rel=1e-7)


def test_coverage_of_the_interval(rng: np.random.Generator) -> None:
    """Of the value at these numbers of images, bias and all."""
    draws = [(embeddings(rng, 50, 8), embeddings(rng, 50, 8, 0.5)) for _ in range(200)]
    values = [metric_of(*pair).compute().value for pair in draws]
    ends = [interval(values[i], metric_of(*pair).replicates(200, i)["cmmd"]) for i, pair in enumerate(draws)]
    assert 0.9 <= np.mean([low <= np.mean(values) <= high for low, high in ends]) <= 0.99


CLIP = "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """The smallest CLIP image tower of timm with random weights, and its state dict."""
    torch.manual_seed(0)
    model = timm.create_model(CLIP, pretrained=False).eval()
    path = tmp_path_factory.mktemp("clip") / "clip.pth"
    torch.save(model.state_dict(), path)
    return model, path


def test_features_of_a_clip_model_are_its_projected_embedding(
    clip: tuple[torch.nn.Module, Path], images: torch.Tensor
) -> None:
    model, path = clip
    extractor = load_extractor(f"timm:{CLIP}", Options(weights=path))
    assert (extractor.taps, extractor.features_tap, extractor.logits_tap) == (("embedding",), "embedding", None)
    with exact_arithmetic(CPU):
        embedding = extractor([images], ["embedding"])["embedding"]
        states = model.norm(model.forward_features(extractor.prepare([images])))[:, 0]
        assert embedding.shape == (9, 512)
        torch.testing.assert_close(embedding, states @ model.head.weight.T + model.head.bias, rtol=1e-4, atol=1e-5)


def test_scores_on_it(clip: tuple[torch.nn.Module, Path], images: torch.Tensor) -> None:
    options = {"features": f"timm:{CLIP}", "weights": clip[1], "device": "cpu", "progress": False}
    scores = gm.evaluate(images, images.flip(2), ["cmmd", "fid"], **options)
    assert [score.metric for score in scores.values()] == [f"cmmd-timm-{CLIP}", f"fd-timm-{CLIP}"]
    assert scores["cmmd"].protocol["tap"] == "embedding"
    with pytest.raises(OptionError, match=r"over class logits, which this extractor lacks \(it gives embedding"):
        gm.inception_score(images, **options)


def test_the_name_alone_is_of_the_published_embedding() -> None:
    """OpenAI's ViT-L/14 at 336 px with the activation it was trained with, 768 dimensions."""
    features, tap = ClipDistance.canonical
    config = timm.get_pretrained_cfg(features.removeprefix("timm-")).to_dict()
    assert (config["num_classes"], config["input_size"], is_clip(config)) == (768, (3, 336, 336), True)
    metric = ClipDistance()
    assert score_name(metric, "cmmd", {"features": features, "tap": tap}, 768) == "cmmd"
    assert score_name(metric, "cmmd", {"features": "inception", "tap": "2048"}, 2048) == "cmmd-inception"


def test_clip_models_that_became_classifiers_keep_their_logits() -> None:
    known = {name: is_clip(timm.get_pretrained_cfg(name).to_dict()) for name in timm.list_pretrained()}
    sizes = {timm.get_pretrained_cfg(name).num_classes for name, clip in known.items() if clip}
    assert known["vit_base_patch32_clip_224.openai"]
    assert known["convnext_large_mlp.clip_laion2b_ft_320"]
    assert not known["vit_base_patch32_clip_224.openai_ft_in1k"]
    assert not known["resnet50_clip_gap.openai"]
    assert not known["resnet50.a1_in1k"]
    assert not sizes & {1000, 11821, 21841, 21843}


def test_openai_weights_in_a_model_of_another_activation_are_told(
    monkeypatch: pytest.MonkeyPatch, clip: tuple[torch.nn.Module, Path]
) -> None:
    """Both names of timm load OpenAI's weights; only one has the network that they were trained in."""
    note = "natively QuickGELU, use quickgelu model variant for original results"
    assert note in timm.get_pretrained_cfg("vit_large_patch14_clip_336.openai").notes
    create = timm.create_model

    def noted(name: str, **options: bool) -> torch.nn.Module:
        model = create(name, **options)
        model.pretrained_cfg = {**model.pretrained_cfg, "notes": (note,)}
        return model

    monkeypatch.setattr(timm, "create_model", noted)
    assert load_extractor(f"timm:{CLIP}", Options(weights=clip[1])).warnings == [f"timm:{CLIP}: {note}"]
