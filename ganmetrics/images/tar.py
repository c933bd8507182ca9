"""Images in tar archives, alone or as shards of one source: `shards/{000..009}.tar`, `shards/*.tar`, a folder of them.

Two layouts: webdataset's (files of one sample share the name up to its first dot, `.cls` is the class), and folders
packed by `tar`. The headers are read once, so that images can be counted, named and read in any order, by several
threads and processes. webdataset itself reads from start to end, and knows the number of images only afterwards.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import BinaryIO

from ganmetrics.errors import ImageError, SourceError
from ganmetrics.images.classes import Classes, Files, is_description, of_files
from ganmetrics.images.decode import BadImageError
from ganmetrics.images.name_kinds import note
from ganmetrics.images.names import IMAGE_EXTENSIONS, climbs, is_image
from ganmetrics.images.patterns import Selection
from ganmetrics.images.stored import StoredFiles
from ganmetrics.images.zips import MAX_MEMBER
from ganmetrics.printable import printable, reason_of
from ganmetrics.runtime.device import default_workers

CLASS, CLASS_BYTES = ".cls", 1024  # a larger file is not a class
CLASSES = ".cls files"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True, slots=True)
class Member:
    """One image: the place of its bytes in the archive, or why it cannot be read."""

    archive: str
    name: str
    start: int = 0
    size: int = 0
    problem: str | None = None


@dataclass
class Contents:
    """Images of one archive in order, the class of each sample that has one, and the number of other files.

    `descriptions` are its files `dataset.json`, by name.
    """

    images: list[Member] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, Member] = field(default_factory=dict)
    others: int = 0


def contents(path: str) -> Contents:
    """What an archive holds, by its headers alone; damage becomes a last image that cannot be read."""
    listing = Contents()
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            places: dict[str, tuple[int, int]] = {}
            while (member := archive.next()) is not None:
                vars(archive)["members"] = []  # tarfile would keep all headers in memory
                _add(listing, path, member, places, file)
            _require_end(file, archive.offset)
    except (tarfile.TarError, EOFError, ValueError) as error:
        length = os.path.getsize(path)
        listing.images = [member for member in listing.images if member.start + member.size <= length]
        listing.images.append(Member(path, "", problem=_damaged(str(error), len(listing.images))))
    except OSError as error:
        listing.images.append(Member(path, "", problem=f"cannot be read: {reason_of(error).lower()}"))
    return listing


def _add(
    listing: Contents, path: str, member: tarfile.TarInfo, places: dict[str, tuple[int, int]], file: io.IOBase
) -> None:
    if not (member.isreg() or member.islnk() or member.issym()):
        return
    place = places.get(member.linkname) if member.islnk() else (member.offset_data, member.size)
    if place is not None:
        places[member.name] = place
    if is_image(member.name):
        start, size = place or (0, 0)
        listing.images.append(Member(path, member.name, start, size, _problem(member, place)))
    elif member.name.endswith(CLASS) and place and place[1] <= CLASS_BYTES:
        position = file.tell()
        file.seek(place[0])
        listing.classes[sample(member.name)] = printable(file.read(place[1]).decode(errors="backslashreplace").strip())
        file.seek(position)
    else:
        listing.others += 1
        if is_description(member.name) and place:
            listing.descriptions[member.name] = Member(path, member.name, *place, _problem(member, place))


def _problem(member: tarfile.TarInfo, place: tuple[int, int] | None) -> str | None:
    if climbs(member.name):
        return "its path leaves the tar archive (absolute, or with ..): refused"
    if member.issym() or place is None:
        return f"a link inside a tar archive, to {printable(member.linkname)}; pack it with tar --dereference"
    if member.issparse():
        return "a sparse file inside a tar archive; pack it without --sparse"
    if place[1] > MAX_MEMBER:
        return f"holds {place[1]:,} bytes, more than {MAX_MEMBER:,}: refused"
    return None


def _require_end(file: io.IOBase, end: int) -> None:
    """Raises ReadError if there is no end mark at `end`: tarfile stops without error at damage and at a missing end."""
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("its end-of-archive mark is missing")
    if any(block):
        raise tarfile.ReadError(f"no header at byte {end}")
    while block := file.read(1 << 20):
        if any(block):
            raise tarfile.ReadError("data follows its end-of-archive mark; join archives with tar --concatenate")


def _damaged(reason: str, n_images: int) -> str:
    return f"is no tar archive, or a damaged one ({printable(' '.join(reason.split()))}), after {n_images} images"


def sample(name: str) -> str:
    """The name that the files of one sample share: the path up to the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


class TarSource(StoredFiles):
    """Images of archives one after the other, in the order in which they were packed; read in place, never unpacked.

    Raises SourceError if there is no image.
    """

    def __init__(self, name: str, paths: Sequence[str], selection: Selection):
        with ThreadPoolExecutor(default_workers(), thread_name_prefix="ganmetrics-tar") as pool:
            archives = list(pool.map(contents, paths))
        self._members = [member for archive in archives for member in archive.images]
        damaged = [member for member in self._members if not member.name]
        if len(damaged) == len(self._members):
            others, kinds = sum(archive.others for archive in archives), " ".join(IMAGE_EXTENSIONS)
            reason = f"no image in {_counted(paths)}; searched {others} files for {kinds}"
            raise SourceError(
                f"{printable(damaged[0].archive)}: {damaged[0].problem}" if damaged else f"{name}: {reason}"
            )
        names = [member.name for member in self._members]
        taken, notes = selection.chosen(names, name)
        self._archives = _only(archives, {id(self._members[index]) for index in taken})
        self._members = [self._members[index] for index in taken]
        super().__init__(name, len(self._members))
        self.selection = selection
        self.remarks = [*notes, *(([] if selection else note(names)) or _several(self._members))]
        self.problem = ImageError(printable(damaged[0].archive), damaged[0].problem or "") if damaged else None

    def find_classes(self) -> Classes:
        """The `.cls` of each image's sample; without any, a `dataset.json`, else the folder that it was packed in."""
        if any(archive.classes for archive in self._archives):
            return _from_cls(self._archives)
        # an entry without a name stands for damage, and needs no class
        images = [[image.name for image in archive.images if image.name] for archive in self._archives]
        places = [
            Files(names, {name: partial(_text, member) for name, member in archive.descriptions.items()})
            for names, archive in zip(images, self._archives, strict=True)
        ]
        found = of_files(places, chosen=bool(self.selection))
        labels = iter(found.labels or ())
        return (
            found
            if found.labels is None
            else replace(found, labels=[next(labels) if member.name else "" for member in self._members])
        )

    def where(self, index: int) -> str:
        member = self._members[index]
        return printable(f"{member.archive}/{member.name}" if member.name else member.archive)

    def stream(self, index: int) -> BinaryIO:
        """One member. Raises BadImageError."""
        return io.BytesIO(_bytes(self._members[index]))

    def location(self, index: int) -> tuple[str, int]:
        return self._members[index].archive, self._members[index].start


def _counted(paths: Sequence[str]) -> str:
    return "this tar archive" if len(paths) == 1 else f"these {len(paths)} tar archives"


def _bytes(member: Member) -> bytes:
    if member.problem:
        raise BadImageError(member.problem)
    try:
        with open(member.archive, "rb", buffering=0) as file:
            file.seek(member.start)
            content = file.read(member.size)
    except OSError as error:
        raise BadImageError(reason_of(error).lower()) from error
    if len(content) < member.size:
        raise BadImageError("cut off: its tar archive has become shorter since it was opened")
    return content


def _text(member: Member) -> bytes:
    try:
        return _bytes(member)
    except BadImageError as error:
        raise OSError(str(error)) from error


def _from_cls(archives: Sequence[Contents]) -> Classes:
    """The `.cls` of each image's sample; an entry without a name stands for damage, and needs no class."""
    labels = [
        archive.classes.get(sample(image.name)) if image.name else ""
        for archive in archives
        for image in archive.images
    ]
    without = labels.count(None)
    if without:
        return Classes(None, CLASSES, f"{without} of its {len(labels)} images have no .cls file beside them")
    return Classes([label or "" for label in labels], CLASSES)


def _only(archives: Sequence[Contents], taken: set[int]) -> list[Contents]:
    """The archives with those of their images whose `id` is in `taken`."""
    return [replace(archive, images=[image for image in archive.images if id(image) in taken]) for archive in archives]


def _several(members: Sequence[Member]) -> list[str]:
    """A note on samples of several images, such as a photograph and its mask."""
    of_sample = [(member.archive, sample(member.name)) for member in members if member.name]
    extra = len(of_sample) - len(set(of_sample))
    if not extra:
        return []
    return [
        f"{extra} of {len(of_sample)} share a sample with another image (a name up to its first dot): all are taken"
    ]
