"""`timm:NAME`: any model of PyTorch Image Models (Wightman 2019) as an extractor: DINOv2, CLIP, ConvNeXt, ...

Size, mean, standard deviation and interpolation are those of the model's own pretrained configuration. The whole
image is resized to the input size, without a crop, so that the borders of generated images count too.

The classifier of a CLIP model that was not fine-tuned on classes is its projection (Radford et al. 2021,
arXiv:2103.00020, Figure 3): such a model has one tap, the projected "embedding", and no logits.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from ganmetrics.errors import OptionError, WeightsError
from ganmetrics.features import weights
from ganmetrics.features.efficientnet_lite import TimmTaps
from ganmetrics.features.extractor import NetworkExtractor, Options, load_weights, place, state_dict_sha256

INTERPOLATIONS = {"bicubic": "pil-bicubic", "bilinear": "bilinear-antialias"}


class ClipEmbedding(nn.Module):
    """A timm CLIP model with one tap, the projected "embedding", not normalised to length 1."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, taps: Collection[str]) -> dict[str, Tensor]:
        return {"embedding": self.model(x)} if "embedding" in taps else {}


def is_clip(config: dict[str, Any]) -> bool:
    """Whether a timm pretrained configuration is of an image encoder with its projection, like OpenAI's CLIP."""
    name, tag = str(config.get("architecture")), str(config.get("tag"))
    projects = "clip" in name or "clip" in tag or name.startswith("vit_pe_core")
    return projects and "ft_in" not in tag and config.get("num_classes", 0) > 0


def build(argument: str, options: Options) -> NetworkExtractor:
    """`timm:NAME` with its pretrained weights, or with a state dict named by the user."""
    with torch.random.fork_rng(devices=[]):  # restores the caller's random state
        model = _create(argument, options)
    config = resolve_model_data_config(model)
    channels, height, width = config["input_size"]
    if (channels, height) != (3, width):
        raise OptionError(f"--features timm:{argument}: expected a square RGB input, its is {config['input_size']}")
    taps: tuple[str, ...] = ("features", "logits") if getattr(model, "num_classes", 0) > 0 else ("features",)
    clip = is_clip(model.pretrained_cfg)
    if clip:
        taps = ("embedding",)
    sha256 = state_dict_sha256(model)  # before `place` changes the dtype
    # timm's notes recommend the QuickGELU variant; for that variant itself they are left out.
    notes = model.pretrained_cfg.get("notes") or () if "quickgelu" not in argument else ()
    return NetworkExtractor(
        f"timm-{argument}",
        place(ClipEmbedding(model) if clip else TimmTaps(model), options),
        taps=taps,
        features_tap=taps[0],
        logits_tap="logits" if "logits" in taps else None,
        default_taps=taps,
        size=height,
        resize=options.resize or INTERPOLATIONS.get(config["interpolation"], "pil-bicubic"),
        mean=[255.0 * value for value in config["mean"]],
        std=[255.0 * value for value in config["std"]],
        weights_sha256=sha256,
        options=options,
        warnings=[f"timm:{argument}: {note}" for note in notes],
    )


def _create(name: str, options: Options) -> Any:
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(pretrained=True), n=3)
        hint = f"; close to {', '.join(close)}" if close else ""
        raise OptionError(f"--features timm:{name}: timm {timm.__version__} has no model of this name{hint}")
    if options.weights is not None:
        model: nn.Module = timm.create_model(name, pretrained=False)
        load_weights(model, weights.load_state_dict(options.weights), str(options.weights), f"a timm {name} state dict")
        return model
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it would log every retry
    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # the hub's client raises many kinds when it cannot reach or find a file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"--features timm:{name}: its pretrained weights cannot be loaded ({reason}); give --weights PATH, "
            "or use --features efficientnet-lite0, which needs no download"
        ) from error
