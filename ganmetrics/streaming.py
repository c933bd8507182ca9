"""Metrics fed batch by batch, as in a training loop: `gm.FID(real=...)`, then `update`, `compute`, `reset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ganmetrics.errors import OptionError, SourceError
from ganmetrics.images import Summary, to_uint8
from ganmetrics.images.fingerprint import mark_of_bytes, of_images
from ganmetrics.measurement.batch import (
    class_names,
    extracted,
    require_fit,
    require_mergeable,
    take_shape,
    update_statistics,
)
from ganmetrics.measurement.choice import require_sides
from ganmetrics.measurement.comparability import IDENTITY, PRECISION, require_alike
from ganmetrics.measurement.measurement import configured, of_side, require_counts
from ganmetrics.measurement.reading import check, feeds, fill, open_side
from ganmetrics.measurement.scoring import scores
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side, needs
from ganmetrics.metrics.index import OF_IMAGES, SIDES, Better, Entry
from ganmetrics.printable import brief
from ganmetrics.runtime.guards import restored_random
from ganmetrics.score import Score
from ganmetrics.statistics.transfer import contents


class Streaming:
    """Metrics fed with batches of images on any device. The real side can be read once from a source, and is then kept.

    Args:
        metrics: as in `gm.evaluate`; a string is one metric.
        real: any source or statistics file; None to feed the real side by `update(batch, side="real")`.
        **options: see `ganmetrics.Settings`. `value_range` may be given here or with each batch.
    """

    def __init__(self, metrics: str | Sequence[str], real: Any = None, **options: Any):
        self.settings = Settings.of(None, options)
        self._measurements = configured([metrics] if isinstance(metrics, str) else metrics, self.settings)
        self._sides = {name: Side(name) for name in SIDES if of_side(self._measurements, name)}
        # Only a real source is read here; fakes come in batches, without names.
        require_sides(self.settings.include, self.settings.exclude, ["real"])
        if real is not None:
            self.read_real(real)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, with "@EXTRACTOR" for a metric with its own extractor."""
        return [f"{measurement.metric.name}{measurement.suffix}" for measurement in self._measurements]

    def require_counts(self, counts: Mapping[str, int]) -> None:
        """Raises StatisticsError if a metric needs more images than `counts` gives for a side."""
        require_counts(self._measurements, counts)

    @property
    def sides(self) -> tuple[str, ...]:
        """Names of the sides that the metrics use."""
        return tuple(self._sides)

    @property
    def values(self) -> dict[str, Better]:
        """Names of the values that `scores` returns, each with the direction that is better."""
        return {
            f"{name}{measurement.suffix}": better
            for measurement in self._measurements
            for name, better in measurement.metric.entry.values.items()
        }

    def read_real(self, source: Any) -> None:
        """Replace the real side by a source or statistics file.

        Raises OptionError if no metric uses real images, SourceError for a source that cannot be read.
        """
        if "real" not in self._sides:
            raise OptionError(f"{', '.join(self.metrics)}: compares with nothing, so it takes no real source")
        self.reset("real")
        try:
            with restored_random():
                side = open_side("real", source, self._measurements, self.settings)
                check(self._measurements, [side])
                if side.opened is not None:
                    fill(side, needs(side, self._measurements), self.settings)
        except BaseException:
            self.reset("real")  # keep no half-read side
            raise
        self._sides["real"] = side

    def reference(self) -> str | None:
        """Identifies the real side: the checksum of its images or statistics.

        None if `read_real` was not called, or the real side was reset since.

        The checksum reads all images again, at the speed of SHA-256. A source that can be read only once has no
        checksum; its name is returned.
        """
        side = self._sides.get("real")
        if side is None:
            return None
        images = None if side.opened is None else side.opened.fingerprint() or side.opened.name
        if side.file is None:
            return images
        arrays = (array for part in side.file.parts for array in contents(part.statistic))
        statistics = of_images(mark_of_bytes(array.contiguous().cpu().numpy().data) for array in arrays)
        return statistics if images is None else f"{statistics} {images}"

    def update(
        self,
        images: Any,
        *,
        side: str = "fake",
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        """Add a batch `(N, C, H, W)`: uint8 in [0, 255], or floating point with a stated value range.

        labels: the class of each image, for metrics over classes.

        Raises OptionError for an unknown side, SourceError for anything but a batch of images, and what the extractor
        raises. A batch that raises changes nothing.
        """
        self._require_side(side)
        if hasattr(images, "shape") and 0 in tuple(images.shape):
            raise SourceError(f"{side} batch: holds no image, its shape is {tuple(images.shape)}")
        batch = to_uint8(
            images,
            value_range=value_range or self.settings.value_range,
            layout=layout or self.settings.layout,
            quantize=self.settings.rules.quantize,
            where=f"{side} batch",
        )
        batch = self.settings.prepared(batch)
        measurements = of_side(self._measurements, side)
        labelled = [measurement.metric for measurement in measurements if measurement.metric.labelled]
        if labelled and labels is None:
            raise OptionError(f"{labelled[0].name}: expected labels with every batch, got none")
        classes = [] if labels is None else class_names(labels, len(batch))
        summary = Summary()
        summary.add([batch])
        target = self._sides[side]
        target.own_file()
        targets = target.targets(measurements)
        consumers = feeds(targets)
        with restored_random():
            vectors = extracted(batch, consumers, self.settings.batch_size)
            for need, statistic in targets:  # check all before the first update
                require_fit(statistic, vectors[need.extractor, need.tap], need.extractor.divisor)
            update_statistics(vectors, consumers)
        if labelled:
            target.batch_labels += classes
        target.cached.clear()
        target.summary.join(summary)

    def _require_side(self, side: str) -> None:
        if side not in self._sides:
            raise OptionError(f"expected side to be one of {', '.join(self._sides)}, got {brief(side)}")

    def scores(self) -> dict[str, Score]:
        """Every value by name, over all images since the last reset.

        Raises StatisticsError for too few images. If only some of several metrics fail, raises PartialError, which
        holds the scores of the others.
        """
        return scores(self._measurements, list(self._sides.values()))

    def reset(self, side: str = "fake") -> None:
        """Forget the images of one side. Raises OptionError for an unknown side."""
        self._require_side(side)
        self._sides[side] = Side(side)

    def merge(self, other: Streaming) -> None:
        """Add the fake side of another object (a shard of the same run). The real side does not change.

        Raises OptionError for another class, other metrics or itself; StatisticsError for unlike settings.
        """
        kind = type(self).__name__
        if type(other) is not type(self):
            raise OptionError(f"merge: expected another {kind}, got {type(other).__name__}")
        if other is self:
            raise OptionError(f"merge: expected another {kind}, got the same one; its images would count twice")
        if self.metrics != other.metrics:
            raise OptionError(
                f"merge: expected another {kind} of {', '.join(self.metrics)}, got one of {', '.join(other.metrics)}"
            )
        pairs = list(zip(self._measurements, other._measurements, strict=True))
        for measurement, added in pairs:
            require_alike(
                {
                    "this one": measurement.settings.describe(measurement.tap),
                    "the other": added.settings.describe(measurement.tap),
                },
                [*IDENTITY, *PRECISION],
            )
        side, other_side = self._sides["fake"], other._sides["fake"]
        # Equal needs of both objects differ in their extractor object, so they are matched by measurement.
        matched = {measurement.need: added.need for measurement, added in pairs}
        for need, other_need in matched.items():  # check all before the first merge
            kept, added_kept = side.statistic_for(need), other_side.statistic_for(other_need)
            require_mergeable(kept, added_kept, need.extractor, other_need.extractor)
        for need, other_need in matched.items():
            statistic = side.statistic_for(need)
            statistic.merge(other_side.statistic_for(other_need))  # type: ignore[arg-type] # same metric, same type
            take_shape(need.extractor, other_need.extractor)
        side.batch_labels += other_side.batch_labels
        side.summary.join(other_side.summary)


class Evaluator(Streaming):
    """Any set of metrics that share the extraction: `Evaluator(["fid", "kid"], real="real/")`, `update`, `compute`."""

    def compute(self) -> dict[str, Score]:
        """The same as `scores`."""
        return self.scores()


class Named(Streaming):
    """One metric; `Name(real="real/")`, `update(fakes, value_range=(-1, 1))`, `compute()`."""

    name: ClassVar[str]

    def __init__(self, real: Any = None, **options: Any):
        super().__init__([self.name], real, **options)


class StreamingMetric(Named):
    """A metric of one value."""

    def compute(self) -> Score:
        """The score of all images since the last reset. Raises StatisticsError for too few images."""
        (score,) = self.scores().values()
        return score


class StreamingMetrics(Named):
    """A metric of several values."""

    def compute(self) -> dict[str, Score]:
        """Its scores by name. Raises StatisticsError for too few images."""
        return self.scores()


def streaming_class(entry: Entry) -> type[Named]:
    """The class of a metric over images: `gm.FID` from the entry of "fid"."""
    labels = ", labels=names" if entry.labelled else ""
    real = 'real="real/"' if "real" in entry.sides else ""
    kind = StreamingMetrics if entry.parts else StreamingMetric
    doc = f"{entry.title}; `{entry.streaming}({real})`, `update(fakes, value_range=(-1, 1){labels})`, `compute()`."
    return type(entry.streaming, (kind,), {"__doc__": doc, "__module__": __name__, "name": entry.name})


def __getattr__(name: str) -> type[Named]:
    for entry in OF_IMAGES.values():
        if entry.streaming == name:
            # Stored in the module: pickling looks the class up by name and needs the same object.
            cls = globals()[name] = streaming_class(entry)
            return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
