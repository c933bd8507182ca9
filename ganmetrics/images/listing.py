"""The image files of a folder and its subfolders."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

from ganmetrics.images.classes import is_description
from ganmetrics.images.names import IMAGE_EXTENSIONS, extension, is_hidden, some
from ganmetrics.printable import printable, reason_of


@dataclass(frozen=True)
class Entry:
    """One image file: `name` relative to its source, with `/`; `problem` is why it cannot be read, if known."""

    name: str
    path: str
    problem: str | None = None


LOOK_LIKE_IMAGES = {".exr", ".heic", ".heif", ".hdr", ".ico", ".jfif", ".jp2", ".jpe", ".jxl", ".tga",
                    ".npy", ".npz", ".tar", "without extension"}  # fmt: skip


@dataclass
class Listing:
    """What was found in a folder and its subfolders."""

    entries: list[Entry] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    descriptions: dict[str, str] = field(default_factory=dict)  # paths of files `dataset.json`, by name

    def add(self, name: str, path: str, problem: str | None = None) -> None:
        kind = extension(name)
        if kind in IMAGE_EXTENSIONS:
            self.entries.append(Entry(name, path, problem))
        else:
            self.others[kind or "without extension"] += 1
            if kind == ".tar":
                self.archives.append(path)
            if kind in (".npy", ".npz"):
                self.arrays.append(path)
            if is_description(name) and problem is None:
                self.descriptions[name] = path

    def left_out(self) -> str | None:
        """A note on files that look like images but are not read; None if there are none."""
        kinds = {kind: n for kind, n in self.others.items() if kind in LOOK_LIKE_IMAGES}
        listed = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        return f"{listed} left out: not among the extensions that are read" if kinds else None

    def seen(self) -> str:
        most = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))[:5]
        files = [f"{count} {printable(kind)}" for kind, count in most]
        folders = f"subfolders {some(self.folders)}" if self.folders else "no subfolder"
        return f"{', '.join(files) if files else 'no other file'}; {folders}"


def list_images(root: str) -> Listing:
    """Every image file under `root`, sorted by relative path; links to folders are followed, never in a circle.

    Hidden files and folders and `__MACOSX` are skipped. A folder that cannot be listed becomes an entry with a problem,
    so that nothing is skipped silently. Raises OSError if `root` itself cannot be listed.
    """
    listing = Listing()
    pending = [("", root, frozenset[tuple[int, int]]())]
    while pending:
        prefix, folder, ancestors = pending.pop()
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:
                continue
            with os.scandir(folder) as items:
                children = [child for child in items if not is_hidden(child.name)]
        except OSError as error:
            if folder == root:
                raise
            listing.entries.append(Entry(prefix, folder, f"folder cannot be listed: {reason_of(error).lower()}"))
            continue
        for child in children:
            name = prefix + child.name
            if _is_folder(child):
                listing.folders.append(name)
                pending.append((f"{name}/", child.path, ancestors | {identity}))
            else:
                listing.add(name, child.path, _problem(child))
    listing.entries.sort(key=lambda entry: entry.name)
    listing.folders.sort()
    return listing


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:
        return False


def _problem(child: os.DirEntry[str]) -> str | None:
    try:
        if child.is_file():
            return None
        return "broken link" if child.is_symlink() else "not a regular file"
    except OSError as error:
        return reason_of(error).lower()
