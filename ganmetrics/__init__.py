"""GAN evaluation metrics whose numbers say how they were measured."""

from ganmetrics.version import __version__

__all__ = ["__version__"]
