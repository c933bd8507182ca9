"""Errors that a user of `reference_models` can fix, each with a message of one line."""

from __future__ import annotations

from ganmetrics.errors import GanMetricsError


class RecipeError(GanMetricsError):
    """A field of a recipe has an invalid value, or fields contradict each other."""


class DataError(GanMetricsError):
    """The training images cannot be used as they are."""


class CheckpointError(GanMetricsError):
    """A run or checkpoint is missing, damaged, of another variant, or was made with another configuration."""


class TrainingError(GanMetricsError):
    """Training cannot continue: for example, a loss is not finite or the disk is full."""
