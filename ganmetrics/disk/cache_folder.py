"""Where weights and statistics are kept from one run to the next. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The user's cache folder: `GANMETRICS_CACHE` where it is set, else the platform's own. It may not exist yet."""
    named = os.environ.get("GANMETRICS_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("ganmetrics", appauthor=False)
