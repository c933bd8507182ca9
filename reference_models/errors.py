"""Mistakes of training, as one line each."""

from __future__ import annotations

from ganmetrics.errors import GanMetricsError


class RecipeError(GanMetricsError):
    """A field of a recipe has a value, or stands in a combination, that means nothing."""


class DataError(GanMetricsError):
    """The training images cannot be used as they are."""


class CheckpointError(GanMetricsError):
    """A run or checkpoint is absent, damaged, of another variant, or was made with another configuration."""


class TrainingError(GanMetricsError):
    """Training cannot go on: a loss is not finite, the disk is full."""
