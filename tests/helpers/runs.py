"""Helpers of the training tests: tiny runs of every variant, their bits, and cheap processes of the command line."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from reference_models import Cadence
from reference_models.index import ENTRIES, Entry
from reference_models.losses import LOSSES
from reference_models.recipe import Recipe, setting
from reference_models.training.outcome import Outcome
from reference_models.training.run import train
from reference_models.variant import Variant

# A recipe on 8-px digits for every variant, with steps of milliseconds. The tests fail if a variant has none.
TINY: dict[str, dict[str, Any]] = {
    "gan": {"image_size": 8, "nz": 8, "batch_size": 16},
    "dcgan": {"image_size": 8, "nz": 8, "batch_size": 16, "ngf": 4, "ndf": 4},
    "lsgan": {"image_size": 8, "nz": 8, "batch_size": 16, "ngf": 4, "ndf": 4},
    "wngan": {"image_size": 8, "nz": 8, "batch_size": 16, "ngf": 4, "ndf": 4},
    "began": {"image_size": 8, "nz": 8, "batch_size": 16, "nf": 4},
}
OFTEN = Cadence(log=1, grid=6, checkpoint=4, progress=False)
NEVER = Cadence(log=10**6, grid=10**6, checkpoint=10**6, progress=False)


def run(variant: str, out: Path, steps: int, **options: Any) -> Outcome:
    """Train a variant on digits with its recipe from TINY."""
    assert variant in TINY or variant not in {entry.name for entry in ENTRIES}, (
        f"{variant}: add a recipe that trains in a second to TINY"
    )
    recipe = {**TINY.get(variant, {}), **options.pop("recipe", {})}
    if options.get("resume"):
        recipe = {}
    arguments = {"data": None if options.get("resume") else "digits", "cadence": OFTEN, "device": "cpu", **options}
    return train(variant, out=out, recipe=recipe, max_steps=steps, **arguments)


def weights(run: Path, which: str = "last") -> dict[str, bytes]:
    """Every file of a checkpoint that later steps or samples depend on."""
    files = [path for path in (run / which).iterdir() if path.name != "manifest.json"]
    assert {"generator.safetensors", "generator_ema.safetensors", "training.json"} <= {path.name for path in files}
    return {path.name: path.read_bytes() for path in files}


def log(run: Path) -> list[dict[str, Any]]:
    """The log without its speed, which differs between equal runs."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


def bits(run: Path) -> dict[str, Any]:
    """Everything that must be equal in two equal runs: weights, states, log and pictures."""
    return {**weights(run), "log": log(run), **{p.name: p.read_bytes() for p in (run / "samples").iterdir()}}


def options(variant: str) -> list[str]:
    """`train VARIANT ...` with its recipe from TINY, as arguments of the command line."""
    flags = {name.replace("_", "-"): value for name, value in TINY[variant].items()}
    return ["train", variant, *(f"--{name}={value}" for name, value in flags.items()), "--device=cpu", "--tracker=none"]


# ----------------------------------------------------------------------------------- processes that cost only a fork

SERVER = """
import json, os, sys
import accelerate, sklearn.datasets, torch, torchvision, ganmetrics
import reference_models.cli, reference_models.training.scoring, reference_models.training.run
import reference_models.variants.gan
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    os.setsid()
    for handle, path in ((0, os.devnull), (1, request["log"] + ".out"), (2, request["log"] + ".err")):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), handle)
    os.environ.update(request["env"])
    sys.argv = ["reference-models", *request["arguments"]]
    try:
        exec(request["code"], {})
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback
        traceback.print_exc()
        code = 99
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)
"""


class Processes:
    """Separate processes of the command line, forked from a server process that has only imported torch."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def _ask(self, **request: Any) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, *arguments: str | Path, code: str = "", env: Mapping[str, str] | None = None) -> Process:
        """Start the command line with these arguments, or `code`."""
        self.count += 1
        logs = self.folder / str(self.count)
        code = code or "from reference_models.cli import main; main()"
        pid = self._ask(arguments=[str(a) for a in arguments], log=str(logs), code=code, env=dict(env or {}))
        return Process(self, pid, logs)

    def __call__(self, *arguments: str | Path, **options: Any) -> tuple[int, str, str]:
        """Run to the end; returns exit code, stdout and stderr."""
        return self.start(*arguments, **options).wait()

    def close(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(timeout=20)


@dataclass
class Process:
    """One started process, in its own process group."""

    processes: Processes
    pid: int
    logs: Path

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.killpg(self.pid, number)

    def wait(self) -> tuple[int, str, str]:
        code = self.processes._ask(wait=self.pid)
        return code, *(Path(f"{self.logs}.{end}").read_text() for end in ("out", "err"))


@contextmanager
def processes(folder: Path) -> Iterator[Processes]:
    server = Processes(folder)
    try:
        yield server
    finally:
        server.close()


# --------------------------------------------------------------------- a variant that uses every part of the interface


@dataclass(frozen=True)
class OddRecipe(Recipe):
    """The recipe of `Odd`."""

    batch_size: int = setting(16, "Images a step.", least=2)
    image_size: int = setting(8, "Height and width.", least=1)
    nz: int = setting(4, "Size of the latent.", least=1)
    fails_at: int = setting(10**9, "Step whose loss is NaN.", least=0)


class OddGenerator(nn.Sequential):
    """Uses torch's global random numbers in training and, like StyleGAN's noise, in sampling."""

    def __init__(self, nz: int, shape: tuple[int, int, int]):
        super().__init__(nn.Linear(nz, 32), nn.Dropout(0.3), nn.Linear(32, 64), nn.Tanh(), nn.Unflatten(1, shape))
        self.latent_shape = (nz,)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) + 0.01 * torch.randn(1)


class Odd(Variant):
    """Uses dropout, the random numbers of three libraries, a schedule, a pool of images and a running value."""

    recipe_class = OddRecipe

    def __init__(self, recipe: Recipe):
        super().__init__(recipe)
        self.pool: list[Tensor] = []
        self.running = 0.0

    def networks(self) -> dict[str, nn.Module]:
        discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.3), nn.Linear(32, 1), nn.Flatten(0))
        return {"generator": OddGenerator(self.recipe.nz, self.image_shape), "discriminator": discriminator}

    def schedules(self, optimizers: Mapping[str, Optimizer], steps_per_epoch: int) -> dict[str, LRScheduler]:
        return {name: StepLR(optimizer, step_size=2, gamma=0.7) for name, optimizer in optimizers.items()}

    def step(self, training: Any, real: Tensor) -> dict[str, Tensor]:
        loss = LOSSES["least-squares"]
        G, D = training.networks["generator"], training.networks["discriminator"]
        real = real.flip(-1) if random.random() < 0.5 else real
        real = real + float(np.random.standard_normal()) / 10
        fake = G(training.latent(len(real)))
        self.pool = [*self.pool, fake.detach()][-3:]
        old = self.pool[random.randrange(len(self.pool))]
        loss_d = loss.discriminator(D(real), D(old)) * (1 + self.running)
        training.update("discriminator", loss_d)
        loss_g = loss.generator(D(fake))
        if training.step == self.recipe.fails_at:
            loss_g = loss_g * torch.nan
        training.update("generator", loss_g)
        self.running = 0.9 * self.running + 0.1 * float(loss_d.detach())
        return {"Loss_D": loss_d.detach(), "Loss_G": loss_g.detach()}

    def state(self) -> dict[str, Any]:
        return {"pool": self.pool, "running": self.running}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.pool, self.running = state["pool"], state["running"]


def entry(name: str, variant: type[Variant]) -> Entry:
    """An entry of the index for a variant class that a test defines."""

    class Local(Entry):
        def load(self) -> type[Variant]:
            return variant

    return Local(name, variant.__name__, "made by a test", "[none](https://example.org)")
