"""The index of metrics, one entry each. It imports no metric, so that `--help` is fast; `Entry.load` does.

Commands, tables, the streaming classes (`gm.FID`), reports and tests are made from it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["lower", "higher"]
SIDES = ("real", "fake")


@dataclass(frozen=True)
class Entry:
    """What tables and the command line need to know about a metric.

    Attributes:
        name: name on the command line, and of the score in the metric's canonical feature space.
        prefix: start of the score's name in any other feature space ("fd-efficientnet-lite0").
        module, attribute: where its class is, below `ganmetrics.metrics`.
        title: full name, for tables and messages.
        sides: what it compares, in the order of the arguments; ("fake",) for a metric without reference.
        better: which direction is better, "lower" or "higher".
        best, paper: best possible value and source, for tables.
        options: the fields of `MetricOptions` that it uses, apart from the seed.
        parts: for a metric with several values, their names, each with its better direction.
        ranges: smallest and largest possible value, by name of the value; intervals are cut there.
        labelled: whether it needs the class of every image.
        smallest: height and width that images must have at least, for a metric that compares the images themselves,
            whatever the extractor of other metrics; 0 for a metric of vectors.
        streaming: name of the class that takes batches (`gm.FID`); empty for a metric that is not over images.
        says: one sentence per value, by its name, for readers who do not know the metric.
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
    labelled: bool = False
    smallest: int = 0
    streaming: str = ""
    says: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_images(self) -> bool:
        """Whether its sides are real and fake images, or fake only, so that it can share a pass with other metrics."""
        return set(self.sides) <= set(SIDES)

    @property
    def values(self) -> Mapping[str, Better]:
        """Names of its values, each with its better direction."""
        return self.parts or {self.name: self.better}

    def load(self) -> type[Any]:
        """The metric's class."""
        return getattr(importlib.import_module(f"ganmetrics.metrics.{self.module}"), self.attribute)


FROM_0, FROM_1, SHARE = (0.0, math.inf), (1.0, math.inf), (0.0, 1.0)
PARZEN = ("samples", "validation", "test")
RECONSTRUCTION = ("generator", "test")
ENTRIES = (
    Entry("fid", "fd", "fid", "FrechetDistance", "Fréchet Inception Distance", SIDES, "lower", "0",
          "[Heusel et al. 2017](https://arxiv.org/abs/1706.08500)", ("ddof",), ranges={"fid": FROM_0}, streaming="FID",
          says={"fid": "How far the two sets lie apart as two Gaussian clouds; 0 for equal ones. Falls with more "
                       "images."}),
    Entry("fid-infinity", "fd-infinity", "fid_infinity", "FidInfinity", "FID-infinity", SIDES, "lower", "0",
          "[Chong & Forsyth 2020](https://arxiv.org/abs/1911.07023)", ("ddof",),
          ranges={"fid-infinity": FROM_0}, streaming="FIDInfinity",
          says={"fid-infinity": "The Fréchet distance as it would be with endlessly many images."}),
    Entry("sfid", "sfd", "sfid", "SpatialFrechetDistance", "Spatial Fréchet Inception Distance", SIDES, "lower", "0",
          "[Nash et al. 2021](https://arxiv.org/abs/2103.03841)", ("ddof",), ranges={"sfid": FROM_0}, streaming="SFID",
          says={"sfid": "The Fréchet distance of features that keep where things are in the picture."}),
    Entry("is", "is", "inception_score", "InceptionScore", "Inception Score", ("fake",), "higher", "classes",
          "[Salimans et al. 2016](https://arxiv.org/abs/1606.03498)", ("splits", "shuffle"), ranges={"is": FROM_1},
          streaming="InceptionScore",
          says={"is": "How sure a classifier is of single fakes and how evenly it spreads over classes. Sees no real "
                      "image."}),
    Entry("kid", "kd", "kid", "KernelInceptionDistance", "Kernel Inception Distance", SIDES, "lower", "0",
          "[Bińkowski et al. 2018](https://arxiv.org/abs/1801.01401)", ("subsets", "subset_size"), streaming="KID",
          says={"kid": "How far the two sets lie apart by a polynomial kernel; about 0 for equal ones, with few images "
                       "too."}),
    Entry("cmmd", "cmmd", "cmmd", "ClipDistance", "CLIP Maximum Mean Discrepancy", SIDES, "lower", "0",
          "[Jayasumana et al. 2024](https://arxiv.org/abs/2401.09603)", ranges={"cmmd": FROM_0}, streaming="CMMD",
          says={"cmmd": "How far the two sets lie apart by a Gaussian kernel on CLIP-like features; 0 for equal "
                        "ones."}),
    Entry("class-fid", "class-fd", "class_fid", "ClassFrechetDistance", "Class-wise Fréchet Inception Distance", SIDES,
          "lower", "0", "[Miyato & Koyama 2018](https://arxiv.org/abs/1802.05637)", ("ddof",),
          ranges={"class-fid": FROM_0}, labelled=True, streaming="ClassFID",
          says={"class-fid": "The Fréchet distance of each class by itself, and their mean."}),
    Entry("intra-class-diversity", "intra-class-diversity", "intra_class_diversity", "IntraClassDiversity",
          "Intra-class diversity", ("fake",), "higher", "1",
          "ours, after [Odena et al. 2017](https://arxiv.org/abs/1610.09585)",
          ranges={"intra-class-diversity": FROM_0}, labelled=True, streaming="IntraClassDiversity",
          says={"intra-class-diversity": "How unlike each other the fakes of one class are; 0 where a class is one "
                                         "image."}),
    Entry("ms-ssim", "ms-ssim", "ms_ssim", "MultiScaleSimilarity", "MS-SSIM within classes", ("fake",), "lower", "0",
          "[Odena et al. 2017](https://arxiv.org/abs/1610.09585)", ranges={"ms-ssim": SHARE}, labelled=True,
          smallest=176, streaming="MSSSIM",
          says={"ms-ssim": "How alike two fakes of one class look; 1 where a class is one image. Real images of these "
                           "classes have a value of their own to compare with."}),
    Entry("vendi", "vendi", "vendi", "VendiScore", "Vendi score", ("fake",), "higher", "images",
          "[Friedman & Dieng 2022](https://arxiv.org/abs/2210.02410)", ranges={"vendi": FROM_1}, streaming="Vendi",
          says={"vendi": "How many truly different images there are among the fakes."}),
    Entry("prdc", "prdc", "prdc", "PRDC", "Precision, recall, density and coverage", SIDES, "higher", "1",
          "[Kynkäänniemi et al. 2019](https://arxiv.org/abs/1904.06991), "
          "[Naeem et al. 2020](https://arxiv.org/abs/2002.09797)", ("k",),
          {"precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher"},
          {"precision": SHARE, "recall": SHARE, "density": FROM_0, "coverage": SHARE}, streaming="PRDC",
          says={
              "precision": "Share of fakes that lie among real images: how believable single fakes are.",
              "recall": "Share of real images that lie among fakes: how much of the real variety is made.",
              "density": "How thickly real images lie around the fakes; about 1 for real ones, and above it in crowded "
                         "places.",
              "coverage": "Share of real images with a fake close by; near 1 for real ones, low where variety is "
                          "missing.",
          }),
    Entry("authenticity", "authenticity", "authenticity", "Authenticity", "Authenticity", SIDES, "higher", "1",
          "[Alaa et al. 2022](https://arxiv.org/abs/2102.08921)", ranges={"authenticity": SHARE},
          streaming="Authenticity",
          says={"authenticity": "Share of fakes that are no near copies; near 0 for copies. What fresh real images of "
                                "this set have stands beside it."}),
    Entry("mifid", "mifid", "mifid", "MemorizationInformedDistance", "Memorization-informed Fréchet Inception Distance",
          SIDES, "lower", "0", "[Bai et al. 2021](https://arxiv.org/abs/2106.03062)", ("ddof",),
          ranges={"mifid": FROM_0}, streaming="MiFID",
          says={"mifid": "The Fréchet distance, made worse where fakes are copies of training images."}),
    Entry("parzen", "parzen", "parzen", "ParzenLogLikelihood", "Parzen-window log-likelihood", PARZEN, "higher", "none",
          "[Goodfellow et al. 2014](https://arxiv.org/abs/1406.2661)"),
    Entry("reconstruction", "reconstruction", "reconstruction", "ReconstructionLoss", "Reconstruction loss",
          RECONSTRUCTION, "lower", "0", "[Xiang & Li 2017](https://arxiv.org/abs/1704.03971)"),
)  # fmt: skip
METRICS = {entry.name: entry for entry in ENTRIES}
OF_IMAGES = {entry.name: entry for entry in ENTRIES if entry.of_images}
