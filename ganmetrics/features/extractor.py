"""The interface of extractors: uint8 image stacks in, named feature vectors ("taps") out."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganmetrics.errors import OptionError, StatisticsError, WeightsError
from ganmetrics.images.resize import RESIZES
from ganmetrics.runtime.arithmetic import exact_arithmetic

CPU = torch.device("cpu")
CPU_BATCH = 4  # images; small, so that a batch stays in the cache
KINDS = {"features": "feature vectors", "logits": "class logits", "spatial": "features at every place"}
LOGITS = "logits:"  # before module:attribute, for a classifier that returns its logits
Network = Callable[[Tensor, Collection[str]], Mapping[str, Tensor]]


def label_of(features: str) -> str:
    """What a score calls the features of this name: "inception-768", "module-attribute"."""
    own = features.removeprefix(LOGITS)
    return (own if ":" in own else features).replace(":", "-")


class Finite:
    """Whether all vectors so far are finite, by extractor and tap. Only `check` waits for a CUDA device."""

    def __init__(self) -> None:
        self._flags: dict[tuple[str, str], Tensor] = {}

    def note(self, name: str, tap: str, vectors: Tensor) -> None:
        """Record whether vectors `(N, D)` of a tap are finite; if not, outside CUDA raises StatisticsError at once."""
        flag = torch.isfinite(vectors).all()
        known = self._flags.get((name, tap))
        self._flags[name, tap] = flag if known is None else known & flag
        if not self._waits_for(flag.device):
            self.check()

    @staticmethod
    def _waits_for(device: torch.device) -> bool:
        """Whether reading a value waits until the device has finished all its queued work."""
        return device.type == "cuda"

    def check(self) -> None:
        """Raises StatisticsError that names the first tap with a number that is not finite."""
        for (name, tap), flag in self._flags.items():
            if not flag:
                raise StatisticsError(
                    f"features {name}: NaN or infinity in the {tap} vectors; "
                    "check the weights, or run in --dtype float32"
                )
        self._flags.clear()


class Extractor(ABC):
    """Attributes:

    name: the index name, with its argument ("inception", "timm-resnet18").
    taps: the vectors it can give.
    features_tap, logits_tap, spatial_tap: the taps that FID-like, Inception-Score-like and sFID metrics read; None if
        it has no such tap.
    default_taps: taps that the name of a score does not mention.
    device: where it runs; images are moved there.
    batch_size: the number of images that suits it; None leaves the choice to the device.
    warnings: full sentences for the score.
    tf32: whether its float32 products may use TF32.
    divisor: what its vectors are divided by to give its features: pixels are handed on as bytes, which equal distances
        need, and are their values times 255.
    """

    name: str
    taps: Sequence[str]
    features_tap: str | None = None
    logits_tap: str | None = None
    spatial_tap: str | None = None
    default_taps: Collection[str] = ()
    device: torch.device = CPU
    batch_size: int | None = None
    warnings: Sequence[str] = ()
    tf32: bool = False
    divisor: int = 1

    @abstractmethod
    def extract(self, stacks: Sequence[Tensor], taps: Collection[str]) -> Mapping[str, Tensor]:
        """Uint8 stacks `(b, C, H, W)`, C 1 or 3, of any sizes -> {tap: `(sum of b, D)`}, in order."""

    @abstractmethod
    def describe(self, tap: str) -> dict[str, Any]:
        """The extractor's part of a score's protocol: features, weights_sha256, resize, dtype, ..."""

    def tap_for(self, kind: str, asking: str) -> str | None:
        """Name of the tap of a kind, "features", "logits" or "spatial"; None if it has none.

        asking: what needs it, for messages.
        """
        return getattr(self, f"{kind}_tap")

    def expect(self, taps: Collection[str]) -> None:  # noqa: B027 - most extractors are known to have their taps
        """What will be asked for, of one side or another: an extractor that lacks it says so at its first batch."""

    def label(self, tap: str) -> str:
        """Name of the feature space in a score: the bare name for a default tap, else with the tap."""
        return self.name if tap in self.default_taps else f"{self.name}-{tap}"

    def __call__(
        self, stacks: Sequence[Tensor], taps: Collection[str], finite: Finite | None = None
    ) -> dict[str, Tensor]:
        """`extract`, checked: every tap `(N, D)` and finite. Raises StatisticsError, OptionError.

        finite: records whether vectors are finite; the caller must call its `check` before vectors become a score.
            None checks here.
        """
        recorder = finite or Finite()
        n = sum(len(stack) for stack in stacks)
        out = dict(self.extract(stacks, taps))
        for tap, vectors in out.items():
            if vectors.ndim != 2 or len(vectors) != n or not vectors.shape[1]:
                raise OptionError(
                    f"features {self.name}: expected vectors of shape ({n}, D) for {n} images, "
                    f"got {tuple(vectors.shape)}; pool or flatten inside the extractor"
                )
            if vectors.is_complex() or vectors.dtype == torch.bool:
                raise OptionError(f"features {self.name}: expected real numbers, got {vectors.dtype}")
            recorder.note(self.name, tap, vectors)
        if finite is None:
            recorder.check()
        return out


@dataclass(frozen=True)
class Options:
    """What every `build` function of an extractor gets besides its argument.

    weights: a file named by the user, or None for the extractor's own.
    resize: a name of RESIZES, or None for the extractor's own rule.
    tf32: on a CUDA device, use TF32 for the network's float32 products.
    progress: show a bar while downloading.
    """

    weights: Path | None = None
    resize: str | None = None
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    tf32: bool = False
    progress: bool = True


class NetworkExtractor(Extractor):
    """A network on square images: resize by a named rule, `(x - mean) / std`, grey repeated to three channels.

    Args:
        network: `(N, 3, size, size)`, tap names -> {tap: `(N, D)`}; already in eval mode.
        resize: a name of RESIZES; computed in float64 for a float64 network, else in float32.
        mean, std: on the [0, 255] scale, one number, or one for each channel.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        *,
        taps: Sequence[str],
        features_tap: str | None,
        logits_tap: str | None,
        spatial_tap: str | None = None,
        default_taps: Collection[str],
        size: int,
        resize: str,
        mean: Sequence[float],
        std: Sequence[float],
        weights_sha256: str,
        options: Options,
        warnings: Sequence[str] = (),
    ):
        self.name, self.network, self.taps = name, network, taps
        self.features_tap, self.logits_tap, self.spatial_tap = features_tap, logits_tap, spatial_tap
        self.default_taps = default_taps
        self.size, self.resize, self.weights_sha256 = size, resize, weights_sha256
        self.device, self.dtype, self.warnings = options.device, options.dtype, warnings
        self.tf32 = options.tf32
        self._resize_dtype = torch.float64 if options.dtype == torch.float64 else torch.float32
        self._mean = torch.tensor(mean, dtype=self._resize_dtype, device=options.device).view(1, -1, 1, 1)
        self._std = torch.tensor(std, dtype=self._resize_dtype, device=options.device).view(1, -1, 1, 1)

    def prepare(self, stacks: Sequence[Tensor]) -> Tensor:
        """Uint8 stacks of any sizes -> the network's input `(N, 3, size, size)`."""
        resize = RESIZES[self.resize]
        square = [resize(stack.to(self.device), self.size, self._resize_dtype) for stack in stacks]
        rgb = torch.cat([x.expand(-1, 3, -1, -1) for x in square])
        return rgb.sub_(self._mean).div_(self._std).to(self.dtype, memory_format=torch.channels_last)

    def extract(self, stacks: Sequence[Tensor], taps: Collection[str]) -> Mapping[str, Tensor]:
        images = self.prepare(stacks)
        with exact_arithmetic(self.device, tf32=True) if self.tf32 else nullcontext():
            try:
                return self.network(images, taps)
            except NotImplementedError as error:
                raise OptionError(
                    f"--dtype {self._dtype}: torch {torch.__version__} cannot run {self.name} in it on {self.device} "
                    f"({str(error).splitlines()[0]}); use --dtype float32"
                ) from error

    @property
    def _dtype(self) -> str:
        return "tf32" if self.tf32 else str(self.dtype).removeprefix("torch.")

    def describe(self, tap: str) -> dict[str, Any]:
        return {
            "features": self.label(tap),
            "tap": tap,
            "weights_sha256": self.weights_sha256,
            "resize": self.resize,
            "size": self.size,
            "dtype": self._dtype,
        }


def place(network: nn.Module, options: Options) -> nn.Module:
    """Eval mode, no gradients, on the device, channels last (which oneDNN and cuDNN both prefer)."""
    network = network.eval().requires_grad_(False).to(options.dtype)
    return network.to(device=options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_weights(network: nn.Module, state: Mapping[str, Tensor], where: str, expected: str) -> None:
    """Load a state dict. All names and shapes must fit; only `num_batches_tracked`, absent in older files, is optional.

    Raises WeightsError that names the first entry that does not fit, or is not finite.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    shapes = [name for name in own if name in state and state[name].shape != own[name].shape]
    if missing or unexpected or shapes:
        faults = [
            f"{kind} {names[0]} ({len(names)} such)"
            for kind, names in (("lacks", missing), ("has an unknown", unexpected), ("has another shape for", shapes))
            if names
        ]
        raise WeightsError(f"{where}: expected {expected}; the file {', '.join(faults)}")
    for name, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{where}: NaN or infinity in {name}; fetch or save the file again")
    counters = {name: torch.zeros((), dtype=torch.long) for name in own if name not in state}
    network.load_state_dict({**state, **counters}, assign=True)  # no copy; also for a network on the meta device


def state_dict_sha256(network: nn.Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a state dict, for weights that do not come as one file."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
