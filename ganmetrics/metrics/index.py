"""The index of metrics: one line each, light enough for `--help`; the class behind a line is imported when needed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Entry:
    """What tables and the command line need to know of a metric.

    Attributes:
        name: on the command line, and of the score in the metric's canonical feature space.
        prefix: of the score's name in any other ("fd-efficientnet-lite0").
        module, attribute: where its class is, below `ganmetrics.metrics`.
        sides: what it compares, in the order of the arguments; ("fake",) for a metric without reference.
        better, best, paper: for tables.
        options: those of `MetricOptions` that it heeds, beside the seed.
        parts: of a metric with several values their names, each with its better; such values carry these names.
        ranges: least and greatest of a value that has them, by its name; its interval ends there.
    """

    name: str
    prefix: str
    module: str
    attribute: str
    title: str
    sides: Sequence[str]
    better: Better
    best: str
    paper: str
    options: Sequence[str] = ()
    parts: Mapping[str, Better] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def values(self) -> Mapping[str, Better]:
        """Names of what it computes, each with its better."""
        return self.parts or {self.name: self.better}

    def load(self) -> type[Any]:
        """The metric's class."""
        return getattr(importlib.import_module(f"ganmetrics.metrics.{self.module}"), self.attribute)


TWO = ("real", "fake")
FROM_0, FROM_1, SHARE = (0.0, math.inf), (1.0, math.inf), (0.0, 1.0)
PARZEN = ("samples", "validation", "test")
RECONSTRUCTION = ("generator", "test")
ENTRIES = (
    Entry("fid", "fd", "fid", "FrechetDistance", "Fréchet Inception Distance", TWO, "lower", "0",
          "[Heusel et al. 2017](https://arxiv.org/abs/1706.08500)", ("ddof",), ranges={"fid": FROM_0}),
    Entry("fid-infinity", "fd-infinity", "fid_infinity", "FidInfinity", "FID-infinity", TWO, "lower", "0",
          "[Chong & Forsyth 2020](https://arxiv.org/abs/1911.07023)", ("ddof",),
          ranges={"fid-infinity": FROM_0}),
    Entry("sfid", "sfd", "sfid", "SpatialFrechetDistance", "Spatial Fréchet Inception Distance", TWO, "lower", "0",
          "[Nash et al. 2021](https://arxiv.org/abs/2103.03841)", ("ddof",), ranges={"sfid": FROM_0}),
    Entry("is", "is", "inception_score", "InceptionScore", "Inception Score", ("fake",), "higher", "classes",
          "[Salimans et al. 2016](https://arxiv.org/abs/1606.03498)", ("splits", "shuffle"), ranges={"is": FROM_1}),
    Entry("kid", "kd", "kid", "KernelInceptionDistance", "Kernel Inception Distance", TWO, "lower", "0",
          "[Bińkowski et al. 2018](https://arxiv.org/abs/1801.01401)", ("subsets", "subset_size")),
    Entry("cmmd", "cmmd", "cmmd", "ClipDistance", "CLIP Maximum Mean Discrepancy", TWO, "lower", "0",
          "[Jayasumana et al. 2024](https://arxiv.org/abs/2401.09603)", ranges={"cmmd": FROM_0}),
    Entry("class-fid", "class-fd", "class_fid", "ClassFrechetDistance", "Class-wise Fréchet Inception Distance", TWO,
          "lower", "0", "[Miyato & Koyama 2018](https://arxiv.org/abs/1802.05637)", ("ddof",),
          ranges={"class-fid": FROM_0}),
    Entry("intra-class-diversity", "intra-class-diversity", "intra_class_diversity", "IntraClassDiversity",
          "Intra-class diversity", ("fake",), "higher", "1", "[Odena et al. 2017](https://arxiv.org/abs/1610.09585)",
          ranges={"intra-class-diversity": FROM_0}),
    Entry("vendi", "vendi", "vendi", "VendiScore", "Vendi score", ("fake",), "higher", "images",
          "[Friedman & Dieng 2022](https://arxiv.org/abs/2210.02410)", ranges={"vendi": FROM_1}),
    Entry("prdc", "prdc", "prdc", "PRDC", "Precision, recall, density and coverage", TWO, "higher", "1",
          "[Kynkäänniemi et al. 2019](https://arxiv.org/abs/1904.06991), "
          "[Naeem et al. 2020](https://arxiv.org/abs/2002.09797)", ("k",),
          {"precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher"},
          {"precision": SHARE, "recall": SHARE, "density": FROM_0, "coverage": SHARE}),
    Entry("authenticity", "authenticity", "authenticity", "Authenticity", "Authenticity", TWO, "higher", "1",
          "[Alaa et al. 2022](https://arxiv.org/abs/2102.08921)", ranges={"authenticity": SHARE}),
    Entry("mifid", "mifid", "mifid", "MemorizationInformedDistance", "Memorization-informed Fréchet Inception Distance",
          TWO, "lower", "0", "[Bai et al. 2021](https://arxiv.org/abs/2106.03062)", ("ddof",),
          ranges={"mifid": FROM_0}),
    Entry("parzen", "parzen", "parzen", "ParzenLogLikelihood", "Parzen-window log-likelihood", PARZEN, "higher", "none",
          "[Goodfellow et al. 2014](https://arxiv.org/abs/1406.2661)"),
    Entry("reconstruction", "reconstruction", "reconstruction", "ReconstructionLoss", "Reconstruction loss",
          RECONSTRUCTION, "lower", "0", "[Xiang & Li 2017](https://arxiv.org/abs/1704.03971)"),
)  # fmt: skip
METRICS = {entry.name: entry for entry in ENTRIES}
