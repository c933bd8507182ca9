"""GAN evaluation metrics whose numbers say how they were measured. See README.md."""

from ganmetrics.errors import GanMetricsError
from ganmetrics.metrics.index import OF_IMAGES
from ganmetrics.runtime.lazy import lazily
from ganmetrics.version import __version__

# Imported at first use: torch takes seconds to import, and `ganmetrics --help` does not need it.
# No module may share a name with an attribute, since importing it would replace the attribute: hence evaluation.py.
_LAZY = {
    **{entry.streaming: "streaming" for entry in OF_IMAGES.values()},
    "Evaluator": "streaming",
    "Monitor": "monitor",
    "Parzen": "parzen",
    "Reconstruction": "reconstruction",
    "Score": "score",
    "Settings": "measurement.settings",
    "evaluate": "evaluation",
    "fid": "evaluation",
    "inception_score": "evaluation",
    "invert": "metrics.inversion.inverter",
    "kid": "evaluation",
    "merge": "sharding",
    "parzen_log_likelihood": "parzen",
    "prdc": "evaluation",
    "read_history": "history",
    "reconstruction_loss": "reconstruction",
    "running_and_final": "held_out",
    "stats": "sharding",
}
__all__ = ["GanMetricsError", "__version__", *_LAZY]
__getattr__, __dir__ = lazily(__name__, _LAZY)
