"""The GAN variants and trainers that make the samples `ganmetrics` scores. See docs/reference_models.md.

`VARIANTS` is the index by name, `train` makes a run directory, `load(path).sample(n)` images of it.
"""

from ganmetrics.runtime.lazy import lazily

# Loaded at first use: torch takes seconds to import, and `reference-models --help` needs none of it.
_LAZY = {
    "VARIANTS": "index",
    "Cadence": "training.cadence",
    "Model": "sampling.sampler",
    "Outcome": "training.outcome",
    "Scoring": "training.scoring",
    "Variant": "variant",
    "load": "sampling.sampler",
    "train": "training.run",
}
__all__ = list(_LAZY)
__getattr__, __dir__ = lazily(__name__, _LAZY)
