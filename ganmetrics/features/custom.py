"""A user's own extractor: any callable or `torch.nn.Module` from uint8 RGB images `(N, 3, H, W)` to vectors `(N, D)`.

It gets the unchanged images in [0, 255] on the device, and does its own resizing and scaling. Images of different
sizes come in separate calls. Its name on the command line is `module:attribute`.
"""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganmetrics.errors import GanMetricsError, OptionError, StatisticsError
from ganmetrics.features.extractor import Extractor, Options, state_dict_sha256
from ganmetrics.printable import TOLD, brief, cut, name_of
from ganmetrics.runtime.guards import evaluating

BYTES = re.compile(r"Byte|uint8|unsigned char")  # in what torch and others say of a wrong dtype


class Custom(Extractor):
    """Wraps the callable. A Module is moved to the device, and is in eval mode while it runs."""

    taps = ("features",)
    features_tap = "features"
    default_taps = ("features",)

    def __init__(self, function: Callable[[Tensor], Tensor], device: torch.device, name: str | None = None):
        self.function, self.device = function, device
        self.name = name or name_of(function)
        self.weights_sha256 = state_dict_sha256(function) if isinstance(function, nn.Module) else None

    def extract(self, stacks: Sequence[Tensor], taps: Collection[str]) -> Mapping[str, Tensor]:
        modules = [self.function.to(self.device)] if isinstance(self.function, nn.Module) else []
        with evaluating(modules):
            # `expand` repeats the channel of grey images and leaves RGB images as they are
            vectors = [self._call(stack.to(self.device).expand(-1, 3, -1, -1)) for stack in stacks]
        return {"features": torch.cat(vectors)}

    def _call(self, images: Tensor) -> Tensor:
        try:
            vectors = self.function(images)
        except (GanMetricsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the user's code can raise anything
            raise OptionError(f"features {self.name}: {blame(error)}; {_handed(images, error)}") from error
        if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != len(images):
            got = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise OptionError(
                f"features {self.name}: expected a tensor of shape ({len(images)}, D) for {len(images)} images, "
                f"got {got}; pool or flatten inside the extractor"
            )
        return vectors

    def describe(self, tap: str) -> dict[str, Any]:
        """Raises StatisticsError if the weights have changed: the earlier vectors are of another feature space."""
        if isinstance(self.function, nn.Module) and state_dict_sha256(self.function) != self.weights_sha256:
            raise StatisticsError(
                f"features {self.name}: its weights changed since the metric was made; make it anew with the real side"
            )
        return {
            "features": self.label(tap),
            "tap": tap,
            "weights_sha256": self.weights_sha256,
            "resize": "own",
            "size": None,
            "dtype": "own",
        }


def _handed(images: Tensor, error: Exception) -> str:
    """What a callable that failed was given, and what to do if it failed because they are bytes."""
    way = "; convert them in it, e.g. x.float() / 255" if BYTES.search(str(error)) else ""
    return f"it is handed uint8 images {tuple(images.shape)} in 0..255{way}"


def build(path: str, options: Options) -> Custom:
    """`module:attribute`, also searched in the working directory; a Module class is called without arguments."""
    if options.weights:
        raise OptionError(f"--features {path}: it brings its own weights; leave out --weights")
    module_name, _, attribute = path.partition(":")
    function = import_attribute(module_name, attribute, "--features")
    if isinstance(function, type) and issubclass(function, nn.Module):
        try:
            function = function()
        except Exception as error:
            raise OptionError(f"--features {path}: cannot be made without arguments: {blame(error)}") from error
    if not callable(function):
        raise OptionError(f"--features {path}: expected a callable or a torch.nn.Module, got {brief(function)}")
    return Custom(function, options.device, f"{module_name}-{attribute}")


def import_attribute(module_name: str, attribute: str, option: str) -> Any:
    """The object `module:attribute`; modules in the working directory are found too. Raises OptionError."""
    if "" not in sys.path:  # the working directory, which an installed command does not search
        sys.path.insert(0, "")
    try:
        target = importlib.import_module(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (Exception, SystemExit) as error:  # a script without a main guard runs when it is imported
        raise OptionError(f"{option} {module_name}:{attribute}: cannot be imported: {blame(error)}") from error
    return target


def blame(error: BaseException) -> str:
    """Class, message and place of an exception in the user's code, on one line."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    user_frames = [(path.name, line) for path, line in frames if path.is_file() and not _is_installed(path)]
    place = " ({}, line {})".format(*user_frames[-1]) if user_frames else ""
    return f"{cut(f'{type(error).__name__}: {error}', TOLD)}{place}"


def _is_installed(path: Path) -> bool:
    """Whether a file is not the user's: of an installed package, this package, or Python itself."""
    package, python = Path(__file__).parents[1], Path(traceback.__file__).parent
    return "site-packages" in path.parts or path.is_relative_to(package) or path.is_relative_to(python)
