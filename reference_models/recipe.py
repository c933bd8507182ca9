"""Recipes: all settings that a variant's training depends on, as frozen dataclasses; fields carry help text and limits.

The command line's options, the checks and the comparison at `--resume` are all derived from the fields. Imports no
torch, so that `reference-models train VARIANT --help` is fast.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganmetrics.printable import brief
from reference_models.errors import RecipeError

SEEDS = 2**31  # seeds are below this, so that seed * 1_000_003 + an index fits into 63 bits
COUNTS = 2**31  # whole numbers of a recipe are below this


def setting(
    default: Any,
    help: str,
    *,
    kind: type | None = None,
    least: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
    free: bool = False,
) -> Any:
    """A field of a recipe.

    Args:
        default: the value if none is given; None needs `kind`.
        help: one sentence for the command line.
        kind: int, float, bool or str; None takes the type of `default`.
        least: smallest number allowed; a float with `least` 0 and no `below` must be greater than 0.
        below: numbers must be smaller than this.
        choices: the words that are allowed.
        free: whether a resumed run may change it, because no step depends on it.
    """
    described = Setting(help, kind or type(default), least, below, tuple(choices), free, default is None)
    return dataclasses.field(default=default, metadata={"setting": described})


@dataclass(frozen=True)
class Setting:
    """Type, limits and help text of one field; see `setting`."""

    help: str
    kind: type
    least: float | None
    below: float | None
    choices: tuple[str, ...]
    free: bool
    optional: bool

    def checked(self, name: str, value: Any) -> Any:
        """The value, converted to `kind`. Raises RecipeError that says what was expected and what was given."""
        if value is None and self.optional:
            return None
        if self.choices:
            if value not in self.choices:
                raise RecipeError(f"{name}: expected one of {', '.join(self.choices)}, got {brief(value)}")
            return value
        if self.kind is str:
            return str(value)
        if self.kind is bool:
            if not isinstance(value, bool):
                raise RecipeError(f"{name}: expected True or False, got {brief(value)}")
            return value
        number = _number(self.kind, value)
        if number is None or not self._within(number):
            raise RecipeError(f"{name}: expected {self.expected()}, got {brief(value)}")
        return number

    def _within(self, number: float) -> bool:
        positive = self.kind is float and self.least == 0 and self.below is None
        return (
            math.isfinite(number)
            and (self.least is None or (number > self.least if positive else number >= self.least))
            and (self.below is None or number < self.below)
            and (self.kind is float or number < COUNTS)
        )

    def expected(self) -> str:
        """The allowed values, in words."""
        if self.kind is int:
            return "a whole number" + ("" if self.least is None else f" of at least {self.least:g}")
        if self.below is not None:
            return f"a number from {self.least:g} to below {self.below:g}"
        return "a number" + (" above 0" if self.least == 0 else "")


def _number(kind: type, value: Any) -> Any:
    if isinstance(value, bool):  # a bool is an int to Python
        return None
    try:
        return operator.index(value) if kind is int else float(value)
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True)
class BaseRecipe:
    """The settings that every variant has, whichever its optimiser, named as in pytorch/examples' DCGAN.

    Raises RecipeError for an invalid value.
    """

    dataroot: str | None = setting(
        None, "Folder of torchvision's datasets.  [default: $GANMETRICS_DATA]", kind=str, free=True
    )
    workers: int = setting(2, "Processes that decode images which do not fit into memory.", least=0, free=True)
    batch_size: int = setting(64, "Images per step, all processes together.", least=2)
    image_size: int = setting(64, "Height and width of the images.", least=1)
    nc: int | None = setting(None, "Channels, 1 or 3.  [default: the data's]", kind=int, least=1)
    num_epochs: int = setting(25, "Passes over the data; --max-steps takes precedence.", least=1, free=True)
    lr: float = setting(2e-4, "Learning rate.", least=0)
    ema_decay: float = setting(0.999, "Decay of the generator's moving average.", least=0, below=1)
    mixed_precision: str = setting("no", "bf16 computes in bfloat16 where that is safe.", choices=("no", "bf16"))

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = about(field).checked(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        if self.nc not in (None, 1, 3):
            raise RecipeError(f"nc: expected 1 or 3 channels, got {self.nc}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> BaseRecipe:
        """A recipe from field values by name. Raises RecipeError for an unknown name."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise RecipeError(f"unknown recipe field {unknown[0]!r}; expected some of {', '.join(known)}")
        return cls(**values)


@dataclass(frozen=True)
class Recipe(BaseRecipe):
    """The settings of a variant that trains with Adam, as most do."""

    lr: float = setting(2e-4, "Learning rate of Adam.", least=0)
    beta1: float = setting(0.5, "Decay of Adam's first moment.", least=0, below=1)
    beta2: float = setting(0.999, "Decay of Adam's second moment.", least=0, below=1)


def about(field: dataclasses.Field) -> Setting:
    """The `Setting` of a dataclass field. Raises RecipeError for a field that was made without `setting`."""
    described = field.metadata.get("setting")
    if described is None:
        raise RecipeError(f"{field.name}: a recipe's fields are made with reference_models.recipe.setting")
    return described


def settings(recipe: type[BaseRecipe]) -> dict[str, Setting]:
    """The `Setting` of every field of a recipe, by name."""
    return {field.name: about(field) for field in dataclasses.fields(recipe)}
