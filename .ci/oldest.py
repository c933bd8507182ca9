"""The lowest versions that `pyproject.toml` promises, as constraints for pip; peers are left out.

Read from the installed project's metadata, which has the bounds of `pyproject.toml` word for word.
"""

from __future__ import annotations

import re
from importlib.metadata import requires

BOUND = re.compile(r"([\w.-]+)>=([\w.]+)")


def constraints() -> list[str]:
    """`name==version` for every bound. Raises SystemExit at a requirement that has none: it promises nothing."""
    found = []
    for requirement in requires("ganmetrics") or []:
        what, _, marker = requirement.partition(";")
        if what.startswith("ganmetrics[") or "peers" in marker:
            continue
        bound = BOUND.fullmatch(what.strip())
        if bound is None:
            raise SystemExit(f"expected NAME>=VERSION in pyproject.toml, got {what.strip()!r}")
        found.append("{}=={}".format(*bound.groups()))
    return found


if __name__ == "__main__":
    print(*constraints(), sep="\n")
