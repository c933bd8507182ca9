"""How the store of kept statistics bears damage, a full disk, its limit, a kill and processes at once; its listing."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ganmetrics.errors import OptionError
from ganmetrics.measurement import cache_files as entries
from ganmetrics.runtime.memory import size
from tests.helpers.cached import fid, stored, without_origin
from tests.helpers.commands import PIXELS, Cli, run_cli

pytestmark = pytest.mark.usefixtures("statistics_cache")

DAMAGES = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
    "a bit in the header": lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
    "a bit in the numbers": lambda content: content[:-2000] + bytes([content[-2000] ^ 1]) + content[-1999:],
    "a bit in the checksum": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "zeros": lambda content: bytes(len(content)),
    "a pickle": lambda content: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_dropped_and_measured_again(
    damage: str, class_folders: tuple[Path, Path], sides_read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = fid(*class_folders)
    (path,) = stored()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = fid(*class_folders)
    assert without_origin(again) == without_origin(plain)
    assert sides_read == ["real", "fake"] * 2
    said = f"Warning: {path}: an entry of the cache was damaged; it was dropped, and the images are measured again\n"
    assert capsys.readouterr().err == said
    assert fid(*class_folders).protocol["cached"] == ["real"]


def test_an_entry_under_the_name_of_another(class_folders: tuple[Path, Path], sides_read: list[str]) -> None:
    fid(*class_folders)
    fid(class_folders[1], class_folders[0])
    one, other = stored()
    shutil.copy(one, other)
    sides_read.clear()
    fid(*class_folders)
    fid(class_folders[1], class_folders[0])
    assert sorted(sides_read) == ["fake", "fake", "real"]


@pytest.mark.parametrize("place", ["a file", "no disk space", "no home"])
def test_a_cache_that_cannot_be_written(
    place: str, class_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The score is the same, and one line says so, once."""
    plain = fid(*class_folders, cache=False)
    (tmp_path / "file").write_text("")
    if place == "a file":
        monkeypatch.setenv("GANMETRICS_CACHE", str(tmp_path / "file"))
        where, reason = tmp_path / "file/statistics", "Not a directory"
    elif place == "no home":
        monkeypatch.setattr(entries, "cache_dir", lambda: Path("~/.cache/ganmetrics"))
        where, reason = "the home directory", "this user has no home directory; set GANMETRICS_CACHE"
    else:
        monkeypatch.setattr(os, "fsync", full)
        where, reason = tmp_path / ".cache/statistics", "No space left on device"
    for _ in range(2):
        assert without_origin(fid(*class_folders)) == without_origin(plain)
    said = f"Warning: the cache in {where} cannot be used ({reason}); going on without it\n"
    assert capsys.readouterr().err == said
    monkeypatch.undo()
    assert [path for path in tmp_path.rglob("*") if path.suffix in (entries.SUFFIX, entries.UNFINISHED)] == []
    assert not Path("~").exists()


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_least_recently_used_go_first(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five entries of 0.19 MB fit in 1 MB."""
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "1MB")
    sets = [rng.integers(0, 256, (30, 3, 16, 16), dtype=np.uint8) for _ in range(6)]
    paths: list[Path] = []
    for i, images in enumerate(sets[:5]):
        fid(images, sets[0])
        (path,) = set(stored()) - set(paths)
        os.utime(path, (1000 + i, 1000 + i))
        paths.append(path)
    assert fid(sets[0], sets[1]).protocol["cached"] == ["real"]  # used now
    fid(sets[5], sets[0])
    assert sum(path.stat().st_size for path in stored()) <= 10**6
    assert set(paths) - set(stored()) == {paths[1]}


def test_an_entry_that_takes_more_than_its_share(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "1MB")
    images = rng.integers(0, 256, (70, 3, 16, 16), dtype=np.uint8)
    for _ in range(2):
        assert "cached" not in fid(images, images).protocol
    assert stored() == []
    assert re.fullmatch(
        r"Warning: array of shape \(70, 3, 16, 16\): its statistics are not kept: 43\d\.\d kB are more than a quarter "
        r"of the cache's 1\.0 MB; set GANMETRICS_CACHE_LIMIT to 1\.7 MB or more to keep them\n",
        capsys.readouterr().err,
    )


def test_the_limit_as_it_is_written(class_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert entries.limit() == 4 * 10**9
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "0")
    fid(*class_folders)
    assert stored() == []
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "plenty")
    with pytest.raises(OptionError) as caught:
        fid(*class_folders)
    assert str(caught.value) == (
        "GANMETRICS_CACHE_LIMIT: expected at least 1MB, such as 500MB or 4GB, or 0 for no cache, got 'plenty'"
    )


ENTRY = "entries.Array('float64', (3,), [np.arange(3.0)])"
KILLED = f"""
import os, signal, numpy as np
from ganmetrics.measurement import cache_files as entries
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
entries.write("k" * 64, {{}}, {{"rows": {ENTRY}}})
"""


def test_killed_while_writing() -> None:
    """Nothing is there to be read; what was left behind goes with the next entry that comes ten minutes later."""
    assert subprocess.run([sys.executable, "-c", KILLED]).returncode == -9
    (left,) = stored()
    assert left.suffix == entries.UNFINISHED
    assert entries.read("k" * 64) is None
    assert entries.listed() == []
    entries.make_room(10**9)
    assert left.exists()  # it may be of a process that is writing
    os.utime(left, (1, 1))
    entries.make_room(10**9)
    assert stored() == []


SHARED = """
import random, sys, numpy as np
from ganmetrics.measurement import cache_files as entries
found = set()
for turn in range(60):
    i = random.randrange(8)
    entry = entries.read(f"{i}")
    if entry is None:
        rows = np.full(20_000, float(i))
        entries.write(f"{i}", {"i": i}, {"rows": entries.Array("float64", (20_000,), [rows[:9], rows[9:]])})
        found.add("written")
    else:
        with entry.file as file:
            file.seek(entry.arrays["rows"].start)
            assert (np.fromfile(file, float, 20_000) == i).all() and entry.about == {"i": i}
            found.add("read")
    if sys.argv[1] == "clears" and turn % 20 == 19:
        entries.clear()
print(sorted(found))
"""


def test_processes_that_write_read_and_clear_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight entries of 160 kB, of which 1 MB holds six: they are written, read, evicted and cleared."""
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "1MB")
    asked = ("writes", "writes", "clears")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for what in asked
    ]
    ended = [process.communicate(timeout=60) for process in running]
    assert [err for _, err in ended] == ["", "", ""]
    assert [out for out, _ in ended] == ["['read', 'written']\n"] * 3
    assert not list(entries.folder().glob(f"*{entries.UNFINISHED}"))


def test_two_measurements_at_once(class_folders: tuple[Path, Path]) -> None:
    command = [
        sys.executable,
        "-m",
        "ganmetrics",
        "fid",
        *map(str, class_folders),
        *PIXELS,
        "--device",
        "cpu",
        "--json",
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in running]
    assert [err for _, err in ended] == ["", ""]
    values = {json.loads(out)["value"] for out, _ in ended}
    assert len(stored()) == 1
    third = fid(*class_folders)
    assert (values, third.protocol["cached"]) == ({third.value}, ["real"])


def test_on_the_command_line(cli: Cli, class_folders: tuple[Path, Path]) -> None:
    """`cli` empties the caches."""
    assert cli("cache", "list").out == f"0 entries, 0 B of at most 4.0 GB, in {entries.folder()}\n"
    measure = ("fid", *class_folders, *PIXELS, "--device", "cpu", "--json")
    assert "cached" not in cli(*measure).scores[0]["protocol"]
    assert cli(*measure).scores[0]["protocol"]["cached"] == ["real"]
    assert "cached" not in cli(*measure, "--no-cache").scores[0]["protocol"]
    os.utime(*stored(), (0, 0))
    head, row, total = cli("cache", "list").out.splitlines()
    assert head.split("  ")[0] == "source"
    assert row.startswith(f"{class_folders[0]}  pixels    moments      70  ")
    assert [head.index(name) for name in ("features", "kept")] == [row.index(name) for name in ("pixels", "moments")]
    assert total.startswith("1 entry, ")
    assert cli("cache", "clear", "--older-than", "40000").out.startswith("removed 0 entries, 0 B, from ")
    (path,) = stored()
    expected = f"removed 1 entry, {size(path.stat().st_size)}, from {entries.folder()}\n"
    assert cli("cache", "clear", "--older-than", "30").out == expected
    assert stored() == []


def test_a_listing_says_what_cannot_be_read(cli: Cli, class_folders: tuple[Path, Path]) -> None:
    fid(*class_folders)
    stored()[0].write_bytes(b"x" * 1234)
    row = cli("cache", "list").out.splitlines()[1]
    assert row.split("  ")[0] == "cannot be read"
    assert "1.2 kB" in row


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['ganmetrics', 'cache', 'list']\n"
        "from ganmetrics.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "False\n")


def test_help_names_the_option() -> None:
    assert "--cache / --no-cache" in run_cli("fid", "--help").stdout
