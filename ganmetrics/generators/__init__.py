"""Generators that a metric can invert: objects with `latent_shape`, `value_range` and a differentiable `__call__(z)`.

`open_generator(spec)` takes the object itself, `module:attribute`, an exported program (`.pt2`, torch.export), or a
folder that an entry point of the group `ganmetrics.generators` opens, as reference_models does for its checkpoints.
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
    spec: Any,
    device: str | torch.device | None = None,
    *,
    value_range: tuple[float, float] | None = None,
    differentiable: bool = True,
) -> OpenGenerator:
    """Open a generator, by name or as an object, and check on a few latents that it does what it states.

    Args:
        spec: an object as described above, a `module:attribute` that names one (a class is called without arguments), a
            `.pt2` file, or a folder with a checkpoint.
        device: where a named generator is put. An object stays on its device, which this must not contradict.
        value_range: of its output, if the generator does not state it. Never guessed; an exported program needs it.
        differentiable: whether latents are to be searched, so that gradients must pass and an image must depend on its
            latent alone. False is enough to draw samples.

    Raises:
        OptionError: for an unknown kind of spec, or an object that is no generator; it says what is missing.
        GanMetricsError: from the loader of a checkpoint.
    """
    if isinstance(spec, OpenGenerator):
        return spec
    if not isinstance(spec, (str, os.PathLike)):
        target = _device_of(spec, device)
        return OpenGenerator(spec, device=target, value_range=value_range, differentiable=differentiable)
    name, target = printable(os.fspath(spec)), resolve_device(device)
    generator = _by_name(os.fspath(spec), name, target, value_range)
    if isinstance(generator, nn.Module):
        generator.to(target)
    return OpenGenerator(generator, device=target, value_range=value_range, name=name, differentiable=differentiable)


def _device_of(generator: Any, device: str | torch.device | None) -> torch.device:
    """The device that an object is on. Raises OptionError if `device` is another."""
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
        return _instantiated(import_attribute(module, attribute, "generator"), name)
    what = "no such file or folder" if not path.exists() else "of no known kind"
    raise OptionError(
        f"generator {name}: {what}; expected module:attribute, an exported program (.pt2) or a checkpoint's folder"
    )


def _instantiated(target: Any, name: str) -> Any:
    if not isinstance(target, type):
        return target
    try:
        return target()
    except Exception as error:
        raise OptionError(f"generator {name}: cannot be made without arguments: {blame(error)}") from error


def _by_entry_point(path: Path, device: torch.device) -> Any:
    """Opened by the first entry point that can. Raises the first error if none can."""
    first_error: GanMetricsError | None = None
    for entry in _entry_points():
        try:
            return _loader(entry)(path, device=device)
        except GanMetricsError as error:
            first_error = first_error or error
    raise first_error or OptionError(
        f"generator {printable(str(path))}: nothing is installed that opens a folder; expected an entry point {GROUP}"
    )


def _entry_points() -> list[EntryPoint]:
    """Of all distributions: `entry_points()` reads one per package, which can be the old metadata of a checkout."""
    points = [point for distribution in distributions() for point in distribution.entry_points if point.group == GROUP]
    return sorted({point.value: point for point in points}.values(), key=lambda point: point.name)


def _loader(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise OptionError(f"generator: the entry point {entry.name} cannot be loaded: {blame(error)}") from error
