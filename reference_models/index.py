"""The index of variants, one entry each. It imports no variant, for a fast `--help`; `Entry.load` imports the class."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ganmetrics.printable import brief
from reference_models.errors import RecipeError

if TYPE_CHECKING:
    from reference_models.variant import Variant


@dataclass(frozen=True)
class Entry:
    """What tables and the command line need to know about a variant.

    Attributes:
        name: on the command line and in checkpoints; the file is `reference_models/variants/NAME.py`.
        attribute: name of its class in that file.
        title, paper: for tables.
    """

    name: str
    attribute: str
    title: str
    paper: str

    def load(self) -> type[Variant]:
        """The variant's class."""
        return getattr(importlib.import_module(f"reference_models.variants.{self.name}"), self.attribute)


ENTRIES = (
    Entry("gan", "GAN", "Generative adversarial nets, on multilayer perceptrons",
          "[Goodfellow et al. 2014](https://arxiv.org/abs/1406.2661)"),
    Entry("dcgan", "DCGAN", "Deep convolutional GAN", "[Radford et al. 2015](https://arxiv.org/abs/1511.06434)"),
    Entry("lsgan", "LSGAN", "Least squares GAN, on DCGAN's networks",
          "[Mao et al. 2017](https://arxiv.org/abs/1611.04076)"),
    Entry("wngan", "WNGAN", "Weight-normalised GAN", "[Xiang & Li 2017](https://arxiv.org/abs/1704.03971)"),
    Entry("began", "BEGAN", "Boundary equilibrium GAN", "[Berthelot et al. 2017](https://arxiv.org/abs/1703.10717)"),
)  # fmt: skip
VARIANTS = {entry.name: entry for entry in ENTRIES}


def get_variant(name: str) -> Entry:
    """The entry of that name. Raises RecipeError that lists the known names."""
    if not isinstance(name, str) or name not in VARIANTS:
        raise RecipeError(f"unknown variant {brief(name)}; expected one of {', '.join(VARIANTS)}")
    return VARIANTS[name]
