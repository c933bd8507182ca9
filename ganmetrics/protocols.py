"""Protocols: four different numbers are called FID, and each tool has its own Inception Score.

A protocol names the tool to agree with and sets resize, quantisation of float images, split, order and spread rules
together. Where each rule was read is in `docs/protocols.md`; the tests run the tools themselves on the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ganmetrics.errors import OptionError

if TYPE_CHECKING:
    import torch


DTYPES = ("float32", "float64", "bfloat16", "float16")  # that a network may run in
JPEG_DECODERS = ("pillow", "torchvision")


@dataclass(frozen=True)
class Splits:
    """How the Inception Score is averaged.

    Attributes:
        count: number of splits asked for.
        boundaries: "floor" cuts at i * N // count; "chunk" as torch.chunk, in pieces of ceil(N / count).
        order: "given", or shuffled by "numpy" (RandomState(seed).permutation) or "torch" (randperm after
            manual_seed(seed)).
        seed: of the shuffle.
        ddof: 0 or 1, of the standard deviation over splits.
    """

    count: int = 10
    boundaries: Literal["floor", "chunk"] = "floor"
    order: Literal["given", "numpy", "torch"] = "given"
    seed: int = 0
    ddof: int = 0

    def changed(self, options: MetricOptions) -> Splits:
        """The same with the user's own wishes."""
        order = self.order
        if options.shuffle is not None:
            order = "given" if not options.shuffle else "numpy" if self.order == "given" else self.order
        return replace(
            self,
            count=self.count if options.splits is None else options.splits,
            order=order,
            seed=self.seed if options.seed is None else options.seed,
        )


@dataclass(frozen=True)
class Subsets:
    """How the Kernel Inception Distance is averaged over pairs of subsets, drawn without replacement.

    Attributes:
        count: number of subsets.
        size: images in each, of either side; fewer where a side has fewer.
        order: drawn by "numpy" (RandomState(seed).choice) or "torch" (the head of a randperm after manual_seed(seed)).
        first: the side that is drawn first.
        seed: of the draw.
    """

    count: int = 100
    size: int = 1000
    order: Literal["numpy", "torch"] = "numpy"
    first: Literal["real", "fake"] = "fake"
    seed: int = 0

    def changed(self, options: MetricOptions) -> Subsets:
        """The same with the user's own wishes."""
        return replace(
            self,
            count=self.count if options.subsets is None else options.subsets,
            size=self.size if options.subset_size is None else options.subset_size,
            seed=self.seed if options.seed is None else options.seed,
        )


@dataclass(frozen=True)
class Protocol:
    """What `--protocol NAME` sets.

    `splits` is None for a tool that has no Inception Score, `subsets` for the Kernel Inception Distance of all images.
    """

    name: str
    resize: str
    quantize: Literal["round", "truncate"]
    splits: Splits | None
    subsets: Subsets | None = None


@dataclass(frozen=True)
class MetricOptions:
    """What a user may ask of the metrics beside the protocol; None keeps the protocol's rule.

    Attributes:
        ddof: 1 divides covariances by n - 1, 0 by n (stylegan3).
        splits, shuffle: of the Inception Score.
        k: which nearest neighbour bounds a manifold (precision, recall, density, coverage).
        subsets, subset_size: of the Kernel Inception Distance.
        seed: of everything drawn at random.
        confidence: whether scores carry a 95 % interval, by resampling images.
        device: where to compute, "auto", "cpu", "cuda", "cuda:1"; None is auto.
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


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("tensorflow", "tf1-bilinear", "round", Splits()),
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
    """By name; None is the original, "tensorflow". Raises OptionError."""
    if name is None:
        return PROTOCOLS[DEFAULT]
    if name not in PROTOCOLS:
        raise OptionError(f"--protocol: expected one of {', '.join(PROTOCOLS)}, got {name!r}")
    return PROTOCOLS[name]
