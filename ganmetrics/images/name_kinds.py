"""Kinds of images that lie together and are told apart by their names: `12_real_A.png`, `12_fake_B.png`, ...

As pix2pix and CycleGAN write their results, or a photograph beside its mask. Scored together they give a number, but of
what nobody asked for.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from ganmetrics.printable import printable

SEPARATOR = re.compile(r"[-_. (\[]+|(?<=[0-9])(?=[A-Za-z])")
# Beginnings of names, and folders, that tell kinds; others may be classes.
WORDS = re.compile(
    r"(^|[-_. ])(real|fake|rec|recon\w*|idt|inputs?|outputs?|targets?|gt|pred\w*|masks?|gen\w*|samples?|orig\w*|source)"
    r"($|[-_. ])", re.IGNORECASE
)  # fmt: skip
MOST_KINDS, MOST_WORDS, PROBED, BLOCK, SHARE = 12, 3, 200, 10_000, 0.9
Split = Callable[[str], tuple[str, str]]  # of a file's name: what all kinds share, and a pattern of the kind


def kinds(names: Sequence[str]) -> list[str]:
    """Patterns of the kinds of which nearly all images have one each, `*_fake_B.png`; empty if there are no kinds."""
    probe = [*names[:PROBED], *names[:: max(1, len(names) // PROBED)]]  # kinds lie side by side, or one after another
    splits = *(_by_end(n) for n in range(1, MOST_WORDS + 1)), *(_by_start(n) for n in (1, 2)), _by_folder
    few = [split for split in splits if 2 <= len({split(name)[1] for name in probe}) <= MOST_KINDS]
    # In sorted names all kinds of an image lie side by side, so that the first few thousand tell.
    for part in (names[:BLOCK], names[: len(names) * (len(names) > BLOCK)]):
        if found := max((_complete(part, split) for split in few), key=len, default=[]):
            return found
    return []


def note(names: Sequence[str]) -> list[str]:
    """A note if the names are of several kinds."""
    found = kinds(names)
    if not found:
        return []
    listed = ", ".join(printable(pattern) for pattern in found)
    return [
        f"the names are of {len(found)} kinds in equal numbers ({listed}), and all are taken: "
        "--include or --exclude chooses one kind"
    ]


def _complete(names: Sequence[str], split: Split) -> list[str]:
    """The kinds, if nearly all images belong to a group that has one of each."""
    groups = defaultdict[str, list[str]](list)
    for name in names:
        shared, kind = split(name)
        groups[shared].append(kind)
    alike = Counter(tuple(sorted(group)) for group in groups.values() if len(group) > 1).most_common(1)
    for members, n in alike:
        if n > 1 and len(set(members)) == len(members) <= MOST_KINDS and n * len(members) >= SHARE * len(names):
            return list(members)
    return []


def _by_end(words: int) -> Split:
    """Kinds told by the last words of the name, which begin with a letter, and by the extension."""

    def split(name: str) -> tuple[str, str]:
        stem, extension = _stem(name)
        places = [match for match in SEPARATOR.finditer(stem) if match.start() > stem.rfind("/") + 1]
        if len(places) < words or not stem[places[-words].end() : places[-words].end() + 1].isalpha():
            return stem, f"*{extension}"
        at = places[-words].start()
        return stem[:at], f"*{stem[at:]}{extension}"

    return split


def _by_start(words: int) -> Split:
    """Kinds told by the first words of the name, of which one is a usual word for a kind; the rest has a number."""

    def split(name: str) -> tuple[str, str]:
        stem, extension = _stem(name)
        folder, slash, file = stem.rpartition("/")
        places = list(SEPARATOR.finditer(file))
        if len(places) < words:
            return stem, f"*{extension}"
        start, rest = file[: places[words - 1].end()], file[places[words - 1].end() :]
        if not WORDS.search(start) or not any(map(str.isdigit, rest)):
            return stem, f"*{extension}"
        return f"{folder}{slash}{rest}", f"{start}*{extension}"

    return split


def _by_folder(name: str) -> tuple[str, str]:
    """Kinds told by the folder of the file, if its name has a usual word for a kind."""
    above, _, file = name.rpartition("/")
    outer, _, folder = above.rpartition("/")
    return (f"{outer}/{file}", f"{folder}/") if WORDS.search(folder) else (name, "")


def _stem(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    return stem, dot + extension
