"""Scores as pictures."""

from __future__ import annotations


def has_matplotlib() -> bool:
    """Whether it can be imported, which one that is installed and broken cannot."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True
