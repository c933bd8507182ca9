"""The command line in tests: as processes of their own, and what a command printed."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["GANMETRICS_CACHE_LIMIT"] = "0"  # no test without `statistics_cache` keeps or finds statistics
GANMETRICS = [sys.executable, "-m", "ganmetrics"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone"]
QUICK = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def torchrun(*command: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """The command as two processes of one thread each; `more` are variables of their environment."""
    return subprocess.run(
        [*TORCHRUN, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**QUICK, **more},
        timeout=240,
    )


def run_cli(*arguments: str | Path, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """`python -m ganmetrics ...` as its own process."""
    result = subprocess.run(
        [*GANMETRICS, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    if check and result.returncode != 0:
        raise AssertionError(f"exit {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def cpu_seconds(*command: str | Path, **options: Any) -> float:
    """What a command and its children took of the processors, which other work on the machine hardly changes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*map(str, command)], capture_output=True, timeout=300, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a failure that the user can mend; asserts that there is nothing else."""
        assert (self.code, self.out) == (1, ""), self
        assert self.err.startswith("Error: "), self
        assert self.err.count("\n") == 1, self
        assert self.err.endswith("\n"), self
        return self.err.removeprefix("Error: ").rstrip("\n")

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout; asserts success and a silent stderr."""
        assert (self.code, self.err) == (0, ""), self
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Ran]
PIXELS = ("--features", "pixels")  # the quickest extractor, for where it does not matter which
