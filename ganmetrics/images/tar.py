"""Images in tar archives, alone or as shards of one source: `shards/{000..009}.tar`, `shards/*.tar`, a folder of them.

Written as webdataset writes them (files of one sample share the name up to its first dot, `.cls` is the class) or as
`tar` packs a folder. The headers are read once, so that images are counted, named and reached in any order, by several
threads and processes; webdataset itself reads from front to end, and knows how many there are when it is through.
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
CLASS, CLASS_BYTES = ".cls", 1024
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MANY = 100_000  # archives that one pattern may name


@dataclass(frozen=True, slots=True)
class Member:
    """One image: where its bytes lie, or what is known to be wrong with it."""

    archive: str
    name: str
    start: int = 0
    size: int = 0
    problem: str | None = None


@dataclass
class Contents:
    """What one archive holds: its images in order, and the class of each sample that has one."""

    images: list[Member] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    others: int = 0


def is_pattern(text: str) -> bool:
    """Whether a path that does not exist may stand for several archives."""
    return text.lower().endswith((".tar", *COMPRESSED)) and bool(set("{*?[") & set(text))


def expanded(pattern: str) -> list[str]:
    """The paths that a pattern names: braces in the order written, `*`, `?` and `[...]` sorted.

    Raises SourceError where no file fits, and for a file of a range in braces that is not there.
    """
    paths: list[str] = []
    for path in _braces(os.path.expanduser(pattern)):
        found = sorted(glob.glob(path)) if set("*?[") & set(path) else [path]
        if not found or not os.path.exists(found[0]):
            raise SourceError(f"{printable(path)}: no such file; {printable(pattern)} names it")
        paths += found
    return paths


def _braces(text: str) -> list[str]:
    """`a{0..2}{x,y}` -> `a0x`, `a0y`, `a1x`, ...; numbers keep their leading zeros. Raises SourceError for too many."""
    brace = INNERMOST.search(text)
    if brace is None:
        return [text]
    inside = RANGE.fullmatch(brace[1])
    choices = brace[1].split(",") if inside is None else _numbers(inside[1], inside[2])
    found = [whole for one in choices for whole in _braces(text[: brace.start()] + one + text[brace.end() :])]
    if len(found) > MANY:
        raise SourceError(f"{printable(text)}: names {len(found)} files, more than {MANY}")
    return found


def _numbers(first: str, last: str) -> list[str]:
    width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 1
    low, high = int(first), int(last)
    if abs(high - low) >= MANY:
        raise SourceError(f"{{{first}..{last}}}: names {abs(high - low) + 1} files, more than {MANY}")
    return [f"{number:0{width}}" for number in (range(low, high + 1) if low <= high else range(low, high - 1, -1))]


def contents(path: str) -> Contents:
    """From the headers alone. What is damaged ends the list as an image that cannot be read."""
    found = Contents()
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            where: dict[str, tuple[int, int]] = {}
            while (member := archive.next()) is not None:
                vars(archive)["members"] = []  # it would keep all of them
                _add(found, path, member, where, file)
            _require_end(file, archive.offset)
    except (tarfile.TarError, EOFError, ValueError) as error:
        length = os.path.getsize(path)
        found.images = [member for member in found.images if member.start + member.size <= length]
        found.images.append(Member(path, "", problem=_damaged(str(error), len(found.images))))
    except OSError as error:
        found.images.append(Member(path, "", problem=f"cannot be read: {reason_of(error).lower()}"))
    return found


def _add(
    found: Contents, path: str, member: tarfile.TarInfo, where: dict[str, tuple[int, int]], file: io.IOBase
) -> None:
    if not (member.isreg() or member.islnk() or member.issym()):
        return
    place = where.get(member.linkname) if member.islnk() else (member.offset_data, member.size)
    if place is not None:
        where[member.name] = place
    if is_image(member.name):
        start, size = place or (0, 0)
        found.images.append(Member(path, member.name, start, size, _problem(member, place)))
    elif member.name.endswith(CLASS) and place and place[1] <= CLASS_BYTES:
        here = file.tell()
        file.seek(place[0])
        found.classes[sample(member.name)] = printable(file.read(place[1]).decode(errors="backslashreplace").strip())
        file.seek(here)
    else:
        found.others += 1


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
    """Python's reader takes a damaged header, and the end of a file cut off between two, for the end of the archive."""
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends without the mark of its end")
    if any(block):
        raise tarfile.ReadError(f"no header at byte {end}")
    while block := file.read(1 << 20):
        if any(block):
            raise tarfile.ReadError("more follows behind its end; archives are joined with tar --concatenate")


def _damaged(reason: str, n_images: int) -> str:
    return f"is no tar archive, or a damaged one ({printable(' '.join(reason.split()))}), after {n_images} images"


def sample(name: str) -> str:
    """What files of one sample share: the path up to the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


class TarSource(IndexedSource):
    """Images of archives one after the other, in the order in which they were packed; read in place, never unpacked.

    Raises SourceError where there is none.
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
        """Over the bytes of every image, so that a folder of the same files in the same order has the same."""
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
            found = file.read(member.size)
    except OSError as error:
        raise BadImageError(reason_of(error).lower()) from error
    if len(found) < member.size:
        raise BadImageError("cut off: its tar archive has become shorter since it was opened")
    return found


def _labels(archives: Sequence[Contents]) -> list[str] | None:
    """The `.cls` beside each image, else the folder that it was packed in; None where some image has neither."""
    beside = [
        archive.classes.get(sample(one.name)) if one.name else "" for archive in archives for one in archive.images
    ]
    if all(label is not None for label in beside):
        return [label or "" for label in beside]
    if any(archive.classes for archive in archives):
        return None
    named = [one.name for archive in archives for one in archive.images if one.name]
    folders = iter(classes(named) or ())
    found = [next(folders, None) if one.name else "" for archive in archives for one in archive.images]
    return [label or "" for label in found] if all(label is not None for label in found) else None


def _several(members: Sequence[Member]) -> str | None:
    """A note on samples of several images, such as a photograph and its mask."""
    of_sample = [(member.archive, sample(member.name)) for member in members if member.name]
    extra = len(of_sample) - len(set(of_sample))
    if not extra:
        return None
    return f"{extra} of {len(of_sample)} share a sample with another image (a name up to its first dot): all are taken"
