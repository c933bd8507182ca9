"""Scores as text, tables, pictures and HTML pages."""

from __future__ import annotations

import importlib


def has(package: str) -> bool:
    """Whether the package can be imported: installed, and not broken."""
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def has_matplotlib() -> bool:
    """Whether plots can be drawn."""
    return has("matplotlib")
