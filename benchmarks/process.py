"""Shared by all benchmarks: run a fresh process and measure it; record what the figures depend on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Ran(NamedTuple):
    """Result of a finished process.

    Attributes:
        code: exit code.
        out, err: its standard output and standard error.
        wall: seconds from start to exit.
        peak: largest resident size in MB, of the process or of one of its workers if that is larger.
        cpu: seconds of processor time, workers included.
    """

    code: int
    out: str
    err: str
    wall: float
    peak: float
    cpu: float


def run(argv: Sequence[str], *, threads: int | None = None) -> Ran:
    """Run one process to its end; `threads` limits OpenMP, MKL and OpenBLAS."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    env = {**os.environ, "PYTHONPATH": str(ROOT), **({name: str(threads) for name in names} if threads else {})}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(argv, stdout=out, stderr=err, cwd=ROOT, env=env)
        try:
            _, status, usage = os.wait4(process.pid, 0)  # the peak of this child alone; getrusage covers all children
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB
        return Ran(process.returncode, out.read(), err.read(), wall, peak, usage.ru_utime + usage.ru_stime)


def circumstances(packages: Sequence[str]) -> dict[str, Any]:
    """Machine, versions of the packages, commit and date; no host names or paths, because results are published."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu_model(), "cores": cores(), "system": f"{platform.system()} {platform.machine()}"},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "commit": _commit(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def cores() -> int | None:
    """Cores that this process may use; None if unknown."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
