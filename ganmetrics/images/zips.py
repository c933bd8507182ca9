"""Images in zip archives."""

from __future__ import annotations

import io
import threading
import zipfile
import zlib
from functools import partial
from typing import BinaryIO

from ganmetrics.errors import SourceError
from ganmetrics.images.classes import Classes, Files, is_description, of_files
from ganmetrics.images.decode import BadImageError
from ganmetrics.images.name_kinds import note
from ganmetrics.images.names import IMAGE_EXTENSIONS, climbs, is_image, parts_of
from ganmetrics.images.patterns import Selection
from ganmetrics.images.stored import StoredFiles
from ganmetrics.printable import printable, reason_of

MAX_MEMBER = 1 << 30  # bytes that a member of an archive may have, unpacked
ENCRYPTED = 0x1  # flag bit of a zip member


class ZipSource(StoredFiles):
    """Images in a zip archive, sorted by name, read in memory and never unpacked to disk."""

    def __init__(self, path: str, selection: Selection):
        name = printable(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise SourceError(f"{name}: is no zip archive, or a damaged one ({error}); write it again") from error
        except OSError as error:
            raise SourceError(f"{name}: cannot be opened: {reason_of(error).lower()}") from error
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        images = sorted((m for m in members if is_image(m.filename)), key=lambda m: m.filename)
        self._lock = threading.Lock()  # all members are read through one open file
        if not images:
            kinds = " ".join(IMAGE_EXTENSIONS)
            raise SourceError(f"{name}: no image in this zip; searched its {len(members)} files for {kinds}")
        names = [member.filename for member in images]
        taken, notes = selection.chosen(names, name)
        self.remarks = notes if selection else note(names)
        self._members, self.selection = [images[index] for index in taken], selection
        super().__init__(name, len(self._members))
        self._path = path
        self._descriptions = {member.filename: member for member in members if is_description(member.filename)}

    def find_classes(self) -> Classes:
        """From a `dataset.json`, else the topmost folders in which the paths differ."""
        readers = {name: partial(self._text, member) for name, member in self._descriptions.items()}
        names = ["/".join(parts_of(member.filename)) for member in self._members]
        return of_files([Files(names, readers)], chosen=bool(self.selection))

    def where(self, index: int) -> str:
        return f"{self.name}/{printable(self._members[index].filename)}"

    def stream(self, index: int) -> BinaryIO:
        """One member, unpacked. Raises BadImageError."""
        return io.BytesIO(self._bytes(self._members[index]))

    def location(self, index: int) -> tuple[str, int]:
        return self._path, self._members[index].header_offset

    def _text(self, member: zipfile.ZipInfo) -> bytes:
        try:
            return self._bytes(member)
        except BadImageError as error:
            raise OSError(str(error)) from error

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
