"""GAN evaluation metrics whose numbers say how they were measured. See README.md."""

from ganmetrics.errors import GanMetricsError
from ganmetrics.lazy import lazily
from ganmetrics.version import __version__

# `evaluate` lives in evaluation.py: a submodule of its own name would take its place on the package.
# Loaded at first use: torch takes seconds to import, and `ganmetrics --help` needs none of it.
_LAZY = {
    "Evaluator": "streaming",
    "FID": "streaming",
    "InceptionScore": "streaming",
    "Monitor": "monitor",
    "Parzen": "likelihood",
    "Reconstruction": "reconstruction",
    "Score": "score",
    "Settings": "settings",
    "evaluate": "evaluation",
    "fid": "evaluation",
    "inception_score": "evaluation",
    "invert": "metrics.inversion",
    "kid": "evaluation",
    "merge": "sharding",
    "parzen_log_likelihood": "likelihood",
    "prdc": "evaluation",
    "read_history": "history",
    "reconstruction_loss": "reconstruction",
    "running_and_final": "heldout",
    "stats": "sharding",
}
__all__ = ["GanMetricsError", "__version__", *_LAZY]
__getattr__, __dir__ = lazily(__name__, _LAZY)
