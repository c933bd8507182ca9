"""What the tests of kept statistics share: one quick measurement, and what the cache holds after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ganmetrics as gm
from ganmetrics.measurement import cache_files as entries

OPTIONS: dict[str, Any] = {"features": "pixels", "device": "cpu", "progress": False}


def fid(real: Any, fake: Any, **options: Any) -> gm.Score:
    return gm.fid(real, fake, **{**OPTIONS, **options})


def stored() -> list[Path]:
    """The entries there are, and what is left of unfinished ones."""
    return sorted(entries.folder().glob("*")) if entries.folder().is_dir() else []


def without_origin(score: gm.Score) -> dict[str, Any]:
    """All that a score says, but for its seconds and whether statistics were kept."""
    fields = json.loads(score.to_json())
    del fields["seconds"]
    fields["protocol"].pop("cached", None)
    return fields
