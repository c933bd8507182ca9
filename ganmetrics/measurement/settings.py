"""All options of a measurement, checked before anything slow begins."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ganmetrics.errors import OptionError
from ganmetrics.features import load_extractor, require_features
from ganmetrics.features.extractor import KINDS, Extractor, Options, label_of
from ganmetrics.generators.source import GeneratorSource, names_generator
from ganmetrics.images import ImageSource, open_images
from ganmetrics.images.jpeg import JpegDecoder
from ganmetrics.images.patterns import Selection
from ganmetrics.images.preparation import RESIZE, prepared_source, sized
from ganmetrics.measurement import choice
from ganmetrics.printable import brief, name_of
from ganmetrics.protocols import JPEG_DECODERS, MetricOptions, Protocol, get_protocol
from ganmetrics.runtime.device import require_tf32, resolve_device, resolve_dtype
from ganmetrics.runtime.guards import ordinary_modes
from ganmetrics.statistics.parts import Kind
from ganmetrics.validation import whole

INCEPTION = "inception"
LARGEST = 2**14  # pixels of a side of prepared images
LEAST = {"batch_size": 1, "num_workers": 0, "resamples": 100, "prepare": 1, "n_samples": 1}


@dataclass(frozen=True)
class Settings(MetricOptions):
    """All options of a measurement: the keyword arguments of every library call.

    The options of the metrics themselves are inherited from `MetricOptions`.

    Attributes:
        features: a name of `ganmetrics.features.EXTRACTORS` ("inception", "inception:768", "efficientnet-lite0",
            "pixels", "timm:NAME"), "module:attribute", "logits:module:attribute" for a classifier, or a callable from
            uint8 RGB `(N, 3, H, W)` to `(N, D)`, or to a dict of "features" and "logits".
        weights: path of your own weights file for that extractor.
        features_are: of what sources of vectors `(N, D)` are the features: "inception", "inception:TAP" or a name; None
            calls them "vectors", and no score of them is called `fid`.
        protocol: the tool whose numbers to reproduce; None is the original, "tensorflow".
        dtype: of the network: "float32", "float64", "bfloat16" or "float16".
        allow_tf32: let a CUDA device compute the network's float32 products in TF32; the score's dtype then says so.
        jpeg_decoder: "pillow", or "torchvision", which decodes plain JPEG files on the device of the network.
        batch_size, num_workers: None chooses by device and number of cores; they change a score only by rounding.
        on_error: "fail" stops at the first image that cannot be read, "skip" lists it in the score.
        value_range: of float images, (-1, 1) for tanh or (0, 1) for sigmoid; never guessed.
        prepare: resize the shorter side of every image to this many pixels (antialiased bilinear) and cut out the
            centre, before the extractor sees it; None leaves images as they are.
        layout: "NCHW" or "NHWC", for arrays whose shape fits both.
        n_samples: number of images to request from a generator or a callable source.
        data_root: folder of the datasets for slices such as `mnist:test`; None reads the environment variable
            GANMETRICS_DATA.
        include, exclude: patterns of the names of the images that are taken or left out, "*_fake_B.png", for all sides
            or for one, "fake:*_fake_B.png"; see docs/images.md.
        resamples: number of bootstrap resamples for an interval.
        cache: whether statistics of the real side are kept on disk and reused.
        progress: show a progress bar on stderr if that is a terminal.
    """

    features: str | Callable = INCEPTION
    weights: str | os.PathLike[str] | None = None
    features_are: str | None = None
    protocol: str | None = None
    dtype: str | torch.dtype = "float32"
    allow_tf32: bool = False
    jpeg_decoder: str = "pillow"
    batch_size: int | None = None
    num_workers: int | None = None
    on_error: Literal["fail", "skip"] = "fail"
    value_range: tuple[float, float] | None = None
    prepare: int | None = None
    layout: str | None = None
    n_samples: int | None = None
    data_root: str | os.PathLike[str] | None = None
    include: str | Sequence[str] = ()
    exclude: str | Sequence[str] = ()
    resamples: int = 1000
    cache: bool = True
    progress: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in LEAST.items():
            if getattr(self, name) is not None:
                whole(f"--{name.replace('_', '-')}", getattr(self, name), least)
        if self.prepare is not None:
            whole("--prepare", self.prepare, 1, LARGEST)
        require_features(self.features)
        if not isinstance(self.weights, (str, os.PathLike, type(None))):
            raise OptionError(f"--weights: expected the path of a file, got {brief(self.weights)}")
        if not isinstance(self.features_are, (str, type(None))):
            raise OptionError(f"--features-are: expected a name, such as inception, got {brief(self.features_are)}")
        if self.weights is not None and not isinstance(self.features, str):
            raise OptionError("weights: a callable brings its own; leave weights out")
        if self.on_error not in ("fail", "skip"):
            raise OptionError(f"--on-error: expected fail or skip, got {brief(self.on_error)}")
        get_protocol(self.protocol)
        if self.protocol is not None and not self.is_inception:
            raise OptionError(
                f"--protocol {self.protocol} reproduces a tool that runs the Inception network; "
                f"leave it out with --features {name_of(self.features)}"
            )
        if self.allow_tf32:
            require_tf32(resolve_device(self.device), resolve_dtype(self.dtype))
        if self.jpeg_decoder not in JPEG_DECODERS:
            raise OptionError(f"--jpeg-decoder: expected {' or '.join(JPEG_DECODERS)}, got {brief(self.jpeg_decoder)}")
        for name in ("include", "exclude"):
            object.__setattr__(self, name, choice.stated(f"--{name}", getattr(self, name)))

    @classmethod
    def of(cls, settings: Settings | None, options: dict[str, Any]) -> Settings:
        """`settings` with these options, or new settings from them. Raises OptionError for an unknown keyword."""
        unknown = sorted(set(options) - {field.name for field in fields(cls)})
        if unknown:
            known = sorted(field.name for field in fields(cls))
            close = "".join(f" (close to {name})" for name in difflib.get_close_matches(unknown[0], known, n=1))
            raise OptionError(f"unknown option {unknown[0]!r}{close}; expected some of {', '.join(known)}")
        if settings is not None:
            return replace(settings, **options) if options else settings
        return cls(**options)

    @property
    def is_inception(self) -> bool:
        return isinstance(self.features, str) and self.features.partition(":")[0] == INCEPTION

    @property
    def label(self) -> str | None:
        """The name of the features as a score has it, "inception-768"; None for a callable."""
        return label_of(self.features) if isinstance(self.features, str) else None

    def suits(self, protocol: Mapping[str, Any]) -> bool:
        """Whether vectors of this protocol are of the features that were asked for.

        Those of another tool, which says nothing, are taken for the Inception's. The default contradicts nothing.
        """
        features = protocol.get("features")
        if features is None or self.label is None:
            return features is None and self.label == INCEPTION
        return self.label in (INCEPTION, features, f"{features}-{protocol.get('tap')}")

    @property
    def rules(self) -> Protocol:
        return get_protocol(self.protocol)

    @cached_property
    def extractor(self) -> Extractor:
        """The feature extractor, loaded at first use: a wrong path is reported before weights are downloaded."""
        options = Options(
            weights=None if self.weights is None else Path(self.weights),
            resize=self.rules.resize if self.is_inception else None,
            device=resolve_device(self.device),
            dtype=resolve_dtype(self.dtype),
            tf32=self.allow_tf32,
            progress=self.progress,
        )
        with ordinary_modes(dtype=None):
            loaded = load_extractor(self.features, options)
        if self.allow_tf32 and not loaded.tf32:
            raise OptionError(f"--allow-tf32: {loaded.name} is no network that --dtype applies to; leave it out")
        return loaded

    @property
    def warnings(self) -> list[str]:
        """Warnings for every score measured with these settings, as whole sentences."""
        return [*self.extractor.warnings, *([] if self._decoder is None else [self._decoder.warning])]

    @cached_property
    def _decoder(self) -> JpegDecoder | None:
        """The decoder of plain JPEG files; None is Pillow."""
        return None if self.jpeg_decoder == "pillow" else JpegDecoder(resolve_device(self.device))

    def tap(self, kind: Kind, asking: str) -> str:
        """Name of the extractor's output of a kind.

        asking: what needs it, for the message.
        Raises OptionError if the extractor has no output of that kind.
        """
        tap = self.extractor.tap_for(kind, asking)
        if tap is None:
            raise OptionError(
                f"--features {name_of(self.features)}: {asking} is over {KINDS[kind]}, which this "
                f"extractor lacks (it gives {', '.join(self.extractor.taps)}); use --features inception"
            )
        return tap

    def describe(self, tap: str) -> dict[str, Any]:
        """The protocol of vectors measured with these settings."""
        return {
            "protocol": self.rules.name if self.is_inception else None,
            **self.extractor.describe(tap),
            "quantize": self.rules.quantize,
            **({} if self._decoder is None else {"jpeg_decoder": self._decoder.name}),
            **self.preparation,
            "device": str(self.extractor.device),
            "torch": torch.__version__,
        }

    def selection(self, side: str | None) -> Selection:
        """Which images of a side are taken; None is the only source of a call. Raises OptionError."""
        return choice.selection(self.include, self.exclude, side)

    def refuse_selection(self, side: str | None, holds: str) -> None:
        """Raises OptionError if patterns are to choose among the images of a side that has none."""
        if self.selection(side):
            way = "leave them out" if side is None else "for the other side alone write real:PATTERN or fake:PATTERN"
            raise OptionError(
                f"--include and --exclude choose images by their names, and {side or 'the source'} {holds}; {way}"
            )

    def open(self, source: Any, side: str | None = None) -> ImageSource:
        """Any source as images; `side` is what patterns of names may call it. Raises SourceError, OptionError."""
        if self._decoder is not None:
            self._decoder.read_here()
        opened = self._opened(source, side)
        return opened if self.prepare is None else prepared_source(opened, self.prepare)

    def _opened(self, source: Any, side: str | None) -> ImageSource:
        if names_generator(source):
            self.refuse_selection(side, "is a generator")
            return GeneratorSource(
                source,
                self.n_samples,
                self.seed or 0,
                device=self.device,
                value_range=self.value_range,
                quantize=self.rules.quantize,
            )
        return open_images(
            source,
            value_range=self.value_range,
            layout=self.layout,
            quantize=self.rules.quantize,
            n_samples=self.n_samples,
            data_root=self.data_root,
            jpeg_decoder=self._decoder,
            selection=self.selection(side),
        )

    @property
    def preparation(self) -> dict[str, str]:
        """What the protocol says about prepared images; empty for images as they are."""
        return {} if self.prepare is None else {"prepare": f"{self.prepare} pixels: {RESIZE}"}

    def prepared(self, batch: Tensor) -> Tensor:
        """A batch `(N, C, H, W)` prepared as images of a source are."""
        return batch if self.prepare is None else sized(batch, self.prepare, self.prepare)
