"""Checks of the sizes a network is built with and the shapes it is called with; errors are messages of one line."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ganmetrics.printable import brief
from reference_models.errors import RecipeError


def expect_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    """Raise RecipeError unless `tensor` is `(N, *shape)`."""
    if tuple(tensor.shape[1:]) != tuple(shape) or tensor.dim() == 0:
        expected = ", ".join(("N", *map(str, shape)))
        raise RecipeError(f"{name}: expected shape ({expected}), got {tuple(tensor.shape)}; reshape the input")


def expect_count(name: str, value: int) -> None:
    """Raise RecipeError unless `value` is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RecipeError(f"{name}: expected a whole number of at least 1, got {brief(value)}; use 1 or more")


def expect_image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """`shape` as (channels, height, width), or RecipeError."""
    if len(shape) != 3:
        raise RecipeError(f"image_shape: expected (channels, height, width), got {tuple(shape)}; use (1, 28, 28), say")
    for name, value in zip(("channels", "height", "width"), shape, strict=True):
        expect_count(f"image_shape, {name}", value)
    return shape[0], shape[1], shape[2]
