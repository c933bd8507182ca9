"""Any source of images as batches of uint8 `(N, C, H, W)` images: see docs/images.md."""

from ganmetrics.images.arrays import to_uint8
from ganmetrics.images.base import ImageSource
from ganmetrics.images.reader import Reader, read_batches, require_images
from ganmetrics.images.sources import open_images
from ganmetrics.images.summary import Summary

__all__ = ["ImageSource", "Reader", "Summary", "open_images", "read_batches", "require_images", "to_uint8"]
