"""What a metric over classes says of its classes: what names them, and whether the folders may be something else."""

from __future__ import annotations

from collections.abc import Sequence

from ganmetrics.errors import OptionError
from ganmetrics.images import ImageSource
from ganmetrics.images.base import IndexedSource
from ganmetrics.images.classes import Classes, doubt
from ganmetrics.measurement.measurement import Measurement
from ganmetrics.measurement.side import Side
from ganmetrics.metrics.base import Metric
from ganmetrics.printable import some


def class_remarks(sides: Sequence[Side]) -> list[str]:
    """Warnings about the classes of each side."""
    texts = []
    for side in sides:
        texts += [f"{side.name} classes: {note}" for note in class_notes(side.classes)]
        if names := _names_for(side, sides):
            given = some([f"{i} for {name}" for i, name in enumerate(names)])
            texts.append(f"{side.name} classes: their numbers were taken for the other side's names: {given}")
    return texts


def class_notes(classes: Classes) -> list[str]:
    """What was noticed of classes, and why folders that were taken for classes may be none."""
    why = doubt(classes)
    doubted = (
        f"the folders were taken for classes, but {why}; a value over no real classes means nothing: give a folder of "
        "class folders, or a dataset.json"
    )
    return [*classes.notes, *([doubted] if why else [])]


def class_origins(sides: Sequence[Side]) -> dict[str, str]:
    """By side, what names its classes: folders, dataset.json and so on."""
    return {side.name: side.classes.origin for side in sides if side.classes.labels is not None}


def come_later(side: Side) -> bool:
    """Whether the classes of a side may come with its images."""
    return side.labels is None and side.opened is not None and side.opened.may_bring_classes()


def require_labels(measurements: Sequence[Measurement], side: Side, *, read: bool = False) -> None:
    """Raises OptionError if a metric is over classes and the images of the side have none.

    read: whether the images have been read, with which classes may come.
    """
    for measurement in measurements:
        if measurement.metric.labelled and (read or not come_later(side)):
            _labels_of(measurement.metric, side)


def labels_by_side(metric: Metric, sides: Sequence[Side]) -> dict[str, list[str]]:
    """The classes of the sides. Numbers on one become the names that they stand for on another, if that has names.

    Raises OptionError, with the reason, for a source whose classes are not all known.
    """
    labels = {side.name: _labels_of(metric, side) for side in sides}
    known = {name: found for name, found in labels.items() if found is not None}
    for side in sides:
        if names := _names_for(side, sides):
            known[side.name] = [names[int(label)] for label in known[side.name]]
    return known


def _names_for(side: Side, sides: Sequence[Side]) -> Sequence[str]:
    """The names of another side for which the numbers of this one stand; empty unless it has such numbers."""
    names = next((other.classes.names for other in sides if other is not side and other.classes.names), ())
    own = set(side.labels or ())
    are_numbers = own and own <= set(map(str, range(len(names)))) and not own & set(names)
    return names if are_numbers else ()


def _labels_of(metric: Metric, side: Side) -> list[str] | None:
    labels = side.labels
    if labels is None and side.opened is not None:
        raise OptionError(
            f"{metric.name}: expected {side.name} images with classes (a folder of class folders, or a "
            f"dataset), and {side.opened.name if side.opened else side.source} has none{_why(side)}"
        )
    return labels


def _why(side: Side) -> str:
    """For the message: why there are no classes."""
    if side.opened is None:
        return ""
    if side.opened.classes.problem:
        return f": {side.opened.classes.problem}"
    without = side.summary.n_images - len(side.summary.labels)
    if side.opened.may_bring_classes() and without:
        return f": {without} of its {side.summary.n_images} images came without a number, a name or a one-hot vector"
    return _outside(side.opened)


def _outside(source: ImageSource) -> str:
    """How many images lie beside the class folders, and the first of them."""
    if not isinstance(source, IndexedSource):
        return ""
    names = [source.where(i) for i in range(source.count)]
    folders = [name.rpartition("/")[0] for name in names]
    top = min(folders, key=len)
    outside = [name for name, folder in zip(names, folders, strict=True) if folder == top]
    if len(outside) == len(names):
        return ""
    subject = "1 image lies" if len(outside) == 1 else f"{len(outside)} images lie"
    return f": {subject} outside of its class folders, such as {outside[0]}"
