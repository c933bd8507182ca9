"""Parzen-window log-likelihood of any sources, as a call and for training loops; computed by metrics/parzen.py."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features.extract import default_batch_size, feed
from ganmetrics.features.pixels import DequantizedPixels, PixelBytes
from ganmetrics.images import ImageSource, to_uint8
from ganmetrics.measurement.need import Need
from ganmetrics.measurement.reading import fill
from ganmetrics.measurement.remarks import remarks, same_source
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side, images_of
from ganmetrics.metrics.numerics.bandwidth import Rule
from ganmetrics.metrics.numerics.baselines import cut, kmeans_centres
from ganmetrics.metrics.numerics.point_scales import scale_remarks
from ganmetrics.metrics.parzen import ParzenLogLikelihood
from ganmetrics.printable import brief
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.runtime.device import resolve_device, resolve_dtype
from ganmetrics.runtime.memory import parse_memory
from ganmetrics.score import Score
from ganmetrics.statistics.points import Points, as_points, point_blocks, rows_of
from ganmetrics.statistics.samples import Samples
from ganmetrics.validation import whole

NOTE = (
    "a Parzen log-likelihood can rank a bad model above the truth and says little about samples; compare it only at "
    "one protocol, beside the baselines (Theis, van den Oord & Bethge 2016, arXiv:1511.01844)"
)
FORBIDDEN = {"features", "features_are", "weights", "protocol", "allow_tf32", "jpeg_decoder", "ddof", "splits",
             "shuffle"}  # fmt: skip


@dataclass(frozen=True)
class ParzenOptions:
    """The options of this metric alone.

    Attributes:
        bandwidths: "published" (ten from 0.1 to 1), "auto", a number, several, or "LOW:HIGH:COUNT".
        max_samples: use this many samples, drawn with the seed; None uses all.
        memory: work space, such as "512MB" or "2GiB", or a number of bytes; further samples are kept on disk.
        dequantize: add uniform noise u in [0, 1) to the pixels, (value + u) / 256, so that a density is meaningful.
        allow_same: accept the same images for validation and test.
        baseline: "true" scores the source's own images as if they were samples, "kmeans" their k-means centres.
    """

    bandwidths: str | float | Sequence[float] = "published"
    max_samples: int | None = None
    memory: str | int = "512MB"
    dequantize: bool = False
    allow_same: bool = False
    baseline: Literal["true", "kmeans"] | None = None

    def __post_init__(self) -> None:
        if self.max_samples is not None:
            whole("--max-samples", self.max_samples, 1)
        if self.baseline not in (None, "true", "kmeans"):
            raise OptionError(f"--baseline: expected true or kmeans, got {brief(self.baseline)}")
        Rule.parse(self.bandwidths)
        parse_memory(self.memory)


def parzen_log_likelihood(
    samples: Any,
    validation: Any = None,
    test: Any = None,
    *,
    bandwidths: str | float | Sequence[float] = "published",
    max_samples: int | None = None,
    memory: str | int = "512MB",
    dequantize: bool = False,
    allow_same: bool = False,
    baseline: Literal["true", "kmeans"] | None = None,
    **options: Any,
) -> Score:
    """Mean log-likelihood (nats) of test images under Gaussians on samples, bandwidth chosen on validation images.

    Samples, validation and test are any sources of images of one size, grey or RGB, scaled to [0, 1]; or points
    `(N, D)`, as a `.npy` file, array or tensor, used without scaling. A baseline is computed from `samples`; without
    validation and test, `samples` is shuffled and cut into 5/7, 1/7, 1/7. The keywords are those of `ParzenOptions`
    and `Settings` (device, dtype, batch_size, value_range, seed, ...).

    Returns: Score; spread is the standard error of the mean. Raises a subclass of GanMetricsError.
    """
    started = time.perf_counter()
    own = ParzenOptions(bandwidths, max_samples, memory, dequantize, allow_same, baseline)
    if (validation is None) != (test is None):
        raise OptionError("parzen: expected validation and test, got only one of them")
    if validation is None and baseline is None:
        raise OptionError("parzen: expected samples, validation and test, got samples alone")
    window = Parzen(validation, test, settings=own, **options)
    window.read(samples)
    window.make_baseline()
    return window.compute().with_(seconds=round(time.perf_counter() - started, 3))


class Parzen:
    """`Parzen(validation, test).update(batch).compute()` inside a training loop; arguments as above."""

    def __init__(
        self, validation: Any = None, test: Any = None, *, settings: ParzenOptions | None = None, **options: Any
    ):
        own = {name: options.pop(name) for name in ParzenOptions.__dataclass_fields__ if name in options}
        self.options = settings or ParzenOptions(**own)
        if settings is None and (self.options.baseline or validation is None or test is None):
            raise OptionError("Parzen: expected validation and test, no baseline; parzen_log_likelihood makes those")
        self._settings = self._reading_settings(options)
        self.metric = ParzenLogLikelihood(
            rule=Rule.parse(self.options.bandwidths),
            max_samples=None if self.options.baseline == "kmeans" else self.options.max_samples,
            seed=self._settings.seed or 0,
            memory=parse_memory(self.options.memory),
            dtype=torch.float64 if resolve_dtype(self._settings.dtype) == torch.float64 else None,
            device=resolve_device(self._settings.device),
            progress=self._settings.progress,
        )
        self._need = Need(self._settings, "features", Samples)
        self._sides = {"samples": self._side("samples")}
        if validation is not None:
            alike = self._settings.selection("validation") == self._settings.selection("test")
            if not self.options.allow_same and alike and same_source(validation, test):
                raise OptionError(self._same_message(f"{validation}" if isinstance(validation, str) else "one source"))
            for name, source in (("validation", validation), ("test", test)):
                self._sides[name] = self._read(name, source)
            self._refuse_overlap()

    def _reading_settings(self, options: dict[str, Any]) -> Settings:
        """How images are read. Raises OptionError for options that do not apply to pixels."""
        wrong = sorted(FORBIDDEN & set(options))
        if wrong:
            raise OptionError(f"{wrong[0]}: a Parzen window is over pixels or points and takes no such option")
        if (dtype := resolve_dtype(options.get("dtype", "float32"))) not in (torch.float32, torch.float64):
            got = str(dtype).removeprefix("torch.")
            raise OptionError(f"--dtype: expected float32 or float64, of a Parzen window's exponentials, got {got}")
        device, seed = resolve_device(options.get("device")), options.get("seed") or 0
        features = DequantizedPixels(device, seed) if self.options.dequantize else PixelBytes(device)
        return Settings.of(None, {**options, "features": features})

    @staticmethod
    def _same_message(what: str) -> str:
        return (
            f"validation and test are the same ({what}): the bandwidth would be chosen on the test data; "
            "give other images, or insist with --allow-same"
        )

    def read(self, source: Any) -> Parzen:
        """Replace the samples by those of a source."""
        self._sides["samples"] = self._read("samples", source)
        return self

    def make_baseline(self) -> None:
        """Cut the samples if there is no validation set; replace them by their k-means centres for that baseline."""
        seed, points = self.metric.seed, self._points("samples")
        if "validation" not in self._sides:
            for name, part in cut(points, seed).items():
                self._sides.setdefault(name, self._side(name)).statistics[self._need] = self._store(part)
        if self.options.baseline == "kmeans":
            centres = kmeans_centres(self._points("samples"), self.options.max_samples, seed)
            self._sides["samples"].statistics[self._need] = self._store(centres)

    def _side(self, name: str, source: Any = None, opened: ImageSource | None = None) -> Side:
        """A side whose points respect the memory option."""
        return Side(name, source, opened, statistics={self._need: self._store()})

    def _store(self, points: Tensor | None = None) -> Samples:
        # An eighth in memory for each of the three sides; further points go to disk.
        store = Samples(parse_memory(self.options.memory) // 8)
        if points is not None:
            store.update(points)
        return store

    def _points(self, side: str) -> Samples:
        """The points of a side."""
        return cast(Samples, self._sides[side].statistic_for(self._need))

    def update(
        self, batch: Any, *, value_range: tuple[float, float] | None = None, layout: str | None = None
    ) -> Parzen:
        """Add a batch of samples: images as in `gm.FID.update`, or points `(N, D)`."""
        if hasattr(batch, "shape") and 0 in tuple(batch.shape):
            raise OptionError(f"samples batch: holds nothing, its shape is {tuple(batch.shape)}")
        points = as_points(batch)
        if points is not None:
            self._add(self._sides["samples"], points)
            return self
        images = to_uint8(
            batch,
            value_range=value_range or self._settings.value_range,
            layout=layout or self._settings.layout,
            where="samples batch",
        )
        extractor = self._settings.extractor
        with exact_arithmetic(extractor.device):
            for stack in images.split(self._settings.batch_size or default_batch_size(extractor)):
                feed(extractor, [stack], {"features": [self._points("samples").update]})
                self._sides["samples"].summary.add([stack])
        return self

    def reset(self) -> None:
        """Forget the samples; keep validation and test."""
        self._sides["samples"] = self._side("samples")

    def merge(self, other: Parzen) -> None:
        """Add the samples of another object (a shard of the same run).

        Raises OptionError unless it is another Parzen with the same options and the same validation and test points.
        """
        if not isinstance(other, Parzen) or other is self or other.options != self.options:
            raise OptionError("merge: expected another Parzen window with the same options")
        for name in ("validation", "test"):
            own, others = rows_of(self._points(name), other._points(name))
            if own != others:
                raise OptionError(f"merge: expected a window over the same {name} points")
        self._sides["samples"].summary.join(other._sides["samples"].summary)
        self._points("samples").merge(other._points("samples"))

    def compute(self) -> Score:
        """The score of the samples so far. Raises StatisticsError if a side is empty or sizes differ."""
        with exact_arithmetic(self.metric.device):
            result = self.metric.over({name: self._points(name) for name in self.metric.sides}).compute()
        if not math.isfinite(result.value):
            raise StatisticsError(
                f"the log-likelihood came out as {result.value}: the points are too large for float64"
            )
        sides = list(self._sides.values())
        return Score(
            self.metric.name,
            result.value,
            self.metric.entry.better,
            spread=result.spread,
            n_real=result.protocol["n_test"],
            n_fake=result.protocol["n_samples"],
            protocol={**self._protocol(), **result.protocol, "note": NOTE},
            warnings=[*result.warnings, *self._remarks(), *remarks(sides)],
            skipped=[entry for side in sides for entry in side.skipped],
            raw=result.value,
        )

    def _protocol(self) -> dict[str, Any]:
        dtypes = {self._points(name).dtype for name in self.metric.sides}
        is_points = not any(side.summary.n_images for side in self._sides.values())
        scale = "as given" if is_points else "(value + uniform) / 256" if self.options.dequantize else "value / 255"
        return {
            "features": "points" if is_points else "pixels",
            "dequantized": self.options.dequantize,
            "scale": scale,
            "baseline": self.options.baseline,
            "resize": None,
            **self._settings.preparation,
            **images_of(self._sides.values()),
            "distances": "exact" if dtypes == {torch.uint8} else "float64",
            "device": str(self.metric.device),
            "torch": torch.__version__,
        }

    def _read(self, name: str, source: Any) -> Side:
        if (points := as_points(source)) is not None:
            self._settings.refuse_selection(name, "is points")
            side = self._side(name, source)
            self._add(side, points)
            return side
        side = self._side(name, source, self._settings.open(source, name))
        fill(side, [self._need], self._settings)
        return side

    def _add(self, side: Side, points: Points) -> None:
        if self.options.dequantize:
            raise OptionError(f"--dequantize: is for pixels, and {side.name} are points; leave it out")
        for block in point_blocks(points):
            if not bool(torch.isfinite(block).all()):
                raise StatisticsError(f"{side.name}: NaN or infinity among the points")
            side.statistic_for(self._need).update(block)

    def _refuse_overlap(self) -> None:
        validation, test = rows_of(self._points("validation"), self._points("test"))
        self._shared = len(test & validation)
        if not self.options.allow_same and test and test <= validation:
            raise OptionError(self._same_message("every test image is among the validation images"))

    def _remarks(self) -> list[str]:
        texts = []
        if getattr(self, "_shared", 0) and not self.options.allow_same:
            texts.append(
                f"{self._shared} of the test images are among the validation images, which chose the bandwidth"
            )
        if getattr(self, "_shared", 0) and self.options.allow_same:
            texts.append("the bandwidth was chosen on test data (--allow-same): the value is biased upward")
        # Images and k-means centres have a known scale.
        given = self.options.baseline != "kmeans" and any(not side.summary.n_images for side in self._sides.values())
        return texts + scale_remarks({name: self._points(name) for name in self.metric.sides}, given=given)
