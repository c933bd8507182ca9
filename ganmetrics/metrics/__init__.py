"""Statistics -> Result, one file a metric. METRICS is the index; commands, README and tests are derived from it.

The metrics as functions of vectors `(N, D)` are here too: `gm.metrics.kid(real, fake)`; see `functions`.
"""

from ganmetrics.metrics.index import METRICS, OF_IMAGES, SIDES
from ganmetrics.runtime.lazy import keep_functions, lazily

FUNCTIONS = (
    "authenticity", "class_fid", "cmmd", "fid", "fid_infinity", "frechet_distance", "inception_score",
    "intra_class_diversity", "kid", "mifid", "prdc", "vendi",
)  # fmt: skip
__all__ = ["METRICS", "OF_IMAGES", "SIDES", *FUNCTIONS]
__getattr__, __dir__ = lazily(__name__, dict.fromkeys(FUNCTIONS, "functions"))
keep_functions(__name__, FUNCTIONS)
