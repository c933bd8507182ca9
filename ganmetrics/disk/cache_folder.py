"""Where weights and statistics are kept between runs. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The cache folder: `GANMETRICS_CACHE` if set, else the platform's folder for the user. It may not exist yet."""
    folder = os.environ.get("GANMETRICS_CACHE")
    return Path(folder).expanduser() if folder else platformdirs.user_cache_path("ganmetrics", appauthor=False)
