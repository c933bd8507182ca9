"""One pass over each source for any set of metrics, and the library calls `gm.fid` and `gm.inception_score`."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ganmetrics.comparison import IDENTITY, Side, common_protocol, remarks, require_alike, score_name, summary_remarks
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features.extract import extract
from ganmetrics.images import Summary
from ganmetrics.metrics import METRICS
from ganmetrics.metrics.base import Metric
from ganmetrics.score import Score
from ganmetrics.settings import Settings
from ganmetrics.statistics import files
from ganmetrics.statistics.moments import Moments


def fid(real: Any, fake: Any, **options: Any) -> Score:
    """Fréchet Inception Distance of `fake` from `real` (any two sources, or statistics files); see `Settings`."""
    return evaluate(real, fake, ["fid"], **options)["fid"]


def inception_score(fake: Any, **options: Any) -> Score:
    """Inception Score of `fake` (any source of images); `spread` is the deviation over splits; see `Settings`."""
    return evaluate(None, fake, ["is"], **options)["is"]


def evaluate(
    real: Any, fake: Any, metrics: Sequence[str] = ("fid", "is"), *, settings: Settings | None = None, **options: Any
) -> dict[str, Score]:
    """Scores of `fake` (against `real`, for metrics of two sides), reading each source once.

    Args:
        real: any source, or statistics; None where no metric needs it.
        fake: any source, or statistics.
        metrics: names of `ganmetrics.metrics.METRICS`.
        settings: ready-made, or
        **options: see `Settings`.

    Returns: {index name: Score}. Raises GanMetricsError in one of its kinds.
    """
    started = time.perf_counter()
    settings = Settings.of(settings, options)
    instances = configured(metrics, settings)
    wanted = {side for metric in instances for side in metric.sides}
    given = (("real", real), ("fake", fake))
    sides = [open_side(name, source, instances, settings) for name, source in given if name in wanted]
    for metric in instances:  # before hours are spent on a comparison that cannot be made
        common_protocol(metric, [side for side in sides if side.name in metric.sides], settings)
    for side in sides:
        fill(side, [metric for metric in instances if side.name in metric.sides], settings)
    scores = {metric.name: score(metric, sides, settings) for metric in instances}
    seconds = time.perf_counter() - started
    return {name: one.with_(seconds=round(seconds, 3)) for name, one in scores.items()}


def configured(names: Sequence[str], settings: Settings) -> list[Metric]:
    """Metrics by index name, as the settings say. Raises OptionError for a name nobody knows."""
    for name in names:
        if name not in METRICS:
            raise OptionError(f"metrics: expected some of {', '.join(METRICS)}, came {name!r}")
        if not set(METRICS[name].sides) <= {"real", "fake"}:
            raise OptionError(f"metrics: {name} is over {', '.join(METRICS[name].sides)}; it has a function of its own")
    return [METRICS[name].load().configured(settings.rules, settings.metric_options) for name in names]


def open_side(name: str, source: Any, metrics: Sequence[Metric], settings: Settings) -> Side:
    """A statistics file where every metric can live on one (a file may hold images beside: ADM's), else images."""
    if isinstance(source, files.StatisticsFile):
        return Side(name, source, file=source, summary=_remembered(source))
    if isinstance(source, Moments):
        return Side(name, source, file=files.StatisticsFile(source))
    only_moments = all(metric.statistic is Moments for metric in metrics if name in metric.sides)
    if only_moments and files.is_statistics_file(source):
        file = files.load(source)
        return Side(name, source, file=file, summary=_remembered(file))
    return Side(name, source, opened=settings.open(source))


def _remembered(file: files.StatisticsFile) -> Summary:
    """What a statistics file tells of its images, as if they had just been read."""
    sizes = {tuple(size): n for size, n in file.protocol.get("sizes") or []}
    return Summary(sizes=Counter(sizes), formats=Counter(file.protocol.get("formats") or {}))


def fill(side: Side, metrics: Sequence[Metric], settings: Settings) -> None:
    """Put one side's statistics into the metrics: from its file, or by reading and extracting once."""
    if side.file is not None:
        for metric in metrics:
            metric.statistics[side.name] = side.file.moments
        return
    opened = side.opened or settings.open(side.given)
    consumers: dict[str, list[Callable]] = {}
    for metric in metrics:
        consumers.setdefault(settings.tap(type(metric)), []).append(metric.statistics[side.name].update)
    side.summary = extract(
        opened,
        settings.extractor,
        consumers,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        on_error=settings.on_error,
        progress=settings.progress,
        label=side.name,
    )


def score(metric: Metric, sides: Sequence[Side], settings: Settings) -> Score:
    """The metric's Result with its name, protocol and everything that was noticed on the way."""
    own = [side for side in sides if side.name in metric.sides]
    protocol, warnings = common_protocol(metric, own, settings)
    with torch.device("cpu"), torch.inference_mode(False), torch.no_grad():  # whatever the caller's defaults are
        result = metric.compute()
    if not math.isfinite(result.value):
        raise StatisticsError(f"the {metric.entry.title} came out as {result.value}; check the features and statistics")
    counts = {f"n_{side.name}": metric.statistics[side.name].count for side in own}
    return Score(
        score_name(metric, protocol, metric.statistics["fake"].dim),
        result.value,
        metric.entry.better,
        spread=result.spread,
        **counts,
        protocol={**protocol, **result.protocol},
        warnings=[*warnings, *result.warnings, *remarks(own)],
        skipped=[entry for side in own for entry in side.skipped],
        raw=result.value if result.raw is None else result.raw,
    )


def stats(source: Any, *, settings: Settings | None = None, **options: Any) -> files.StatisticsFile:
    """Moments of a source's feature vectors, with their protocol, to keep, merge or compare; see `Settings`."""
    settings = Settings.of(settings, options)
    (metric,) = configured(["fid"], settings)
    side = Side("fake", source, opened=settings.open(source))
    fill(side, [metric], settings)
    protocol = {
        **settings.describe(settings.tap(type(metric))),
        "warnings": [*settings.extractor.warnings, *summary_remarks(side.summary, "images")],
        "skipped": side.skipped,
        "source": os.path.realpath(source) if isinstance(source, (str, os.PathLike)) else str(side.opened),
        "sizes": [[list(size), n] for size, n in side.summary.sizes.most_common(20)],
        "formats": dict(side.summary.formats),
    }
    return files.StatisticsFile(metric.statistics["fake"], protocol)


def merge(paths: Sequence[Any]) -> files.StatisticsFile:
    """Statistics files of shards -> those of the whole, equal to one pass over it.

    Raises StatisticsError for files measured in unlike ways, for those of other tools, which hide their count, and for
    a file named twice.
    """
    if not paths:
        raise OptionError("merge: expected at least one statistics file, came none")
    loaded = [files.load(path) for path in paths]
    real = [os.path.realpath(path) for path in paths]
    for file, path in zip(loaded, real, strict=True):
        if real.count(path) > 1:
            raise StatisticsError(f"{file.origin}: is named twice; its images would count twice")
    for file in loaded:
        if file.moments.count is None:
            raise StatisticsError(
                f"{file.origin}: does not say over how many images it was taken; measure them instead"
            )
    require_alike({file.origin: file.protocol for file in loaded}, [*IDENTITY, "dtype"])
    whole = Moments()
    for file in loaded:
        whole.merge(file.moments)
    skipped = [entry for file in loaded for entry in file.protocol.get("skipped") or []]
    warnings = dict.fromkeys(text for file in loaded for text in file.protocol.get("warnings") or [])
    protocol = {**loaded[0].protocol, "warnings": list(warnings), "skipped": skipped, "source": "merged"}
    return files.StatisticsFile(whole, protocol, "merged")
