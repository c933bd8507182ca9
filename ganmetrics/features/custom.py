"""A user's own extractor: any callable or `torch.nn.Module` from uint8 RGB images `(N, 3, H, W)` to vectors `(N, D)`.

It gets the unchanged images in [0, 255] on the device, and does its own resizing and scaling. Images of different
sizes come in separate calls. Its name on the command line is `module:attribute`.

What it returns are features, unless it says otherwise: it may return a dict of several KINDS, such as
`{"features": x, "logits": y}`, or have an attribute `ganmetrics_outputs` that names them, `"logits"` or
`("features", "logits")`. On the command line `logits:module:attribute` names a classifier that returns its logits.
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
from ganmetrics.features.extractor import KINDS, LOGITS, Extractor, Options, label_of, state_dict_sha256
from ganmetrics.printable import TOLD, brief, cut, name_of
from ganmetrics.runtime.guards import evaluating
from ganmetrics.statistics.rows import are_probabilities

STATED = "ganmetrics_outputs"  # attribute of a callable
BYTES = re.compile(r"Byte|uint8|unsigned char")  # in what torch and others say of a wrong dtype


class Custom(Extractor):
    """Wraps the callable. A Module is moved to the device, and is in eval mode while it runs.

    outputs: the KINDS that it returns, one or several; None if it does not say, which only its first result tells.
    """

    default_taps = tuple(KINDS)

    def __init__(
        self, function: Callable[[Tensor], Any], device: torch.device, name: str | None = None, outputs: Any = None
    ):
        self.function, self.device = function, device
        self.name = name or name_of(function)
        self.outputs = self._stated(getattr(function, STATED, None) if outputs is None else outputs)
        self.taps = self.outputs or tuple(KINDS)
        self.features_tap, self.logits_tap, self.spatial_tap = (kind if kind in self.taps else None for kind in KINDS)
        self.weights_sha256 = state_dict_sha256(function) if isinstance(function, nn.Module) else None
        self._asking: dict[str, str] = {}  # what needs each kind, for messages
        self._expected: Collection[str] = ()
        self._logits_checked = False

    def _stated(self, outputs: Any) -> tuple[str, ...]:
        """The kinds that it states; empty if none. Raises OptionError for anything else."""
        kinds = (outputs,) if isinstance(outputs, str) else outputs or ()
        if not isinstance(kinds, (tuple, list)) or not all(isinstance(kind, str) and kind in KINDS for kind in kinds):
            raise OptionError(
                f"features {self.name}: {STATED}: expected one or several of {', '.join(KINDS)}, got {brief(outputs)}"
            )
        return tuple(dict.fromkeys(kinds))

    def tap_for(self, kind: str, asking: str) -> str | None:
        self._asking[kind] = asking
        return super().tap_for(kind, asking)

    def expect(self, taps: Collection[str]) -> None:
        self._expected = taps

    def extract(self, stacks: Sequence[Tensor], taps: Collection[str]) -> Mapping[str, Tensor]:
        modules = [self.function.to(self.device)] if isinstance(self.function, nn.Module) else []
        with evaluating(modules):
            # `expand` repeats the channel of grey images and leaves RGB images as they are
            outputs = [self._call(stack.to(self.device).expand(-1, 3, -1, -1), taps) for stack in stacks]
        return {tap: torch.cat([output[tap] for output in outputs]) for tap in taps}

    def _call(self, images: Tensor, taps: Collection[str]) -> dict[str, Tensor]:
        try:
            result = self.function(images)
        except (GanMetricsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the user's code can raise anything
            raise OptionError(f"features {self.name}: {blame(error)}; {_handed(images, error)}") from error
        by_kind = self._by_kind(result)
        for kind in (*taps, *self._expected):
            if kind not in by_kind:
                raise OptionError(f"features {self.name}: {self._lacking(kind, by_kind)}")
        wanted = {tap: self._checked(tap, by_kind[tap], len(images)) for tap in taps}
        if "logits" in wanted and not self._logits_checked:  # once, because a CUDA device has to be waited for
            self._require_logits(wanted["logits"])
            self._logits_checked = True
        return wanted

    def _by_kind(self, result: Any) -> dict[str, Any]:
        """A result by kind: of a dict, of one output, or of as many as the callable states. Raises OptionError."""
        if isinstance(result, Mapping):
            known = {kind: result[kind] for kind in KINDS if kind in result}
            if not known:
                keys = ", ".join(map(name_of, result)) or "nothing"
                raise OptionError(
                    f"features {self.name}: expected a dict with some of {', '.join(KINDS)}, it has {keys}"
                )
            return known
        kinds = self.outputs or ("features",)
        if isinstance(result, (tuple, list)) and 1 < len(result) == len(kinds):
            return dict(zip(kinds, result, strict=True))
        if len(kinds) > 1 or isinstance(result, (tuple, list)):
            raise OptionError(
                f"features {self.name}: expected {' and '.join(kinds)}, got {brief(result)}; "
                f"return a dict such as {_dict('features', 'logits')}"
            )
        return {kinds[0]: result}

    def _lacking(self, kind: str, by_kind: Mapping[str, Any]) -> str:
        way = f"return {_dict(*by_kind, kind)}"
        if kind == "logits":
            way += f', or say that its output is logits, by {STATED} = "logits" on it or --features {LOGITS}MODULE:NAME'
        asking, got = self._asking.get(kind, "a metric"), " and ".join(by_kind)
        return f"{asking} is over {KINDS[kind]}, and it returns {got} alone; {way}"

    def _checked(self, kind: str, vectors: Any, n: int) -> Tensor:
        """Vectors `(n, D)`. Raises OptionError for anything else."""
        if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != n:
            got = tuple(vectors.shape) if isinstance(vectors, Tensor) else brief(vectors)
            what = "a tensor" if kind == "features" else f"{kind}, a tensor"
            raise OptionError(
                f"features {self.name}: expected {what} of shape ({n}, D) for {n} images, got {got}; "
                "pool or flatten inside the extractor"
            )
        return vectors

    def _require_logits(self, logits: Tensor) -> None:
        """Raises OptionError for one class, whose score is always 1, and for probabilities, whose score is too low."""
        if logits.is_complex():  # refused like any complex vectors
            return
        if logits.shape[1] < 2:
            raise OptionError(
                f"features {self.name}: expected logits of at least 2 classes, got {tuple(logits.shape)}; "
                "a single logit x of two classes is the pair (0, x)"
            )
        if are_probabilities(logits):
            raise OptionError(
                f"features {self.name}: its logits are probabilities (none is negative, every row sums to 1); "
                "return what it computes before the softmax, or their logarithm"
            )

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


def _dict(*kinds: str) -> str:
    """Such a result as Python source, for a message."""
    return "{{{}}}".format(", ".join(f'"{kind}": ...' for kind in kinds))


def _handed(images: Tensor, error: Exception) -> str:
    """What a callable that failed was given, and what to do if it failed because they are bytes."""
    way = "; convert them in it, e.g. x.float() / 255" if BYTES.search(str(error)) else ""
    return f"it is handed uint8 images {tuple(images.shape)} in 0..255{way}"


def build(path: str, options: Options) -> Custom:
    """`module:attribute` or `logits:module:attribute`, also searched in the working directory."""
    if options.weights:
        raise OptionError(f"--features {path}: it brings its own weights; leave out --weights")
    is_logits = path.startswith(LOGITS) and path.count(":") > 1
    module_name, _, attribute = path[len(LOGITS) if is_logits else 0 :].partition(":")
    function = _made(import_attribute(module_name, attribute, "--features"), path)
    if not callable(function):
        raise OptionError(f"--features {path}: expected a callable or a torch.nn.Module, got {brief(function)}")
    return Custom(function, options.device, label_of(path), "logits" if is_logits else None)


def of_callable(function: Callable[[Tensor], Any], options: Options) -> Custom:
    """The extractor of a callable; a Module class is called without arguments. Raises OptionError."""
    return Custom(_made(function, name_of(function)), options.device)


def _made(function: Any, label: str) -> Any:
    if not isinstance(function, type) or not issubclass(function, nn.Module):
        return function
    try:
        return function()
    except Exception as error:
        raise OptionError(f"--features {label}: cannot be made without arguments: {blame(error)}") from error


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
