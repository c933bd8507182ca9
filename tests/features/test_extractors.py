"""Extractors: the same vectors whatever the batch, and nothing of the caller's disturbed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError, WeightsError
from ganmetrics.features import EXTRACTORS, load_extractor
from ganmetrics.features.extractor import Options
from ganmetrics.runtime.arithmetic import exact_arithmetic

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lite():
    return load_extractor("efficientnet-lite0", Options())


def test_the_embedded_network_sees(lite) -> None:
    """The middle of scikit-learn's two photographs: a palace and a daisy, ImageNet classes 698 and 985."""
    from sklearn.datasets import load_sample_images

    squares = [photo[:, 106:533].copy() for photo in load_sample_images().images]
    photos = [torch.from_numpy(square).permute(2, 0, 1)[None] for square in squares]
    with exact_arithmetic(CPU):
        out = lite(photos, ["features", "logits"])
    assert out["features"].shape == (2, 1280)
    assert out["logits"].argmax(dim=1).tolist() == [698, 985]


@pytest.mark.parametrize("features", ["efficientnet-lite0", "inception:192"])
def test_vectors_do_not_depend_on_the_batch(features: str, synthetic_weights: Path, images: torch.Tensor) -> None:
    weights = synthetic_weights if features.startswith("inception") else None
    extractor = load_extractor(features, Options(weights=weights))
    tap = str(extractor.features_tap)
    with exact_arithmetic(CPU):
        whole = extractor([images], [tap])[tap]
        for size in (1, 2, 4):
            parts = torch.cat([extractor([part], [tap])[tap] for part in images.split(size)])
            torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
        stacks = [images[:2], images[2:3], images[3:]]
        torch.testing.assert_close(extractor(stacks, [tap])[tap], whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_the_score_does_not_depend_on_the_batch(images: torch.Tensor, batch_size: int) -> None:
    other = (images.float() * 0.8).byte()
    options = {"features": "efficientnet-lite0", "device": "cpu", "progress": False}
    whole = gm.fid(images, other, batch_size=9, **options)
    assert gm.fid(images, other, batch_size=batch_size, **options).value == pytest.approx(whole.value, rel=1e-5)


def test_grey_and_mixed_sizes(lite, images: torch.Tensor) -> None:
    grey = images[:2, :1]
    with exact_arithmetic(CPU):
        one = lite([grey], ["features"])["features"]
        three = lite([grey.expand(-1, 3, -1, -1).contiguous()], ["features"])["features"]
        mixed = lite([grey, images[2:3, :, :20, :30], images[3:4]], ["features"])["features"]
    torch.testing.assert_close(one, three, rtol=0, atol=0)
    torch.testing.assert_close(mixed[:2], one, rtol=1e-4, atol=1e-4)
    assert len(mixed) == 4


def test_pixels() -> None:
    extractor = load_extractor("pixels", Options())
    x = torch.arange(2 * 3 * 4).reshape(2, 1, 3, 4).byte()
    out = extractor([x], ["features"])["features"]
    torch.testing.assert_close(out, x.reshape(2, 12))
    with pytest.raises(StatisticsError, match="got 4x3 grey and 5x3 grey; resize them first"):
        extractor([torch.zeros(1, 1, 3, 5, dtype=torch.uint8)], ["features"])


class Mean(nn.Module):
    """A user's own module, with everything that would go wrong in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        return self.drop(self.norm(x.float())).mean(dim=(2, 3))


def test_a_users_module_runs_in_eval_and_is_left_as_it_was(images: torch.Tensor) -> None:
    module = Mean().train()
    module.norm.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    score = gm.fid(images, images // 2, features=module, device="cpu", progress=False)
    again = gm.fid(images, images // 2, features=module, device="cpu", progress=False)
    assert score.value == again.value > 0
    assert score.metric == "fd-Mean"
    assert score.protocol["weights_sha256"]
    assert (module.training, module.norm.training, module.drop.training) == (True, False, True)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_users_function_and_module_attribute(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_features.py").write_text("def means(x):\n    return x.float().mean(dim=(2, 3))\n")
    monkeypatch.chdir(tmp_path)
    named = gm.fid(images, images // 2, features="my_features:means", device="cpu", progress=False)
    direct = gm.fid(images, images // 2, features=lambda x: x.float().mean((2, 3)), device="cpu", progress=False)
    assert named.value == direct.value
    assert named.metric == "fd-my_features-means"


BAD_CALLABLES = {
    "maps": (lambda x: x.float(), r"expected a tensor of shape \(9, D\) for 9 images, got \(9, 3, 48, 48\)"),
    "none": (lambda x: None, r"expected a tensor of shape \(9, D\) for 9 images, got None;"),
    "fewer": (lambda x: x[:4].float().flatten(1), r"for 9 images, got \(4, 6912\)"),
    "NaN": (lambda x: x.float().flatten(1) / 0 * 0, "NaN or infinity"),
}


@pytest.mark.parametrize("case", BAD_CALLABLES)
def test_a_users_function_that_gives_something_else(images: torch.Tensor, case: str) -> None:
    function, said = BAD_CALLABLES[case]
    with pytest.raises((OptionError, StatisticsError), match=said):
        gm.fid(images, images, features=function, device="cpu", batch_size=9, progress=False)


TIMM = "test_efficientnet.r160_in1k"


def test_timm_with_weights_of_its_own(tmp_path: Path, images: torch.Tensor) -> None:
    """A tiny timm model, its configuration (160 px, its mean and std) and our resize, against timm by hand."""
    torch.manual_seed(0)
    model = timm.create_model(TIMM, pretrained=False).eval()
    torch.save(model.state_dict(), tmp_path / "tiny.pth")
    extractor = load_extractor(f"timm:{TIMM}", Options(weights=tmp_path / "tiny.pth"))
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    from ganmetrics.images.resize import RESIZES

    x = (RESIZES[extractor.resize](images, config["input_size"][1], torch.float32) / 255 - mean) / std
    with exact_arithmetic(CPU):
        out = extractor([images], ["features", "logits"])
        pooled = model.forward_head(model.forward_features(x), pre_logits=True)
        torch.testing.assert_close(out["features"], pooled, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(out["logits"], model(x), rtol=1e-4, atol=1e-5)


def test_timm_without_network_never_runs_on_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it retries for a minute
    message = r"its pretrained weights cannot be loaded .* or use --features efficientnet"
    with pytest.raises(WeightsError, match=message):
        load_extractor(f"timm:{TIMM}", Options())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("inceptoin", "expected one of inception, efficientnet-lite0, pixels, timm or module:attribute"),
        ("inception:7", "expected one of 64, 192, spatial, 768, 2048, logits-unbiased, logits after the colon"),
        ("efficientnet-lite0:x", "takes nothing after a colon"),
        ("pixels:x", "has no taps"),
        ("timm:resnet5O", "has no model of this name; close to resnet"),
        ("timm:", "has no model of this name"),
        ("no_such_module:f", "cannot be imported"),
        ("os:no_such_thing", "cannot be imported"),
        ("os:sep", f"expected a callable or a torch.nn.Module, got {os.sep!r}"),
    ],
)
def test_names_that_mean_nothing(name: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        load_extractor(name, Options())
    assert said in str(caught.value)


@pytest.mark.parametrize("features", ["pixels", "inception:768"])
def test_no_inception_score_of_features(features: str, synthetic_weights: Path, images: torch.Tensor) -> None:
    weights = synthetic_weights if "inception" in features else None
    with pytest.raises(OptionError, match="the Inception Score is over class logits, which this extractor lacks"):
        gm.inception_score(images, features=features, weights=weights, device="cpu", progress=False)


def test_the_callers_arithmetic_settings_come_back() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        x = torch.randn(300, 300)
        exact = (x.double() @ x.double()).float()
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
            with exact_arithmetic(CPU):
                assert not torch.is_grad_enabled()
                torch.testing.assert_close(x @ x, exact, rtol=1e-4, atol=1e-4)
            assert torch.is_grad_enabled()
            assert (x @ x).dtype == torch.bfloat16
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("features", [name for name in EXTRACTORS if name != "timm"])
def test_loading_and_running_uses_none_of_the_callers_random_numbers(
    features: str, synthetic_weights: Path, images: torch.Tensor
) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    weights = synthetic_weights if features == "inception" else None
    gm.fid(images[:3], images[3:6], features=features, weights=weights, device="cpu", progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_bfloat16_is_a_choice_that_the_score_states(images: torch.Tensor) -> None:
    other = (images.float() * 0.6).byte()
    options = {"features": "efficientnet-lite0", "device": "cpu", "progress": False}
    exact, short = (gm.fid(images, other, dtype=dtype, **options) for dtype in ("float32", "bfloat16"))
    assert short.protocol["dtype"] == "bfloat16"
    assert short.value != exact.value
    assert short.value == pytest.approx(exact.value, rel=0.25)


def only_in_0_to_1(x: torch.Tensor) -> torch.Tensor:
    if x.max() > 1:
        raise ValueError("expected values in [0, 1]")
    return x.flatten(1)


def refuses_all_but_float32(x: torch.Tensor) -> torch.Tensor:
    if x.dtype != torch.float32:
        raise TypeError
    return x.flatten(1)


FAIL_ON_BYTES = {
    "convolution": nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()),
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 48, 2)),
    "mean": lambda x: x.mean(dim=(2, 3)),
    "interpolation": lambda x: nn.functional.interpolate(x, (8, 8), mode="bicubic").flatten(1) @ torch.zeros(192, 2),
    "normalisation": lambda x: nn.functional.batch_norm(x, torch.zeros(3), torch.ones(3)).flatten(1),
}


@pytest.mark.parametrize("case", FAIL_ON_BYTES)
def test_a_callable_that_fails_on_bytes_is_told_so(images: torch.Tensor, case: str) -> None:
    with pytest.raises(OptionError) as caught:
        gm.fid(images, images, features=FAIL_ON_BYTES[case], device="cpu", batch_size=9, progress=False)
    said = str(caught.value)
    assert said.endswith(
        "; it is handed uint8 images (9, 3, 48, 48) in 0..255; convert them in it, e.g. x.float() / 255"
    )
    assert said.startswith("features ")
    assert "\n" not in said


@pytest.mark.parametrize("function", [only_in_0_to_1, refuses_all_but_float32])
def test_a_callable_that_fails_otherwise_is_told_what_it_is_handed(images: torch.Tensor, function: Callable) -> None:
    with pytest.raises(OptionError) as caught:
        gm.fid(images, images, features=function, device="cpu", batch_size=9, progress=False)
    assert str(caught.value).endswith("; it is handed uint8 images (9, 3, 48, 48) in 0..255")
