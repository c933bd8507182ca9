"""What each value of each metric is called and says, in words: both stand in the index."""

from __future__ import annotations

from ganmetrics.metrics import METRICS
from ganmetrics.metrics.index import Entry


def title(key: str) -> str:
    """The metric's title in the index, with the value's own name where it has several."""
    name, entry = _found(key)
    if entry is None:
        return key
    return name.replace("-", " ").replace("_", " ").capitalize() if entry.parts else entry.title


def sentence(key: str) -> str:
    """What the value says; empty for one that has no sentence of its own."""
    name, entry = _found(key)
    return "" if entry is None else entry.says.get(name, "")


def _found(key: str) -> tuple[str, Entry | None]:
    """The value's name without an extractor, and the entry that has it."""
    name = key.partition("@")[0]
    return name, next((entry for entry in METRICS.values() if name in entry.values), None)
