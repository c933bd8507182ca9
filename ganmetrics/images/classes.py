"""The class of every image of a source: from `dataset.json`, as StyleGAN and EDM write it, else from the folders.

StyleGAN's and EDM's tools keep 1,000 images in a folder (`00001/img00001000.png`), so there the folders are no classes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ganmetrics.images.labels import class_of
from ganmetrics.images.names import classes, is_hidden, parts_of, some
from ganmetrics.printable import natural_order, printable
from ganmetrics.printable import some as first_five

DESCRIPTION = "dataset.json"
FOLDERS = "folders"
# Names of parts of a set, or of what holds images, rather than of a class of images.
SPLIT = re.compile(
    r"(train(ing)?|val(id(ation)?)?|test(ing)?|dev|eval(uation)?|holdout|im(g|age)s?|pictures|photos|data(set)?|real|"
    r"fakes?|samples?|generated|outputs?|inputs?)[-_ ]?([ab]|set|images|samples|[0-9]+)?",
    re.IGNORECASE,
)
CHUNK = re.compile(
    r"((?P<word>chunk|part|shard|batch|split|fold|block|rank|gpu|seed|dir|subset)s?[-_ ]?)?[0-9]+", re.IGNORECASE
)


@dataclass(frozen=True)
class Classes:
    """The class of every image of a source, in order.

    Attributes:
        labels: one name for each image; None if not every image has a class.
        origin: what names them: "folders", "dataset.json", ".cls files", ...
        problem: why there are none, for a message; empty if nothing is known.
        notes: what was noticed, as whole sentences.
        names: the names that numbers stand for, if the source has them.
    """

    labels: Sequence[str] | None = None
    origin: str = ""
    problem: str = ""
    notes: Sequence[str] = ()
    names: Sequence[str] = ()


def is_description(name: str) -> bool:
    """Whether a path names a `dataset.json` and no part of it is hidden."""
    parts = parts_of(name)
    return parts[-1:] == [DESCRIPTION] and not any(map(is_hidden, parts))


@dataclass(frozen=True)
class Files:
    """A folder or an archive: the names of its images, and how to read each `dataset.json` in it, by its name.

    Reading one may raise OSError.
    """

    images: Sequence[str]
    descriptions: Mapping[str, Callable[[], bytes]]

    def description(self) -> str | None:
        """The `dataset.json` at the root, or in a folder that holds all images; the topmost one."""
        folders = [parts_of(name)[:-1] for name in self.images]
        shared = 0
        while all(len(path) > shared and path[shared] == folders[0][shared] for path in folders):
            shared += 1
        paths = {tuple(parts_of(name)): name for name in self.descriptions}
        above = ((*folders[0][:depth], DESCRIPTION) for depth in range(shared + 1)) if folders else ()
        return next((paths[path] for path in above if path in paths), None)


class DescriptionError(Exception):
    """Why a `dataset.json` gives no classes."""


def of_files(places: Sequence[Files], *, chosen: bool = False) -> Classes:
    """The classes of all images of some folders or archives, in order.

    A `dataset.json` counts if it is at the root or in a folder that holds all images. In several archives, each may
    have its own; one without serves from those of the others.

    chosen: whether images were left out by a pattern, so that a `dataset.json` may name more of them.
    """
    read = [place.description() for place in places]
    beside = [name for place, own in zip(places, read, strict=True) for name in place.descriptions if name != own]
    notes = [f"{some(beside, 3)} was not read: it is not above all images"] if beside else []
    try:
        tables = [None if own is None else _table(place, own) for place, own in zip(places, read, strict=True)]
        if any(table is not None for table in tables):
            return _from_tables(places, tables, notes, chosen)
    except DescriptionError as error:
        return Classes(None, DESCRIPTION, f"its {DESCRIPTION} {error}")
    if any(own is not None for own in read):
        notes.append(f'its {DESCRIPTION} has no entry "labels", so the folders are the classes')
    return Classes(classes([name for place in places for name in place.images]), FOLDERS, notes=notes)


def _from_tables(
    places: Sequence[Files], tables: Sequence[Mapping[str, Any] | None], notes: Sequence[str], chosen: bool
) -> Classes:
    others = _joined(table for table in tables if table is not None)
    if not others:
        raise DescriptionError("gives no labels")
    labels, without, seen = [], [], set()
    for place, table in zip(places, tables, strict=True):
        top = max(0, len(parts_of(place.description() or "")) - 1)
        for name in place.images:
            key = "/".join(parts_of(name)[top:])
            seen.add(key)
            given = (others if table is None else table).get(key, _NOTHING)
            label = None if given is _NOTHING else class_of(given)
            labels.append(label or "")
            if label is None:
                without.append(key if given is _NOTHING else f"{key} ({_short(given)})")
    if without:
        raise DescriptionError(f"gives no class to {len(without)} of {len(labels)} images, such as {some(without, 1)}")
    if (absent := [key for key in others if key not in seen]) and not chosen:
        notes = [*notes, f"images that its {DESCRIPTION} names are not there: {len(absent)}, such as {some(absent, 1)}"]
    return Classes(labels, DESCRIPTION, notes=notes)


_NOTHING = object()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _table(place: Files, name: str) -> dict[str, Any] | None:
    """The label of every path; None without an entry "labels", empty where there are none. Raises DescriptionError."""
    try:
        described = json.loads(place.descriptions[name]())
    except OSError as error:
        raise DescriptionError(f"cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no text
        raise DescriptionError(f"is no JSON ({printable(' '.join(str(error).split()))})") from error
    if not isinstance(described, dict) or "labels" not in described:
        return None
    labels = described["labels"]
    pairs = labels.items() if isinstance(labels, dict) else labels
    if pairs is None:
        return {}
    if not isinstance(pairs, Iterable) or isinstance(pairs, str):
        raise DescriptionError(f'has the labels {_short(labels)}; expected {{"labels": [[path, class], ...]}}')
    return _by_path(pairs)


def _by_path(pairs: Iterable[Any]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise DescriptionError(f'has the label {_short(pair)}; expected {{"labels": [[path, class], ...]}}')
        key = "/".join(parts_of(pair[0]))
        if table.setdefault(key, pair[1]) != pair[1]:
            raise DescriptionError(f"gives {printable(key)} two classes")
    return table


def _joined(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All tables as one; of a path that is in several, the first."""
    joined: dict[str, Any] = {}
    for key, label in chain.from_iterable(table.items() for table in tables):
        joined.setdefault(key, label)
    return joined


def doubt(found: Classes) -> str | None:
    """Why folders that were taken for classes may be none, as a clause; None where nothing speaks against them."""
    if found.labels is None or found.origin != FOLDERS:
        return None
    counts = Counter(found.labels)
    names = natural_order(counts)
    splits = [name for name in names if SPLIT.fullmatch(name)]
    # Trains are a class of several well-known sets.
    if splits and (len(names) < 3 or any(name.lower() != "train" for name in splits)):
        return f"{first_five(splits)} {'is a name' if len(splits) == 1 else 'are names'} of parts of a set"
    chunks = [CHUNK.fullmatch(name) for name in names]
    if all(chunk and chunk["word"] for chunk in chunks):
        return f"{first_five(names)} are names of chunks of one list"
    if all(chunk and not chunk["word"] for chunk in chunks) and _even([counts[name] for name in names], names[0]):
        return f"they are numbers, with {counts[names[0]]} images each, as chunks of one list are"
    return None


def _even(counts: Sequence[int], first: str) -> bool:
    """Whether folders in the order of their numbers are equally full; the last of several may hold fewer.

    first: the name of the first. Of two folders the second may hold fewer if their names are padded with zeros.
    """
    may_end = len(counts) > 2 or (len(first) > 1 and first.startswith("0"))
    return len(set(counts[:-1])) == 1 and (counts[-1] == counts[0] or (may_end and counts[-1] < counts[0]))
