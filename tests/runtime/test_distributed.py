"""Several processes give the score of one, and the failure of one ends all."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist

from ganmetrics.errors import ImageError, ProcessError
from ganmetrics.measurement.shared_reading import borders
from ganmetrics.runtime import distributed, launcher
from tests.conftest import write_folder
from tests.helpers import together
from tests.helpers.commands import QUICK, TORCHRUN, Cli, run_cli, torchrun


def said(err: str) -> list[str]:
    """What comes from us: the launcher adds a report of its own."""
    return [line for line in err.splitlines() if line.startswith(("Error:", "Warning:", "Skipped:"))]


def alike(one: Any, other: Any, path: str = "") -> None:
    """Numbers to 1e-10, everything else exactly."""
    if isinstance(one, dict):
        assert list(one) == list(other), path
        for key in one:
            alike(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, rel=1e-10, abs=1e-13), path
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for i, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            alike(mine, theirs, f"{path}/{i}")
    else:
        assert one == other, path


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    images = {name: rng.integers(0, 256, (n, 2, 2, 3), dtype=np.uint8) for name, n in (("real", 70), ("fake", 60))}
    for name, pixels in images.items():
        write_folder(tmp_path / name, pixels)
        np.save(tmp_path / f"{name}.npy", pixels)
    for shard in range(4):
        with tarfile.open(tmp_path / f"real-{shard}.tar", "w") as archive:
            for path in sorted((tmp_path / "real").iterdir())[shard::4]:
                archive.add(path, path.name)
    shutil.make_archive(str(tmp_path / "fake"), "zip", tmp_path / "fake")
    np.save(tmp_path / "many.npy", rng.integers(0, 256, (1500, 2, 2, 3), dtype=np.uint8))
    for name, extension in (("classes", "png"), ("others", "jpg")):
        for kind in "abc":
            write_folder(tmp_path / name / kind, rng.integers(0, 256, (8, 2, 2, 3), dtype=np.uint8), extension)
    for broken in ("others/a/00003.jpg", "others/c/00002.jpg"):
        (tmp_path / broken).write_bytes(b"no image")
    write_folder(tmp_path / "bad", images["real"])
    for i in (60, 65):
        (tmp_path / f"bad/{i:05}.png").write_bytes(b"no image")
    write_folder(tmp_path / "sizes", images["real"][:40])
    write_folder(tmp_path / "sizes/z", rng.integers(0, 256, (40, 3, 4), dtype=np.uint8))  # as many values, two shapes
    return tmp_path


def test_borders_are_between_batches():
    assert borders(100, 8, 2) == [0, 48, 100]
    assert borders(100, 8, 3) == [0, 32, 64, 100]
    assert borders(5, 8, 3) == [0, 0, 0, 5]
    assert borders(17, 1, 4) == [0, 4, 8, 12, 17]


def test_a_process_without_a_sign_of_life_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch):
    """Its machine lost its power, say: there is no launcher that could notice."""
    for name, seconds in (("DEAD_AFTER", 0.4), ("HEARTBEAT", 0.05), ("SHUTDOWN_WAIT", 0.1)):
        monkeypatch.setattr(distributed, name, seconds)
    first = distributed.Processes(dist.HashStore(), None, rank=0, size=2)
    started = time.monotonic()
    with pytest.raises(ProcessError, match="process 1 of 2 has given no sign of life for 0 s: it died, or its"), first:
        first.agree(lambda: None)
    assert 0.4 < time.monotonic() - started < 5


def test_the_first_error_in_order_is_raised_in_all(monkeypatch: pytest.MonkeyPatch):
    """Whichever was first in time; and who is in the middle of something else is told to stop."""
    monkeypatch.setattr(distributed.Processes, "_uses", itertools.repeat(0))
    store = dist.HashStore()

    def part(rank: int) -> None:
        with distributed.Processes(store, None, rank, size=3) as group:
            group.agree(lambda: rank)
            group.agree(lambda: bad(rank) if rank else until_told(group))

    def bad(rank: int) -> None:
        time.sleep(0.2 if rank == 1 else 0)
        raise ImageError(f"{rank}.png", "not an image")

    def until_told(group: distributed.Alone) -> None:
        while True:
            time.sleep(0.01)
            group.glance()

    with ThreadPoolExecutor(3) as pool:
        ended = [pool.submit(part, rank) for rank in range(3)]
    assert [str(one.exception()) for one in ended] == ["1.png: not an image"] * 3


@pytest.mark.parametrize("rank", ["0", "1"])
def test_commands_that_are_not_shared_run_in_the_first_process(rank: str, tmp_path: Path):
    of_launcher = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    ran = run_cli("weights", "list", env={**QUICK, **of_launcher, "GANMETRICS_CACHE": str(tmp_path)})
    assert bool(ran.stdout) == (rank == "0")


def test_threads_fill_the_cores(monkeypatch: pytest.MonkeyPatch):
    """OMP_NUM_THREADS=1 that torchrun set by itself is nobody's wish; its own environment tells."""
    for name, value in {"LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("ganmetrics.runtime.launcher._is_default_of_torchrun", lambda: True)
    assert launcher.threads(16) == 4
    monkeypatch.undo()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert launcher.threads(16) is None
    code = "from ganmetrics.runtime.launcher import _is_default_of_torchrun as asked; print(asked())"
    launch = f"os.environ['OMP_NUM_THREADS'] = '1'; subprocess.run([sys.executable, '-c', {code!r}])"
    parent = f"import os, subprocess, sys; {launch}"
    plain = {key: value for key, value in QUICK.items() if key != "OMP_NUM_THREADS"} | {"TORCHELASTIC_RUN_ID": "none"}
    for wished, expected in (({}, "True"), ({"OMP_NUM_THREADS": "1"}, "False")):
        ran = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, env={**plain, **wished})
        assert ran.stdout.strip() == expected, ran.stderr


def test_library_calls_and_statistics(folder: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli):
    """One launch: the caller's own group, every kind of source, errors of one process, the cache, `stats`."""
    caches = {"GANMETRICS_CACHE_LIMIT": "100MB", "GANMETRICS_CACHE": str(folder / "cache")}
    statistics = ["stats", str(folder / "many.npy"), "--features=pixels", "--batch-size=32"]
    ran = torchrun("-m", "tests.helpers.together", folder, *statistics, "-o", folder / "two.npz", "--quiet", **caches)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{folder}/two.npz: 1500 images, 12 dimensions, pixels\n"
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))

    for name, value in {**caches, "GANMETRICS_CACHE": str(folder / "other")}.items():
        monkeypatch.setenv(name, value)
    alone = {name: together.outcome(call) for name, call in together.calls(folder, 0).items()}
    process = "own, said to be shared"
    for name, expected in alone.items():
        if name not in (process, "not an error of the user", "own"):
            alike(expected, first[name], name)
            alike(expected, second[name], name)
    assert alone["bad in the second part"][1].startswith(f"{folder}/bad/00060.png: not an image")
    assert "got 2x2 RGB and 4x3 grey" in alone["other sizes in the second part"][1]
    assert [len(entry["skipped"]) for entry in first["labels"].values()] == [2]
    assert first["from the cache"]["fid"]["protocol"]["cached"] == ["real"]
    alike(alone["own"], first["own"])
    assert first["own"]["fid"]["value"] != second["own"]["fid"]["value"]
    for found in (first, second):
        kind, text = found[process]
        assert kind == "ProcessError"
        assert "process 0 sees 20 images there, and process 1 21" in text
    assert first["not an error of the user"] == [
        "ProcessError", "process 1 of 2 failed: RuntimeError: somebody's own code"
    ]  # fmt: skip
    assert second["not an error of the user"] == ["RuntimeError", "somebody's own code"]

    assert cli(*statistics, "-o", folder / "one.npz").code == 0
    one, two = (np.load(folder / f"{name}.npz") for name in ("one", "two"))
    for key in ("mu", "sigma"):
        np.testing.assert_allclose(one[key], two[key], rtol=1e-10, atol=1e-13)


def test_command_line(folder: Path):
    """A network, several extractors, an image left out, order (IS), labels: the JSON of one process.

    None is left out of the first part: its batches would not hold the images that they hold in one process, and a
    network rounds by the batch.
    """
    os.unlink(folder / "others/a/00003.jpg")
    metrics = "fid,is,kid@pixels,prdc@pixels,class-fid@pixels"
    asked = ["evaluate", folder / "classes", folder / "others", "-m", metrics, "--features=efficientnet-lite0",
             "--splits=3", "--shuffle", "--on-error=skip", "--batch-size=4", "--json"]  # fmt: skip
    ran = torchrun("-m", "ganmetrics", *asked)
    assert ran.returncode == 0, ran.stderr
    assert said(ran.stderr) == []
    alone = run_cli(*asked, env=QUICK)  # of as many threads: a network rounds by that too
    expected, found = ([json.loads(line) for line in out.splitlines()] for out in (alone.stdout, ran.stdout))
    assert len(found) == 8
    for score in (*expected, *found):
        score["seconds"] = None
    alike(expected, found)


def test_an_unreadable_image_in_the_second_part_is_told_once(folder: Path, cli: Cli):
    asked = ["fid", folder / "real", folder / "bad", "--features=pixels", "--batch-size=8"]
    ran = torchrun("-m", "ganmetrics", *asked)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said(ran.stderr) == [f"Error: {cli(*asked).error}"]


def test_a_killed_process_ends_the_run(folder: Path):
    """SIGKILL while both extract: one line, no score, and long before any timeout."""
    asked = ["fid", folder / "real", folder / "many.npy", "--features=tests.helpers.slowly:extractor", "--batch-size=1"]
    command = [*TORCHRUN, "-m", "ganmetrics", *map(str, asked)]
    environment = {**QUICK, "SLOWLY": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        there = folder / "rank1"
        limit = time.monotonic() + 60
        while not (there.exists() and there.read_text()) and time.monotonic() < limit:
            time.sleep(0.05)
        os.kill(int(there.read_text()), signal.SIGKILL)
        started = time.monotonic()
        out, err = run.communicate(timeout=60)
    assert time.monotonic() - started < 20
    assert run.returncode != 0
    assert out == ""
    assert said(err) == [
        "Error: ended by the launcher: another of the 2 processes died, or the job was cancelled"
    ]  # fmt: skip
