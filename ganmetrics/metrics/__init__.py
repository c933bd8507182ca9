"""Statistics -> Result, one file a metric. METRICS is the index; commands, README and tests are derived from it."""

from ganmetrics.metrics.index import METRICS, OF_IMAGES, SIDES

__all__ = ["METRICS", "OF_IMAGES", "SIDES"]
