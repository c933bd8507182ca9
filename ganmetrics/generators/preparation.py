"""Prepare test images like a generator's training images, by the rule in its checkpoint, only when asked to."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.generators.opened import OpenGenerator
from ganmetrics.images.preparation import RESIZE, prepared

RULES: dict[str, Callable[[Tensor, tuple[int, int, int]], Tensor]] = {
    RESIZE: prepared,
}


def rule_of(generator: OpenGenerator) -> str:
    """The rule in the generator's checkpoint (`config["data"]["resize"]`). Raises OptionError if there is none."""
    try:
        rule = generator.generator.config["data"]["resize"]
    except (AttributeError, KeyError, TypeError):
        rule = None
    if rule not in RULES:
        raise OptionError(
            f"--resize: generator {generator.name} does not say how its training images were prepared; "
            "prepare the test images yourself and leave it out"
        )
    return rule
