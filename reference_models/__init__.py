"""The GAN variants and trainers that make the samples `ganmetrics` scores.

`VARIANTS` is the index by name. The variants arrive one by one; see CHANGELOG.md for those that are there.
"""

from collections.abc import Mapping

VARIANTS: Mapping[str, type] = {}
