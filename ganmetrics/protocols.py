"""Protocols: tools compute FID and the Inception Score by different rules; a protocol names the tool to agree with.

It sets the rules of that tool together: resize, quantisation of float images, splits, order and spread. The source of
each rule is in `docs/protocols.md`; the tests run the tools themselves on the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ganmetrics.errors import OptionError
from ganmetrics.printable import brief
from ganmetrics.validation import whole

if TYPE_CHECKING:
    import torch


DTYPES = ("float32", "float64", "bfloat16", "float16")  # a network can run in these
JPEG_DECODERS = ("pillow", "torchvision")
LEAST = {"splits": 1, "k": 1, "subsets": 1, "subset_size": 2, "seed": 0}  # of the options of metrics


@dataclass(frozen=True)
class Splits:
    """How the Inception Score is averaged over splits.

    Attributes:
        count: requested number of splits; "chunk" may cut fewer, and "blocks" ignores it.
        boundaries: "floor" cuts at i * N // count; "chunk" cuts as torch.chunk, in pieces of ceil(N / count); "blocks"
            cuts after every `size` images, so the last split may be shorter.
        size: images in a block.
        order: "given" keeps the order of the images; "numpy" shuffles by RandomState(seed).permutation, "torch" by
            randperm after manual_seed(seed).
        seed: seed of the shuffle.
        ddof: 0 or 1, for the standard deviation over splits.
    """

    count: int = 10
    boundaries: Literal["floor", "chunk", "blocks"] = "floor"
    size: int = 5000
    order: Literal["given", "numpy", "torch"] = "given"
    seed: int = 0
    ddof: int = 0

    def changed(self, options: MetricOptions) -> Splits:
        """A copy in which the user's options replace the protocol's rules."""
        order = self.order
        if options.shuffle is not None:
            order = "given" if not options.shuffle else "numpy" if self.order == "given" else self.order
        return replace(
            self,
            count=self.count if options.splits is None else options.splits,
            boundaries="floor" if options.splits is not None and self.boundaries == "blocks" else self.boundaries,
            order=order,
            seed=self.seed if options.seed is None else options.seed,
        )


@dataclass(frozen=True)
class Subsets:
    """How the Kernel Inception Distance is averaged over pairs of subsets, drawn without replacement.

    Attributes:
        count: number of subsets.
        size: images of each side in a subset; fewer if a side has fewer images.
        order: how they are drawn: "numpy" (RandomState(seed).choice) or "torch" (first entries of a randperm after
            manual_seed(seed)).
        first: the side that is drawn first; it changes the subsets, because both sides share one generator.
        seed: seed of the draw.
    """

    count: int = 100
    size: int = 1000
    order: Literal["numpy", "torch"] = "numpy"
    first: Literal["real", "fake"] = "fake"
    seed: int = 0

    def changed(self, options: MetricOptions) -> Subsets:
        """A copy in which the user's options replace the protocol's rules."""
        return replace(
            self,
            count=self.count if options.subsets is None else options.subsets,
            size=self.size if options.subset_size is None else options.subset_size,
            seed=self.seed if options.seed is None else options.seed,
        )


@dataclass(frozen=True)
class Protocol:
    """What `--protocol NAME` sets.

    `splits` is None for a tool without an Inception Score. `subsets` is None if the Kernel Inception Distance is over
    all images.
    """

    name: str
    resize: str
    quantize: Literal["round", "truncate"]
    splits: Splits | None
    subsets: Subsets | None = None


@dataclass(frozen=True)
class MetricOptions:
    """Options of the metrics that replace rules of the protocol; None keeps the rule.

    Attributes:
        ddof: 1 divides covariances by n - 1, 0 by n (stylegan3).
        splits, shuffle: number of splits of the Inception Score, and whether images are shuffled before.
        k: the k-th nearest neighbour sets the radius of each ball (precision, recall, density, coverage).
        subsets, subset_size: number and size of the subsets of the Kernel Inception Distance.
        seed: seed of every random draw.
        confidence: whether scores get a 95 % interval, by resampling images.
        device: where to compute: "auto", "cpu", "cuda", "cuda:1"; None means "auto".
    """

    ddof: int | None = None
    splits: int | None = None
    shuffle: bool | None = None
    k: int | None = None
    subsets: int | None = None
    subset_size: int | None = None
    seed: int | None = None
    confidence: bool = False
    device: str | torch.device | None = None

    def __post_init__(self) -> None:
        """Raises OptionError for a number out of range, whether a measurement or a function of vectors is asked."""
        for name, least in LEAST.items():
            if getattr(self, name) is not None:
                whole(f"--{name.replace('_', '-')}", getattr(self, name), least)
        if self.seed is not None and self.seed >= 2**32:
            raise OptionError(f"--seed: expected a whole number below 2^32, got {self.seed}")


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("tensorflow", "tf1-bilinear", "round", Splits()),
        Protocol("adm", "tf1-bilinear", "round", Splits(boundaries="blocks")),
        Protocol("pytorch-fid", "bilinear", "round", None),
        Protocol("torch-fidelity", "tf1-bilinear", "round", Splits(order="numpy", seed=2020), Subsets(seed=2020)),
        Protocol("clean-fid", "pil-bicubic", "round", None, Subsets()),
        Protocol(
            "torchmetrics",
            "bilinear-antialias",
            "truncate",
            Splits(boundaries="chunk", order="torch", ddof=1),
            Subsets(order="torch", first="real"),
        ),
    )
}
DEFAULT = "tensorflow"


def get_protocol(name: str | None) -> Protocol:
    """The protocol with this name; None means the original, "tensorflow". Raises OptionError for an unknown name."""
    if name is None:
        return PROTOCOLS[DEFAULT]
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise OptionError(f"--protocol: expected one of {', '.join(PROTOCOLS)}, got {brief(name)}")
    return PROTOCOLS[name]
