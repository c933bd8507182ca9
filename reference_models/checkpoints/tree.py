"""Nested Python values with tensors inside, as JSON and named tensors: loading them executes no code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

PLAIN = (str, int, float, bool, type(None))


def flatten(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """`(json, tensors)` of dicts (any plain keys), lists, tuples, numbers, strings, None and tensors.

    Raises TypeError for any other type, because `unflatten` could not restore it unchanged.
    """
    tensors: dict[str, Tensor] = {}

    def encode(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = f"t{len(tensors)}"
            tensors[name] = value
            return {"tensor": name}
        if isinstance(value, tuple):
            return {"tuple": [encode(item) for item in value]}
        if isinstance(value, list):
            return [encode(item) for item in value]
        if isinstance(value, Mapping):
            return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
        if type(value) in PLAIN:  # not isinstance: a subclass would come back as its base
            return value
        raise TypeError(f"a checkpoint holds dicts, lists, tuples, plain values and tensors; got {type(value)}")

    return encode(value), tensors


def unflatten(encoded: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value that `flatten` was given. Raises KeyError for a missing tensor, ValueError for JSON of another form."""
    if isinstance(encoded, list):
        return [unflatten(item, tensors) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    if list(encoded) == ["tensor"]:
        return tensors[encoded["tensor"]]
    if list(encoded) == ["tuple"]:
        return tuple(unflatten(item, tensors) for item in encoded["tuple"])
    if list(encoded) == ["dict"]:
        return {unflatten(key, tensors): unflatten(item, tensors) for key, item in encoded["dict"]}
    raise ValueError(f"expected one of tensor, tuple, dict, got {sorted(encoded)}")
