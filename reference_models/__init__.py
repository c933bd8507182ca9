"""The GAN variants and trainers that make the samples `ganmetrics` scores. See docs/reference_models.md.

`VARIANTS` maps names to variants, `train` makes a run directory, `load(path).sample(n)` returns its images.
"""

from ganmetrics.runtime.lazy import lazily

# Loaded at first use: torch takes seconds to import, and `reference-models --help` does not need it.
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
