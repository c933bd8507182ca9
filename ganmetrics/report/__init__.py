"""Scores as pictures."""

from __future__ import annotations

import importlib


def has(package: str) -> bool:
    """Whether it can be imported, which one that is installed and broken cannot."""
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def has_matplotlib() -> bool:
    """Whether there can be plots."""
    return has("matplotlib")
