"""Images in folders, in zip archives, and in lists of paths."""

from __future__ import annotations

import io
import os
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from ganmetrics.errors import ImageError, SourceError
from ganmetrics.images import fingerprint
from ganmetrics.images.base import IndexedSource, Picture
from ganmetrics.images.decode import BadImageError, decode
from ganmetrics.images.names import IMAGE_EXTENSIONS, classes, extension, is_hidden, some
from ganmetrics.printable import printable, reason_of

MAX_MEMBER = 1 << 30  # bytes that a member of an archive may have, unpacked
ENCRYPTED = 0x1  # flag bit of a zip member


@dataclass(frozen=True)
class Entry:
    """One image file: `name` relative to its source, with `/`; `problem` is why it cannot be read, if known."""

    name: str
    path: str
    problem: str | None = None


LOOK_LIKE_IMAGES = {".exr", ".heic", ".heif", ".hdr", ".ico", ".jfif", ".jp2", ".jpe", ".jxl", ".tga",
                    ".tar", "without extension"}  # fmt: skip


@dataclass
class Listing:
    """What was found in a folder and its subfolders."""

    entries: list[Entry] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)

    def add(self, name: str, path: str, problem: str | None = None) -> None:
        kind = extension(name)
        if kind in IMAGE_EXTENSIONS:
            self.entries.append(Entry(name, path, problem))
        else:
            self.others[kind or "without extension"] += 1
            if kind == ".tar":
                self.archives.append(path)

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


class FileSource(IndexedSource):
    """Image files on disk, in the order of `entries`; in messages `place` comes before their names."""

    def __init__(self, name: str, entries: Sequence[Entry], place: str):
        super().__init__(name, len(entries))
        self.entries = entries
        self.place = place
        self.labels = classes([entry.name for entry in entries])

    def where(self, index: int) -> str:
        return printable(self.place + self.entries[index].name)

    def fingerprint(self) -> str:
        """Over the bytes of every file; for a file that cannot be read, over the reason."""
        return fingerprint.of_images(fingerprint.marks(_mark, self.entries))

    def read(self, index: int) -> Picture:
        """Open and decode one file. Raises ImageError with its path and the reason."""
        entry, where = self.entries[index], self.where(index)
        if entry.problem:
            raise ImageError(where, entry.problem)
        try:
            with open(entry.path, "rb") as stream:
                return decode(stream, self.jpeg)
        except BadImageError as error:
            raise ImageError(where, str(error)) from error
        except OSError as error:
            raise ImageError(where, reason_of(error).lower()) from error


def _mark(entry: Entry) -> bytes:
    try:
        return fingerprint.mark_of_problem(entry.problem) if entry.problem else fingerprint.mark_of_file(entry.path)
    except OSError as error:
        return fingerprint.mark_of_problem(reason_of(error).lower())


def open_folder(path: str, of_archives: Callable[[str, Sequence[str]], IndexedSource]) -> IndexedSource:
    """Images of a folder and its subfolders; if it holds .tar files instead, `of_archives(name, paths)` opens them.

    Raises SourceError if there is no image or the folder cannot be listed.
    """
    name = printable(path)
    try:
        listing = list_images(path)
    except OSError as error:
        raise SourceError(f"{name}: the folder cannot be listed: {reason_of(error).lower()}") from error
    if not listing.entries and listing.archives:
        return of_archives(name, sorted(listing.archives))
    if not listing.entries:
        kinds = " ".join(IMAGE_EXTENSIONS)
        raise SourceError(f"{name}: no image in this folder; searched it for {kinds}; saw {listing.seen()}")
    source = FileSource(name, listing.entries, place=path.rstrip("/") + "/")
    source.remark = listing.left_out()
    return source


def open_path_list(paths: Sequence[str | os.PathLike[str]]) -> FileSource:
    """The named files, in the given order. Raises SourceError if one is a folder."""
    entries = [Entry(os.fsdecode(path), os.path.expanduser(os.fsdecode(path))) for path in paths]
    folders = [entry.name for entry in entries if os.path.isdir(entry.path)]
    if folders:
        raise SourceError(f"{some(folders, 1)}: is a folder; a list of paths holds image files, a folder goes alone")
    return FileSource(f"list of {len(entries)} paths", entries, place="")


class ZipSource(IndexedSource):
    """Images in a zip archive, sorted by name, read in memory and never unpacked to disk."""

    def __init__(self, path: str):
        name = printable(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise SourceError(f"{name}: is no zip archive, or a damaged one ({error}); write it again") from error
        except OSError as error:
            raise SourceError(f"{name}: cannot be opened: {reason_of(error).lower()}") from error
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        self._members = sorted((m for m in members if is_image(m.filename)), key=lambda m: m.filename)
        self._lock = threading.Lock()  # all members are read through one open file
        if not self._members:
            kinds = " ".join(IMAGE_EXTENSIONS)
            raise SourceError(f"{name}: no image in this zip; searched its {len(members)} files for {kinds}")
        super().__init__(name, len(self._members))
        self.labels = classes([member.filename.replace("\\", "/") for member in self._members])

    def where(self, index: int) -> str:
        return f"{self.name}/{printable(self._members[index].filename)}"

    def fingerprint(self) -> str:
        """Over the unpacked bytes of every member: equal to that of a folder with the same files."""
        return fingerprint.of_images(map(self._mark, self._members))

    def _mark(self, member: zipfile.ZipInfo) -> bytes:
        try:
            return fingerprint.mark_of_bytes(self._bytes(member))
        except BadImageError as error:
            return fingerprint.mark_of_problem(str(error))

    def read(self, index: int) -> Picture:
        """Decode one member. Raises ImageError with archive, member and reason."""
        try:
            return decode(io.BytesIO(self._bytes(self._members[index])), self.jpeg)
        except BadImageError as error:
            raise ImageError(self.where(index), str(error)) from error

    def _bytes(self, member: zipfile.ZipInfo) -> bytes:
        if climbs(member.filename):
            raise BadImageError("its path leaves the zip archive (absolute, or with ..): refused")
        if member.flag_bits & ENCRYPTED:
            raise BadImageError("encrypted zip member; unpack the archive with its password first")
        if member.file_size > MAX_MEMBER:
            raise BadImageError(f"unpacks to {member.file_size:,} bytes, more than {MAX_MEMBER:,}: refused")
        try:
            with self._lock:
                return self._zip.read(member)
        except NotImplementedError as error:
            raise BadImageError(f"packed in a way this Python cannot unpack ({error})") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise BadImageError(f"damaged zip member ({printable(' '.join(str(error).split()))})") from error


def is_image(name: str) -> bool:
    """Whether a path in an archive names an image file and no part of it is hidden."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return bool(parts) and extension(parts[-1]) in IMAGE_EXTENSIONS and not any(map(is_hidden, parts))


def climbs(name: str) -> bool:
    """Whether the path of a member leads out of its archive."""
    windows = PureWindowsPath(name)
    return bool(windows.drive or windows.root or PurePosixPath(name).is_absolute() or ".." in windows.parts)
