"""Metrics inside a training loop: `gm.FID(real=...)`, then update, compute, reset with batches on any device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ganmetrics.errors import OptionError, SourceError
from ganmetrics.images import Summary, to_uint8
from ganmetrics.images.fingerprint import mark_of_bytes, of_images
from ganmetrics.measurement.batch import class_names, extracted, require_fit, update_statistics
from ganmetrics.measurement.comparability import IDENTITY, PRECISION, require_alike
from ganmetrics.measurement.measurement import configured, of_side, require_counts
from ganmetrics.measurement.reading import check, feeds, fill, open_side
from ganmetrics.measurement.scoring import scores
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side, needs
from ganmetrics.metrics.index import OF_IMAGES, SIDES, Better, Entry
from ganmetrics.runtime.guards import restored_random
from ganmetrics.score import Score


class Streaming:
    """Metrics fed with batches of images; the real side, where there is one, is read once and kept.

    Args:
        metrics: as `gm.evaluate` takes them; one may be named alone.
        real: any source or statistics file; None to feed that side by `update(batch, side="real")`.
        **options: see `ganmetrics.Settings`. `value_range` may be given here or with each batch.
    """

    def __init__(self, metrics: str | Sequence[str], real: Any = None, **options: Any):
        self.settings = Settings.of(None, options)
        self._measurements = configured([metrics] if isinstance(metrics, str) else metrics, self.settings)
        self._sides = {name: Side(name) for name in SIDES if of_side(self._measurements, name)}
        if real is not None:
            self.read_real(real)

    @property
    def metrics(self) -> list[str]:
        """Those that were asked for, by name and, where one was named, extractor."""
        return [f"{one.metric.name}{one.suffix}" for one in self._measurements]

    def require_counts(self, counts: Mapping[str, int]) -> None:
        """Whether so many images, by side, would be enough for every metric. Raises StatisticsError."""
        require_counts(self._measurements, counts)

    @property
    def sides(self) -> tuple[str, ...]:
        """Those that the metrics are over."""
        return tuple(self._sides)

    @property
    def values(self) -> dict[str, Better]:
        """Names of what `scores` gives, each with its better."""
        return {
            f"{name}{one.suffix}": better
            for one in self._measurements
            for name, better in one.metric.entry.values.items()
        }

    def read_real(self, source: Any) -> None:
        """Take the real side from a source or statistics file, instead of what it was.

        Raises OptionError where nothing is compared with it, SourceError for what cannot be read.
        """
        if "real" not in self._sides:
            raise OptionError(f"{', '.join(self.metrics)}: compares with nothing, so it takes no real source")
        self.reset("real")
        try:
            with restored_random():
                side = open_side("real", source, self._measurements, self.settings)
                check(self._measurements, [side])
                if side.file is None:
                    fill(side, needs("real", self._measurements), self.settings)
        except BaseException:
            self.reset("real")  # nothing of what was read until then
            raise
        self._sides["real"] = side

    def reference(self) -> str | None:
        """Checksum of the images or statistics that `read_real` took, or the name of a source that has none; or None.

        Images are read again for it, at the speed of SHA-256; a source that gives them once has its name alone.
        """
        side = self._sides.get("real")
        if side is None:
            return None
        if side.file is not None:
            moments = side.file.moments
            kept = [moments.mean(), moments.covariance()]
            return of_images(mark_of_bytes(part.contiguous().cpu().numpy().data) for part in kept)
        return None if side.opened is None else side.opened.fingerprint() or side.opened.name

    def update(
        self,
        images: Any,
        *,
        side: str = "fake",
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
        labels: Sequence[Any] | None = None,
    ) -> None:
        """Take in a batch `(N, C, H, W)`: uint8 in [0, 255], or floating point with its range stated.

        labels: the class of each image, for metrics over classes.

        Raises OptionError for an unknown side, SourceError for a batch that is no image batch, and what extracting
        raises. Nothing of a batch that raises is taken in: it may be given again, or left out.
        """
        self._known(side)
        if hasattr(images, "shape") and 0 in tuple(images.shape):
            raise SourceError(f"{side} batch: holds no image, its shape is {tuple(images.shape)}")
        batch = to_uint8(
            images,
            value_range=value_range or self.settings.value_range,
            layout=layout or self.settings.layout,
            quantize=self.settings.rules.quantize,
            where=f"{side} batch",
        )
        measurements = of_side(self._measurements, side)
        labelled = [one.metric for one in measurements if one.metric.labelled]
        if labelled and labels is None:
            raise OptionError(f"{labelled[0].name}: expected labels with every batch, got none")
        classes = [] if labels is None else class_names(labels, len(batch))
        summary = Summary()
        summary.add([batch])
        fed, wanted = self._sides[side], needs(side, measurements)
        taking = feeds(fed, wanted)
        with restored_random():
            vectors = extracted(batch, taking, self.settings.batch_size)
            for need in wanted:
                require_fit(fed.statistic_for(need), vectors[need.extractor, need.tap])
            update_statistics(vectors, taking)
        if labelled:
            fed.batch_labels += classes
        fed.summary.join(summary)

    def _known(self, side: str) -> None:
        if side not in self._sides:
            raise OptionError(f"expected side to be one of {', '.join(self._sides)}, got {side!r}")

    def scores(self) -> dict[str, Score]:
        """Every value, by name, of everything since the last reset.

        Raises StatisticsError where that is too little; where it is for some of several metrics, PartialError, which
        holds the scores of the others.
        """
        return scores(self._measurements, list(self._sides.values()))

    def reset(self, side: str = "fake") -> None:
        """Forget one side; the real one stays unless it is named. Raises OptionError for an unknown side."""
        self._known(side)
        self._sides[side] = Side(side)

    def merge(self, other: Streaming) -> None:
        """Take in the fake side of another (a shard of the same run); both keep their real side.

        Raises OptionError for other metrics or itself, StatisticsError for one measured in another way.
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
        for mine, theirs in pairs:
            require_alike(
                {"this one": mine.settings.describe(mine.tap), "the other": theirs.settings.describe(mine.tap)},
                [*IDENTITY, *PRECISION],
            )
        own, added = self._sides["fake"], other._sides["fake"]
        for need, same in {mine.need: theirs.need for mine, theirs in pairs}.items():
            statistic = own.statistic_for(need)
            statistic.merge(added.statistic_for(same))  # type: ignore[arg-type] # one type: the metrics are the same
        own.batch_labels += added.batch_labels
        own.summary.join(added.summary)


class Evaluator(Streaming):
    """Any set of metrics over one extraction: `Evaluator(["fid", "kid"], real="real/")`, `update`, `compute`."""

    def compute(self) -> dict[str, Score]:
        """`scores`, and what it raises."""
        return self.scores()


class Named(Streaming):
    """One metric; `Name(real="real/")`, `update(fakes, value_range=(-1, 1))`, `compute()`."""

    name: ClassVar[str]

    def __init__(self, real: Any = None, **options: Any):
        super().__init__([self.name], real, **options)


class StreamingMetric(Named):
    """A metric of one value."""

    def compute(self) -> Score:
        """The score of everything seen since the last reset. Raises StatisticsError where that is too little."""
        (score,) = self.scores().values()
        return score


class StreamingMetrics(Named):
    """A metric of several values."""

    def compute(self) -> dict[str, Score]:
        """Its scores by name. Raises StatisticsError where too few images were seen."""
        return self.scores()


def streaming_class(entry: Entry) -> type[Named]:
    """The class of a metric over images: `gm.FID` from the entry of "fid"."""
    labels = ", labels=names" if entry.load().labelled else ""
    real = 'real="real/"' if "real" in entry.sides else ""
    kind = StreamingMetrics if entry.parts else StreamingMetric
    said = f"{entry.title}; `{entry.streaming}({real})`, `update(fakes, value_range=(-1, 1){labels})`, `compute()`."
    return type(entry.streaming, (kind,), {"__doc__": said, "__module__": __name__, "name": entry.name})


def __getattr__(name: str) -> type[Named]:
    for entry in OF_IMAGES.values():
        if entry.streaming == name:
            made = globals()[name] = streaming_class(entry)
            return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
