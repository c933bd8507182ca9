"""Statistics of a source, and merging the statistics of shards: `ganmetrics stats` and `ganmetrics merge`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.images import Summary
from ganmetrics.measurement.class_remarks import class_notes, require_labels
from ganmetrics.measurement.comparability import IDENTITY, PRECISION, require_alike
from ganmetrics.measurement.kept_images import KeptImages
from ganmetrics.measurement.measurement import Measurement, configured
from ganmetrics.measurement.need import Need
from ganmetrics.measurement.reading import fill, require_images, unopened_side
from ganmetrics.measurement.remarks import summary_remarks
from ganmetrics.measurement.settings import Settings
from ganmetrics.measurement.side import Side
from ganmetrics.printable import brief
from ganmetrics.runtime.distributed import Alone
from ganmetrics.statistics import loading
from ganmetrics.statistics.files import StatisticsFile, require_same_parts
from ganmetrics.statistics.moments import Moments
from ganmetrics.statistics.npz import Blocks
from ganmetrics.statistics.parts import Part
from ganmetrics.statistics.samples import Samples


def stats(
    source: Any,
    metrics: str | Sequence[str] = ("fid",),
    *,
    keep: Literal["moments", "vectors"] | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> StatisticsFile:
    """Statistics of a source with their protocol, to save, merge or compare; see `Settings`.

    Args:
        source: as in `gm.evaluate`. Statistics that it holds already are taken as they are.
        metrics: what the statistics are to serve: moments are enough for FID and sFID, most others need the vectors.
        keep: "vectors" keeps the vectors for every metric, which intervals and all metrics over features can use;
            "moments" allows only metrics that moments serve.
        settings: ready-made settings; `options` change them.
        **options: see `Settings`.

    Raises OptionError, SourceError, StatisticsError.
    """
    return shared_stats(source, Settings.of(settings, options), Alone(), metrics, keep=keep)


def shared_stats(
    source: Any,
    settings: Settings,
    group: Alone,
    metrics: str | Sequence[str] = ("fid",),
    *,
    keep: str | None = None,
    watchers: Sequence[Callable[[Tensor], None]] = (),
) -> StatisticsFile:
    """`stats`, read by several processes: rank 0 returns those of all images, the others those of their part.

    watchers: called with every stack of images read.
    """
    measurements = configured(metrics, settings)
    needs = _kept(measurements, settings, keep)
    side = unopened_side("fake", source, settings)
    wanted = [need for need in needs if side.part(need) is None]
    if side.file is not None and (wanted or watchers):
        require_images(side.file, "source", measurements[0].metric.name)
    if side.file is None or wanted or watchers:
        side.opened = settings.open(source)
        require_labels(measurements, side)
        fill(side, wanted, settings, watchers, group)
        if group.rank == 0:
            require_labels(measurements, side, read=True)
    else:
        settings.refuse_selection(None, "is statistics without images")
    parts = list({id(part): part for need in needs for part in _parts(side, need)}.values())
    vectors = any(isinstance(part.statistic, Samples) for part in parts)
    return StatisticsFile(parts, side.file.origin if side.file else "", side.labels if vectors else None)


def adm_reference(
    source: Any, settings: Settings, group: Alone | None = None
) -> tuple[StatisticsFile, dict[str, Blocks]]:
    """What a reference file of guided-diffusion (ADM) holds: moments for FID and sFID, and images.

    Its evaluator takes FID from `mu` and `sigma`, sFID from `mu_s` and `sigma_s`, and precision and recall from the
    images `arr_0`: at most 10,000, drawn at random (seed 0) where there are more.

    Returns the statistics and the arrays to write beside them by `write(..., images=)`.
    Raises OptionError for features other than the Inception's, SourceError for images of several sizes.
    """
    if not settings.is_inception:
        raise OptionError(f"--for adm: guided-diffusion runs the Inception; leave out --features {settings.label}")
    kept = KeptImages()
    file = shared_stats(source, settings, group or Alone(), ["fid", "sfid"], watchers=[kept.watch])
    return file, {"arr_0": kept.array()}


def _kept(measurements: Sequence[Measurement], settings: Settings, keep: str | None) -> list[Need]:
    """What to keep for these metrics. Raises OptionError for a contradiction."""
    if settings.confidence:
        raise OptionError("confidence: is for scores; to keep what intervals need, use --keep vectors")
    if keep not in (None, "moments", "vectors"):
        raise OptionError(f"--keep: expected moments or vectors, got {brief(keep)}")
    for measurement in measurements:
        if keep == "moments" and measurement.need.keep is Samples:
            raise OptionError(f"--keep moments: {measurement.metric.name} needs the vectors; leave one of them out")
    needs = [measurement.need for measurement in measurements]
    return list(dict.fromkeys(replace(need, keep=Samples) if keep == "vectors" else need for need in needs))


def _parts(side: Side, need: Need) -> list[Part]:
    """The part for a need. Moments that the source holds of a larger set than its images come before their vectors."""
    own = side.part(need)
    if own is not None:
        return [own]
    measured = Part(need.kind, side.statistic_for(need), _protocol(side, need))
    whole = side.part(replace(need, keep=Moments)) if need.keep is Samples else None
    return [measured] if whole is None else [whole, measured]


def _protocol(side: Side, need: Need) -> dict[str, Any]:
    source, settings = side.source, need.settings
    return {
        **need.describe(),
        "warnings": [*settings.warnings, *summary_remarks(side.summary, "images")],
        "skipped": side.skipped,
        "source": os.path.realpath(source) if isinstance(source, (str, os.PathLike)) else str(side.opened),
        **side.summary.record(),
        **side.choice,
        "class_notes": class_notes(side.classes) if need.keep is Samples else [],
    }


def merge(paths: Sequence[Any]) -> StatisticsFile:
    """Merge statistics files of shards; the result equals one pass over all images.

    Raises OptionError for no file; StatisticsError for files measured differently, for files of other tools, which
    do not store their count, and for a file named twice.
    """
    if not paths:
        raise OptionError("merge: expected at least one statistics file, got none")
    loaded = [loading.load(path) for path in paths]
    resolved = [os.path.realpath(path) for path in paths]
    for file, path in zip(loaded, resolved, strict=True):
        if resolved.count(path) > 1:
            raise StatisticsError(f"{file.origin}: is named twice; its images would count twice")
    for file in loaded:
        if any(part.statistic.count is None for part in file.parts):
            raise StatisticsError(
                f"{file.origin}: does not say over how many images it was taken; measure them instead"
            )
    require_same_parts(loaded)
    labels = [file.labels for file in loaded]
    together = [label for own in labels if own is not None for label in own] if None not in labels else None
    return StatisticsFile([_merged(loaded, i) for i in range(len(loaded[0].parts))], "merged", together)


def _merged(loaded: Sequence[StatisticsFile], i: int) -> Part:
    """Part `i` of all files as one. Raises StatisticsError for parts measured differently."""
    parts = [file.parts[i] for file in loaded]
    require_alike(
        {file.origin: part.protocol for file, part in zip(loaded, parts, strict=True)}, [*IDENTITY, *PRECISION]
    )
    merged: Any = type(parts[0].statistic)()
    wide = any(isinstance(part.statistic, Samples) and part.statistic.dtype == torch.float64 for part in parts)
    for part in parts:
        merged.merge(part.statistic, **({"wide": True} if wide else {}))
    skipped = [entry for part in parts for entry in part.protocol.get("skipped") or []]
    warnings = dict.fromkeys(text for part in parts for text in part.protocol.get("warnings") or [])
    seen = Summary()
    for part in parts:
        seen.join(Summary.of_record(part.protocol))
    about = {"warnings": list(warnings), "skipped": skipped, "source": "merged", **seen.record()}
    protocol = {**parts[0].protocol, **about}
    return Part(parts[0].kind, merged, protocol)
