"""The title of each value of each metric, and the sentence that explains it; both come from the index."""

from __future__ import annotations

from ganmetrics.metrics import METRICS
from ganmetrics.metrics.index import Entry


def title(key: str) -> str:
    """The title of the metric, or the name of the value if the metric has several."""
    name, entry = _entry_of(key)
    if entry is None:
        return key
    return name.replace("-", " ").replace("_", " ").capitalize() if entry.parts else entry.title


def sentence(key: str) -> str:
    """The sentence that explains the value; empty if there is none."""
    name, entry = _entry_of(key)
    return "" if entry is None else entry.says.get(name, "")


def _entry_of(key: str) -> tuple[str, Entry | None]:
    """The name of the value without "@EXTRACTOR", and the entry of its metric."""
    name = key.partition("@")[0]
    return name, next((entry for entry in METRICS.values() if name in entry.values), None)
