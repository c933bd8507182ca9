"""Images in tar archives, alone or as shards of one source: `shards/{000..009}.tar`, `shards/*.tar`, a folder of them.

Two layouts: webdataset's (files of one sample share the name up to its first dot, `.cls` is the class), and folders
packed by `tar`. The headers are read once, so that images can be counted, named and read in any order, by several
threads and processes. webdataset itself reads from start to end, and knows the number of images only afterwards.
"""

from __future__ import annotations

import glob
import io
import os
import re
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ganmetrics.errors import ImageError, SourceError
from ganmetrics.images import fingerprint
from ganmetrics.images.base import IndexedSource, Picture
from ganmetrics.images.decode import BadImageError, decode
from ganmetrics.images.files import MAX_MEMBER, climbs, is_image
from ganmetrics.images.names import IMAGE_EXTENSIONS, classes
from ganmetrics.printable import printable, reason_of
from ganmetrics.runtime.device import default_workers

RANGE = re.compile(r"(\d+)\.\.(\d+)", re.ASCII)
INNERMOST = re.compile(r"\{([^{}]*)\}")
CLASS, CLASS_BYTES = ".cls", 1024  # a larger file is not a class
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MANY = 100_000  # largest number of archives that one pattern may name


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
    """Images of one archive in order, the class of each sample that has one, and the number of other files."""

    images: list[Member] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    others: int = 0


def is_pattern(text: str) -> bool:
    """Whether a path that does not exist can be a pattern for several archives."""
    return text.lower().endswith((".tar", *COMPRESSED)) and bool(set("{*?[") & set(text))


def expanded(pattern: str) -> list[str]:
    """The paths that match a pattern: braces in the order written, `*`, `?` and `[...]` sorted.

    Raises SourceError if no file matches, or if a file named by braces does not exist.
    """
    paths: list[str] = []
    for path in _braces(os.path.expanduser(pattern)):
        matches = sorted(glob.glob(path)) if set("*?[") & set(path) else [path]
        if not matches or not os.path.exists(matches[0]):
            raise SourceError(f"{printable(path)}: no such file; {printable(pattern)} names it")
        paths += matches
    return paths


def _braces(text: str) -> list[str]:
    """`a{0..2}{x,y}` -> `a0x`, `a0y`, `a1x`, ...; numbers keep their leading zeros. Raises SourceError for too many."""
    brace = INNERMOST.search(text)
    if brace is None:
        return [text]
    inside = RANGE.fullmatch(brace[1])
    choices = brace[1].split(",") if inside is None else _numbers(inside[1], inside[2])
    paths = [path for choice in choices for path in _braces(text[: brace.start()] + choice + text[brace.end() :])]
    if len(paths) > MANY:
        raise SourceError(f"{printable(text)}: names {len(paths)} files, more than {MANY}")
    return paths


def _numbers(first: str, last: str) -> list[str]:
    width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 1
    low, high = int(first), int(last)
    if abs(high - low) >= MANY:
        raise SourceError(f"{{{first}..{last}}}: names {abs(high - low) + 1} files, more than {MANY}")
    return [f"{number:0{width}}" for number in (range(low, high + 1) if low <= high else range(low, high - 1, -1))]


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


class TarSource(IndexedSource):
    """Images of archives one after the other, in the order in which they were packed; read in place, never unpacked.

    Raises SourceError if there is no image.
    """

    def __init__(self, name: str, paths: Sequence[str]):
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
        super().__init__(name, len(self._members))
        self.labels = _labels(archives)
        self.remark = _several(self._members)
        self.problem = ImageError(printable(damaged[0].archive), damaged[0].problem or "") if damaged else None

    def where(self, index: int) -> str:
        member = self._members[index]
        return printable(f"{member.archive}/{member.name}" if member.name else member.archive)

    def fingerprint(self) -> str:
        """Over the bytes of every image: equal to that of a folder with the same files in the same order."""
        return fingerprint.of_images(fingerprint.marks(self._mark, self._members))

    def _mark(self, member: Member) -> bytes:
        try:
            return fingerprint.mark_of_bytes(_bytes(member))
        except BadImageError as error:
            return fingerprint.mark_of_problem(str(error))

    def read(self, index: int) -> Picture:
        """Decode one image. Raises ImageError with archive, member and reason."""
        try:
            return decode(io.BytesIO(_bytes(self._members[index])), self.jpeg)
        except BadImageError as error:
            raise ImageError(self.where(index), str(error)) from error


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


def _labels(archives: Sequence[Contents]) -> list[str] | None:
    """The `.cls` of each image's sample, else the folder that it was packed in; None if an image has neither."""
    # an entry without a name stands for damage, and needs no class
    from_cls = [
        archive.classes.get(sample(image.name)) if image.name else ""
        for archive in archives
        for image in archive.images
    ]
    if all(label is not None for label in from_cls):
        return [label or "" for label in from_cls]
    if any(archive.classes for archive in archives):
        return None
    names = [image.name for archive in archives for image in archive.images if image.name]
    folders = iter(classes(names) or ())
    labels = [next(folders, None) if image.name else "" for archive in archives for image in archive.images]
    return [label or "" for label in labels] if all(label is not None for label in labels) else None


def _several(members: Sequence[Member]) -> str | None:
    """A note on samples of several images, such as a photograph and its mask; None if there are none."""
    of_sample = [(member.archive, sample(member.name)) for member in members if member.name]
    extra = len(of_sample) - len(set(of_sample))
    if not extra:
        return None
    return f"{extra} of {len(of_sample)} share a sample with another image (a name up to its first dot): all are taken"
