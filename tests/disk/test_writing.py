"""A file is written whole or not at all, and whether it can be is asked before the work."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ganmetrics.disk.checksums import sha256_of
from ganmetrics.disk.writing import require_writable, unfinished, write_whole
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.printable import reason_of

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def test_the_name_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    target.write_bytes(b"before")
    with write_whole(target) as file:
        file.write(b"after")
        assert target.read_bytes() == b"before"
        (temporary,) = [path for path in tmp_path.iterdir() if path != target]
        assert unfinished(temporary) == "scores.json"
    assert target.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    target.write_bytes(b"before")

    def fail() -> None:
        with write_whole(target) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_kill_leaves_a_file_that_can_be_told(tmp_path: Path) -> None:
    code = f"""
import os, signal
from ganmetrics.disk.writing import write_whole
with write_whole({str(tmp_path / "x.png")!r}) as file:
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert unfinished(left) == "x.png"


def test_the_rights_are_those_of_a_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with write_whole(tmp_path / "x") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["x.png", ".x.part", "x.0123456789abcdef.part", ".x.0123.part", ".config.json"])
def test_other_files_are_not_unfinished_ones(name: str) -> None:
    assert unfinished(Path(name)) is None


def test_a_name_of_any_length_that_the_file_system_takes(tmp_path: Path) -> None:
    """The temporary name is longer than the final one: names above 232 bytes failed, after the work."""
    for length in (232, 233, 255):
        name = "n" * (length - 4) + ".png"
        require_writable(tmp_path / name, ".png")
        with write_whole(tmp_path / name) as file:
            file.write(b"x")
        assert (tmp_path / name).read_bytes() == b"x"
    with pytest.raises(OptionError, match=r"its name has more than 255 bytes; choose a shorter one$"):
        require_writable(tmp_path / ("n" * 252 + ".png"), ".png")


def test_an_error_names_the_file_and_not_its_temporary_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, write_whole(tmp_path / "gone" / "x.png"):
        pass
    assert caught.value.filename == str(tmp_path / "gone" / "x.png")


def test_permissions_and_links_of_what_is_replaced(tmp_path: Path) -> None:
    private, linked, link = tmp_path / "private", tmp_path / "linked", tmp_path / "link"
    private.write_bytes(b"before")
    private.chmod(0o600)
    linked.write_bytes(b"before")
    link.symlink_to(linked)
    for path in (private, link):
        with write_whole(path) as file:
            file.write(b"after")
        assert path.read_bytes() == b"after"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert linked.read_bytes() == b"before"
    assert not link.is_symlink()


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(OptionError, match=r"is no regular file; choose another name$"):
        require_writable(tmp_path / "x.png", ".png", overwrite=True)


def test_what_can_be_written(tmp_path: Path) -> None:
    require_writable(tmp_path / "new.PNG", ".png", ".gif")
    (tmp_path / "there.gif").touch()
    require_writable(tmp_path / "there.gif", ".png", ".gif", overwrite=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.jpg", "--save: expected a name that ends in .png, got '{}/x.jpg'"),
        ("folder.png", "--save {}/folder.png: is a folder; choose another name"),
        ("there.png", "--save {}/there.png: exists already; choose another name or give --overwrite"),
        ("no/x.png", "--save {}/no/x.png: its folder does not exist or cannot be written to"),
    ],
)
def test_what_cannot_is_one_line(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "there.png").touch()
    with pytest.raises(OptionError) as caught:
        require_writable(tmp_path / name, ".png", option="--save")
    assert str(caught.value) == message.format(tmp_path)
    with pytest.raises(StatisticsError) as other:
        require_writable(tmp_path / name, ".png", error=StatisticsError)
    assert "--save" not in str(other.value)


@pytest.mark.skipif(IS_ROOT, reason="root may write everywhere")
def test_a_folder_without_the_right(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OptionError, match="its folder does not exist or cannot be written to"):
        require_writable(tmp_path / "x.png", ".png")


def test_checksum_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_reasons_are_on_one_line() -> None:
    assert reason_of(FileNotFoundError(2, "No such file\nor directory", "x")) == "No such file or directory"
    assert reason_of(ValueError("two\nlines")) == "two lines"
    assert reason_of(KeyboardInterrupt()) == "KeyboardInterrupt"
