"""Import a package's names at their first use: torch takes seconds to import, and `--help` does not need it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any


def lazily(package: str, table: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a package; `table` maps each name to the module that defines it."""

    def get(name: str) -> Any:
        if name not in table:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{table[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next access finds it without `get`
        return value

    return get, lambda: sorted([*vars(sys.modules[package]), *table])


def keep_functions(package: str, names: Collection[str]) -> None:
    """Let functions of a package have the names of its modules.

    Python sets `package.kid` to the module when `package/kid.py` is imported; with this it stays the function. The
    module itself is found by `from package.kid import ...`.
    """

    class Package(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            if name not in names or not isinstance(value, ModuleType):
                super().__setattr__(name, value)

    sys.modules[package].__class__ = Package
