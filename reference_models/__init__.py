"""The GAN variants and trainers that make the samples `ganmetrics` scores. See docs/reference_models.md.

`VARIANTS` is the index by name, `train` makes a run directory, `load(path).sample(n)` images of it.
"""

import importlib
from typing import Any

# Loaded at first use: torch takes seconds to import, and `reference-models --help` needs none of it.
_LAZY = {
    "VARIANTS": "index",
    "Cadence": "cadence",
    "Model": "sampler",
    "Outcome": "outcome",
    "Scoring": "scoring",
    "Variant": "variant",
    "load": "sampler",
    "train": "runs",
}
__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'reference_models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"reference_models.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
