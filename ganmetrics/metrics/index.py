"""The index of metrics: one line each, light enough for `--help`; the class behind a line is imported when needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ganmetrics.metrics.base import Metric

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

    @property
    def values(self) -> Mapping[str, Better]:
        """Names of what it computes, each with its better."""
        return self.parts or {self.name: self.better}

    def load(self) -> type[Metric]:
        """The metric's class."""
        return getattr(importlib.import_module(f"ganmetrics.metrics.{self.module}"), self.attribute)


TWO = ("real", "fake")
PARZEN = ("samples", "validation", "test")
RECONSTRUCTION = ("generator", "test")
ENTRIES = (
    Entry("fid", "fd", "fid", "FrechetDistance", "Fréchet Inception Distance", TWO, "lower", "0",
          "[Heusel et al. 2017](https://arxiv.org/abs/1706.08500)", ("ddof",)),
    Entry("fid-infinity", "fd-infinity", "fid_infinity", "FidInfinity", "FID-infinity", TWO, "lower", "0",
          "[Chong & Forsyth 2020](https://arxiv.org/abs/1911.07023)", ("ddof",)),
    Entry("sfid", "sfd", "sfid", "SpatialFrechetDistance", "Spatial Fréchet Inception Distance", TWO, "lower", "0",
          "[Nash et al. 2021](https://arxiv.org/abs/2103.03841)", ("ddof",)),
    Entry("is", "is", "inception_score", "InceptionScore", "Inception Score", ("fake",), "higher", "classes",
          "[Salimans et al. 2016](https://arxiv.org/abs/1606.03498)", ("splits", "shuffle")),
    Entry("kid", "kd", "kid", "KernelInceptionDistance", "Kernel Inception Distance", TWO, "lower", "0",
          "[Bińkowski et al. 2018](https://arxiv.org/abs/1801.01401)", ("subsets", "subset_size")),
    Entry("cmmd", "cmmd", "cmmd", "ClipDistance", "CLIP Maximum Mean Discrepancy", TWO, "lower", "0",
          "[Jayasumana et al. 2024](https://arxiv.org/abs/2401.09603)"),
    Entry("class-fid", "class-fd", "class_fid", "ClassFrechetDistance", "Class-wise Fréchet Inception Distance", TWO,
          "lower", "0", "[Miyato & Koyama 2018](https://arxiv.org/abs/1802.05637)", ("ddof",)),
    Entry("intra-class-diversity", "intra-class-diversity", "intra_class_diversity", "IntraClassDiversity",
          "Intra-class diversity", ("fake",), "higher", "1", "[Odena et al. 2017](https://arxiv.org/abs/1610.09585)"),
    Entry("vendi", "vendi", "vendi", "VendiScore", "Vendi score", ("fake",), "higher", "images",
          "[Friedman & Dieng 2022](https://arxiv.org/abs/2210.02410)"),
    Entry("prdc", "prdc", "prdc", "PRDC", "Precision, recall, density and coverage", TWO, "higher", "1",
          "[Kynkäänniemi et al. 2019](https://arxiv.org/abs/1904.06991), "
          "[Naeem et al. 2020](https://arxiv.org/abs/2002.09797)", ("k",),
          {"precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher"}),
    Entry("authenticity", "authenticity", "authenticity", "Authenticity", "Authenticity", TWO, "higher", "1",
          "[Alaa et al. 2022](https://arxiv.org/abs/2102.08921)"),
    Entry("mifid", "mifid", "mifid", "MemorizationInformedDistance", "Memorization-informed Fréchet Inception Distance",
          TWO, "lower", "0", "[Bai et al. 2021](https://arxiv.org/abs/2106.03062)"),
    Entry("parzen", "parzen", "parzen", "ParzenLogLikelihood", "Parzen-window log-likelihood", PARZEN, "higher", "none",
          "[Goodfellow et al. 2014](https://arxiv.org/abs/1406.2661)"),
    Entry("reconstruction", "reconstruction", "reconstruction", "ReconstructionLoss", "Reconstruction loss",
          RECONSTRUCTION, "lower", "0", "[Xiang & Li 2017](https://arxiv.org/abs/1704.03971)"),
)  # fmt: skip
METRICS = {entry.name: entry for entry in ENTRIES}
