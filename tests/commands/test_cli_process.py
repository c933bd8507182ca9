"""The command line as a process: start-up, terminal, signals, pipes, completion. Each start of torch costs seconds."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import write_folder
from tests.helpers.commands import GANMETRICS, PIXELS, cpu_seconds, run_cli

SCRIPT = Path(sys.executable).with_name("ganmetrics")


def test_help_imports_neither_torch_nor_numpy():
    code = (
        "import sys; sys.argv = ['ganmetrics', '--help']\n"
        "from ganmetrics.cli import main\n"
        "try: main()\n"
        "finally: print({'torch', 'numpy', 'PIL', 'scipy'} & set(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "set()\n")
    assert ran.stdout.startswith("Usage: ganmetrics [OPTIONS] COMMAND [ARGS]...\n")


@pytest.mark.parametrize("arguments", [("--help",), ("fid", "--help"), ("weights", "path")])
def test_answers_in_a_fifth_of_a_second(arguments: tuple[str, ...], tmp_path: Path):
    """`weights path` fails here, and that is told as fast."""
    elsewhere = {**os.environ, "GANMETRICS_CACHE": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    assert min(cpu_seconds(*GANMETRICS, *arguments, env=elsewhere) for _ in range(3)) < 0.2


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",), ("weights", "list"), ("fid", "only-one")])
def test_module_and_script_are_the_same(arguments: tuple[str, ...]):
    if not SCRIPT.exists():
        pytest.skip("the package is not installed")
    one, other = (
        subprocess.run([*command, *arguments], capture_output=True, text=True) for command in ([SCRIPT], GANMETRICS)
    )
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str):
    ran = run_cli(env={**os.environ, "_GANMETRICS_COMPLETE": f"{shell}_source"}, check=False)
    assert "_ganmetrics_completion" in ran.stdout
    assert f"_GANMETRICS_COMPLETE={shell}_complete" in ran.stdout
    assert "Usage" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ganmetrics f", ["plain,fid", "plain,fid-infinity"]),
        ("ganmetrics weights ", ["plain,fetch", "plain,list", "plain,path", "plain,verify"]),
        ("ganmetrics fid --on-error s", ["plain,skip"]),
        ("ganmetrics fid --prot", ["plain,--protocol"]),
    ],
)
def test_completions(words: str, expected: list[str]):
    count = str(len(words.split(" ")) - 1)
    asked = {"_GANMETRICS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count}
    assert sorted(run_cli(env={**os.environ, **asked}).stdout.split()) == expected


def test_closed_pipe_and_full_disk():
    """A reader that left (`| head -0`) is nobody to complain to; a full disk is."""
    for arguments in (("--help",), ("weights", "list")):
        read, written = os.pipe()
        os.close(read)
        ran = subprocess.run([*GANMETRICS, *arguments], stdout=written, stderr=subprocess.PIPE, text=True)
        os.close(written)
        assert (ran.returncode, ran.stderr) == (1, "")
        if os.path.exists("/dev/full"):
            with open("/dev/full", "w") as full:
                ran = subprocess.run([*GANMETRICS, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
            assert (ran.returncode, ran.stderr) == (1, "Error: No space left on device\n")


def on_a_terminal(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Exit code, stdout (a pipe) and stderr (a terminal of 80 columns)."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([*GANMETRICS, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 4096):
            seen += part
    except OSError:  # how Linux says that the other end of a terminal is closed
        pass
    os.close(ours)
    out, _ = process.communicate()
    return process.returncode, out, seen.decode()


def test_progress_is_for_terminals(tmp_path: Path, rng: np.random.Generator):
    """The bar names the side, the images and their speed, and is gone at the end; stdout holds the score alone."""
    for name in ("real", "fake"):
        write_folder(tmp_path / name, rng.integers(0, 256, (60, 2, 2, 3), dtype=np.uint8))
    code, out, shown = on_a_terminal("fid", "real", "fake", *PIXELS, cwd=tmp_path)
    assert code == 0
    assert "real:   0%|" in shown
    assert "fake:   0%|" in shown
    assert "/60 [00:00<?, ?img/s]" in shown
    assert shown.endswith(" \r")
    assert "\n" not in shown
    assert on_a_terminal("fid", "real", "fake", *PIXELS, "--quiet", cwd=tmp_path) == (0, out, "")
    piped = run_cli("fid", "real", "fake", *PIXELS, cwd=tmp_path)
    assert (piped.stdout, piped.stderr) == (out, "")


SLOW = """
import pathlib, time
def extractor(images):
    pathlib.Path("begun").touch()
    time.sleep(0.05)
    return images.flatten(1).float()
"""


def listen_to_ctrl_c() -> None:
    """A suite that a shell runs in the background has SIGINT ignored, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_one_line_and_no_file(tmp_path: Path, rng: np.random.Generator):
    """In the middle of 600 files, with decoding threads ahead; it would take half a minute to the end."""
    write_folder(tmp_path / "many", rng.integers(0, 256, (600, 2, 2, 3), dtype=np.uint8))
    (tmp_path / "slow.py").write_text(SLOW)
    asked = ("stats", "many", "-o", "new.npz", "--features", "slow:extractor", "--batch-size", "1")
    process = subprocess.Popen(
        [*GANMETRICS, *asked],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_ctrl_c,
    )
    patience = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and process.poll() is None:
        assert time.monotonic() < patience
        time.sleep(0.02)
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "Interrupted: nothing was written.\n")
    assert process.returncode == 130
    assert time.monotonic() - interrupted < 10
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"many", "slow.py", "begun"}


KILLED_WHILE_WRITING = """
import os, signal, sys
import numpy

def half(file, *_, **__):
    file.write(b"PK half")
    file.flush() if hasattr(file, "flush") else None
    os.kill(os.getpid(), signal.SIGKILL)

numpy.lib.format.write_array = half
from ganmetrics.cli import main
main()
"""


def test_killed_while_writing_leaves_the_old_file(tmp_path: Path):
    """SIGKILL can be answered by nobody: a hidden temporary may stay, but never half a file under the name."""
    (tmp_path / "new.npz").write_bytes(b"the old one")
    asked = ["stats", "digits[0:4]", "-o", "new.npz", "--overwrite", *PIXELS]
    ran = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, *asked], cwd=tmp_path, capture_output=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGKILL, b"", b"")
    assert (tmp_path / "new.npz").read_bytes() == b"the old one"
    (left,) = (path.name for path in tmp_path.iterdir() if path.name != "new.npz")
    assert left.startswith(".new.npz.")
