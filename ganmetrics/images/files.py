"""Images in folders and in lists of paths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import BinaryIO

from ganmetrics.errors import SourceError
from ganmetrics.images.classes import DESCRIPTION, Classes, Files, of_files
from ganmetrics.images.decode import BadImageError
from ganmetrics.images.listing import Entry, Listing, list_images
from ganmetrics.images.name_kinds import note
from ganmetrics.images.names import IMAGE_EXTENSIONS, some
from ganmetrics.images.patterns import Selection
from ganmetrics.images.stored import StoredFiles
from ganmetrics.printable import printable, reason_of


class FileSource(StoredFiles):
    """Image files on disk, in the order of `entries`; in messages `place` comes before their names."""

    def __init__(
        self,
        name: str,
        entries: Sequence[Entry],
        place: str,
        selection: Selection,
        descriptions: Mapping[str, str] | None = None,
    ):
        taken, notes = selection.chosen([entry.name for entry in entries], name)
        super().__init__(name, len(taken))
        self.entries = [entries[index] for index in taken]
        self.place, self.selection = place, selection
        self.remarks = notes if selection else note([entry.name for entry in self.entries])
        self._descriptions = descriptions or {}

    def descriptions(self) -> Mapping[str, str]:
        """The paths of the files `dataset.json`, by their names."""
        return self._descriptions

    def find_classes(self) -> Classes:
        """From a `dataset.json`, else the topmost folders in which the paths differ."""
        readers = {name: partial(_contents, path) for name, path in self.descriptions().items()}
        return of_files([Files([entry.name for entry in self.entries], readers)], chosen=bool(self.selection))

    def where(self, index: int) -> str:
        return printable(self.place + self.entries[index].name)

    def stream(self, index: int) -> BinaryIO:
        """One file. Raises BadImageError or OSError."""
        if problem := self.entries[index].problem:
            raise BadImageError(problem)
        return open(self.entries[index].path, "rb")

    def location(self, index: int) -> tuple[str, int]:
        return self.entries[index].path, 0


class PathList(FileSource):
    """Image files in the order of a list."""

    def descriptions(self) -> Mapping[str, str]:
        """A `dataset.json` in the folder that holds all of them."""
        try:
            name = os.path.join(
                os.path.commonpath([os.path.dirname(entry.name) for entry in self.entries]), DESCRIPTION
            )
        except ValueError:  # some are absolute and some are not
            return {}
        path = os.path.expanduser(name)
        return {name: path} if os.path.isfile(path) else {}


def _contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def listed(path: str) -> Listing:
    """What a folder holds. Raises SourceError if it cannot be listed."""
    try:
        return list_images(path)
    except OSError as error:
        raise SourceError(f"{printable(path)}: the folder cannot be listed: {reason_of(error).lower()}") from error


def open_folder(path: str, listing: Listing, selection: Selection) -> FileSource:
    """Images of a folder and its subfolders. Raises SourceError if there is no image, or none is left."""
    name = printable(path)
    if not listing.entries:
        kinds = " ".join(IMAGE_EXTENSIONS)
        raise SourceError(f"{name}: no image in this folder; searched it for {kinds}; saw {listing.seen()}")
    source = FileSource(name, listing.entries, path.rstrip("/") + "/", selection, listing.descriptions)
    if (left_out := listing.left_out()) and not selection.include:
        source.remarks = [left_out, *source.remarks]
    return source


def open_path_list(paths: Sequence[str | os.PathLike[str]], selection: Selection) -> FileSource:
    """The named files, in the given order. Raises SourceError if one is a folder."""
    entries = [Entry(os.fsdecode(path), os.path.expanduser(os.fsdecode(path))) for path in paths]
    folders = [entry.name for entry in entries if os.path.isdir(entry.path)]
    if folders:
        raise SourceError(f"{some(folders, 1)}: is a folder; a list of paths holds image files, a folder goes alone")
    return PathList(f"list of {len(entries)} paths", entries, "", selection)
