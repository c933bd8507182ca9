"""GAN evaluation metrics whose numbers say how they were measured. See README.md."""

import importlib
from typing import Any

from ganmetrics.errors import GanMetricsError
from ganmetrics.version import __version__

# `evaluate` lives in evaluation.py: a submodule of its own name would take its place on the package.
# Loaded at first use: torch takes seconds to import, and `ganmetrics --help` needs none of it.
_LAZY = {
    "FID": "monitor",
    "InceptionScore": "monitor",
    "Parzen": "likelihood",
    "Reconstruction": "reconstruction",
    "Score": "score",
    "Settings": "settings",
    "evaluate": "evaluation",
    "fid": "evaluation",
    "inception_score": "evaluation",
    "invert": "metrics.inversion",
    "merge": "evaluation",
    "parzen_log_likelihood": "likelihood",
    "reconstruction_loss": "reconstruction",
    "running_and_final": "heldout",
    "stats": "evaluation",
}
__all__ = ["GanMetricsError", "__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ganmetrics' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ganmetrics.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
