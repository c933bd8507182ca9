"""What a metric can invert: any object with `latent_shape`, `value_range` and a differentiable `__call__(z)`.

`open_generator(spec)` takes the object itself, `module:attribute`, an exported program (`.pt2`, torch.export), or a
folder that an entry point of the group `ganmetrics.generators` opens: reference_models puts its checkpoints there.
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.features.custom import blame, import_attribute
from ganmetrics.generators.opened import OpenGenerator
from ganmetrics.printable import printable
from ganmetrics.runtime.device import resolve_device

__all__ = ["GROUP", "OpenGenerator", "open_generator"]
GROUP = "ganmetrics.generators"


def open_generator(
    spec: Any, device: str | torch.device | None = None, *, value_range: tuple[float, float] | None = None
) -> OpenGenerator:
    """A generator by name or as an object, called once to see that it does what it says.

    Args:
        spec: an object as said above, a `module:attribute` that names one (a class is called without arguments), a
            `.pt2` file, or a folder with a checkpoint.
        device: where a named one is put; an object stays where it is, and this must say the same or nothing.
        value_range: of its output, for one that does not say: always for an exported program, never guessed.

    Raises:
        OptionError: for a spec of no known kind, and a generator that is none; it says what is missing.
        GanMetricsError: whatever a checkpoint's own loader has to say of it.
    """
    if isinstance(spec, OpenGenerator):
        return spec
    if not isinstance(spec, (str, os.PathLike)):
        return OpenGenerator(spec, device=_where(spec, device), value_range=value_range)
    name, place = printable(os.fspath(spec)), resolve_device(device)
    found = _by_name(os.fspath(spec), name, place, value_range)
    for module in [found] if isinstance(found, nn.Module) else []:
        module.to(place)
    return OpenGenerator(found, device=place, value_range=value_range, name=name)


def _where(generator: Any, device: str | torch.device | None) -> torch.device:
    """The device an object is on already."""
    first = next(iter(generator.parameters()), None) if isinstance(generator, nn.Module) else None
    own = first.device if first is not None else getattr(generator, "device", None)
    if own is None:
        return resolve_device(device if device is not None else "cpu")
    if device not in (None, "auto") and resolve_device(device).type != torch.device(own).type:
        raise OptionError(f"generator: is on {own}, and --device asks for {device}; move it there, or leave that out")
    return torch.device(own)


def _by_name(spec: str, name: str, device: torch.device, value_range: tuple[float, float] | None) -> Any:
    path, (module, _, attribute) = Path(spec).expanduser(), spec.partition(":")
    if path.suffix == ".pt2":
        from ganmetrics.generators.exported import ExportedGenerator

        return ExportedGenerator(path, device=device, value_range=value_range)
    if path.is_dir():
        return _by_entry_point(path, device)
    if module and attribute and os.sep not in spec:
        return _made(import_attribute(module, attribute, "generator"), name)
    what = "no such file or folder" if not path.exists() else "of no known kind"
    raise OptionError(
        f"generator {name}: {what}; expected module:attribute, an exported program (.pt2) or a checkpoint's folder"
    )


def _made(found: Any, name: str) -> Any:
    if not isinstance(found, type):
        return found
    try:
        return found()
    except Exception as error:
        raise OptionError(f"generator {name}: cannot be made without arguments: {blame(error)}") from error


def _by_entry_point(path: Path, device: torch.device) -> Any:
    """The first that opens it; else what the first had to say."""
    said: GanMetricsError | None = None
    for entry in _entry_points():
        try:
            return _loader(entry)(path, device=device)
        except GanMetricsError as error:
            said = said or error
    raise said or OptionError(
        f"generator {printable(str(path))}: nothing is installed that opens a folder; expected an entry point {GROUP}"
    )


def _entry_points() -> list[EntryPoint]:
    """Those of every distribution; `entry_points()` would take a checkout's old metadata for the whole of a package."""
    found = [point for each in distributions() for point in each.entry_points if point.group == GROUP]
    return sorted({point.value: point for point in found}.values(), key=lambda point: point.name)


def _loader(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise OptionError(f"generator: the entry point {entry.name} cannot be loaded: {blame(error)}") from error
