"""The one loop that trains every variant: log, grids, scores, checkpoints, alarms. The step is the variant's."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ganmetrics.text import printable
from reference_models import checkpoint as checkpoints
from reference_models.checkpoint import Checkpoint, differences
from reference_models.data import TrainingData, open_data
from reference_models.errors import CheckpointError, RecipeError, TrainingError
from reference_models.index import get_variant
from reference_models.pictures import diversity, grid, save_picture
from reference_models.progress import Progress
from reference_models.recipe import Recipe, settings
from reference_models.run_directory import RunDirectory
from reference_models.sampler import Sampler
from reference_models.scoring import Scorer, Scoring
from reference_models.training import Training, make_accelerator, require_finite, unchanged_random_state

GRID = 64  # images of the fixed latents
COLLAPSED = 0.05  # of the real images' diversity
SETTLED = 100  # steps before which an untrained generator may look collapsed


@dataclass(frozen=True)
class Cadence:
    """How often things are done, in steps; none of it changes a bit of what is trained.

    Attributes:
        log: a line of measured values.
        grid: a picture of the fixed latents, and its diversity.
        checkpoint: `last/` is replaced; it always is at the end.
        scoring: when and how to score.
        trackers: of accelerate, such as "tensorboard".
        progress: a bar on a terminal, else a line every half minute.
    """

    log: int = 10
    grid: int = 500
    checkpoint: int = 500
    scoring: Scoring = field(default_factory=Scoring)
    trackers: tuple[str, ...] = ()
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("log", "grid", "checkpoint"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise RecipeError(f"--{name}-every: expected a whole number of at least 1, came {value!r}")


@dataclass(frozen=True)
class Outcome:
    """How `train` ended.

    Attributes:
        path: the run directory.
        step, total: how many steps of how many have been made.
        made: how many of them by this call; 0 says that the run was finished already.
        stopped: the signal that ended it early.
        best: the best score, where scores were taken.
    """

    path: Path
    step: int
    total: int
    made: int
    stopped: signal.Signals | None = None
    best: float | None = None


def train(
    variant: str,
    data: Any,
    out: str | os.PathLike[str],
    *,
    recipe: Mapping[str, Any] | None = None,
    max_steps: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    device: str | None = None,
    value_range: tuple[float, float] | None = None,
    cadence: Cadence | None = None,
) -> Outcome:
    """Train a variant into a run directory, or go on with one.

    Args:
        variant: a name of `reference_models.VARIANTS`.
        data: any source of images, see data.py; on resuming None takes the one the run was started with.
        out: folder for the run, new unless it is resumed.
        recipe: fields of the variant's recipe; those left out keep their published value, or the run's on resuming.
        max_steps: how many steps in all; None makes `num_epochs` passes over the data.
        seed: of everything drawn, 0 unless the run has another.
        resume: go on from `out/last`. The same configuration is asked for; a difference is shown and refused.
        device: "cpu", "cuda"; None takes a GPU where there is one.
        value_range: of floating-point arrays.
        cadence: how often to log, draw, score and save.

    Raises:
        RecipeError, DataError, CheckpointError: before anything is written, for what cannot be trained.
        TrainingError: for a loss that is not finite, with the batch kept in `out/stopped`, and for a full disk.
    """
    cadence = cadence or Cadence()
    if max_steps is not None and (not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 0):
        raise RecipeError(f"--max-steps: expected a whole number of at least 0, came {max_steps!r}")
    if seed is not None and (not isinstance(seed, int) or not 0 <= seed < 2**31):
        raise RecipeError(f"--seed: expected a whole number from 0 to below 2^31, came {seed!r}")
    entry = get_variant(variant).load()
    asked = entry.recipe_class.of(recipe or {})  # wrong values are told before anything else
    folder = RunDirectory(out)
    found = folder.found(resume=resume)
    if found is not None:
        asked = _resumed_recipe(entry.recipe_class, variant, recipe or {}, found)
        seed = found.config["seed"] if seed is None else seed
        data = found.config["data"]["name"] if data is None else data
    elif data is None:
        raise RecipeError("--data: expected a dataset, folder, zip or npz to train on, came nothing")
    tracking = {"log_with": list(cadence.trackers), "project_dir": str(folder.path)} if cadence.trackers else {}
    accelerator = make_accelerator(device, asked.mixed_precision, **tracking)
    if asked.batch_size % accelerator.num_processes:
        raise RecipeError(
            f"batch_size: expected a multiple of the {accelerator.num_processes} processes, came {asked.batch_size}"
        )
    images = open_data(data, asked, value_range=value_range, progress=cadence.progress)
    configured = entry(replace(asked, nc=images.nc))
    config = {
        "variant": variant,
        "recipe": asdict(configured.recipe),
        "data": {**images.about, "value_range": list(configured.value_range)},
        "seed": seed or 0,
        "processes": accelerator.num_processes,
    }
    if found is not None:
        _require_same(folder, found, config, entry.recipe_class)
    per_epoch = images.steps_per_epoch(asked.batch_size)
    total = max_steps if max_steps is not None else asked.num_epochs * per_epoch
    training = Training(configured, accelerator, seed=seed or 0, steps_per_epoch=per_epoch)
    folder.make()
    with folder.locked(accelerator.is_main_process):
        if found is None and accelerator.is_main_process:
            folder.found(resume=False)  # another process may have trained there in the meantime
        trainer = Trainer(folder, training, images, config, cadence, total)
        if found is not None:
            if accelerator.is_main_process:
                folder.mend()
            accelerator.wait_for_everyone()
            found = Checkpoint(folder.last)
        return trainer.run(found)


def _resumed_recipe(kind: type[Recipe], variant: str, given: Mapping[str, Any], found: Checkpoint) -> Recipe:
    if found.config.get("variant") != variant:
        raise CheckpointError(
            f"{printable(str(found.path.parent))}: holds a run of {found.config.get('variant')}, not of {variant}; "
            "name another --out"
        )
    return kind.of({**found.config["recipe"], **given})


def _require_same(folder: RunDirectory, found: Checkpoint, config: Mapping[str, Any], kind: type[Recipe]) -> None:
    """Raises CheckpointError that shows every difference a step could depend on."""
    free = {name for name, setting in settings(kind).items() if setting.free}

    def essential(of: Mapping[str, Any]) -> dict[str, Any]:
        recipe = {name: value for name, value in of["recipe"].items() if name not in free}
        return {**of, "recipe": recipe, "data": {**of["data"], "name": None}}  # a folder may have been moved

    found_differences = differences(essential(found.config), essential(config))
    if found_differences:
        raise CheckpointError(
            f"{folder.name}: was trained with another configuration ({'; '.join(found_differences)}); resume with what "
            "it was trained with, or name another --out"
        )


class Trainer:
    """One run: `run` makes the steps that are missing."""

    def __init__(
        self,
        folder: RunDirectory,
        training: Training,
        data: TrainingData,
        config: Mapping[str, Any],
        cadence: Cadence,
        total: int,
    ):
        self.folder, self.training, self.data = folder, training, data
        self.config, self.cadence, self.total = config, cadence, total
        self.accelerator = training.accelerator
        self.writes = self.accelerator.is_main_process
        self.best: float | None = None
        self.sampler = Sampler(training.variant, lambda ema: training.average.network, training.device)
        self._scorer: Scorer | None = None
        self._saved, self._first = -1, 0
        self._alarmed = False

    def run(self, found: Checkpoint | None) -> Outcome:
        """Train from the checkpoint, or from the beginning, to `total` steps."""
        training, batch_size = self.training, self.config["recipe"]["batch_size"]
        if found is not None:
            self._load(found)
            if training.step >= self.total:
                return self._outcome()
        self._begin()
        batches = self.data.batches(
            training.variant.recipe,
            self.config["seed"],
            training.step,
            self.total,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        with self._signals() as caught, self._progress(batch_size) as progress:
            self._checkpoints(force=found is None)
            since, at = time.perf_counter(), training.step
            for real in batches:
                measured = training.advance(real)
                self._require_finite(measured, real)
                step = training.step
                if step % self.cadence.log == 0 or step == self.total:
                    rate = (step - at) * batch_size / (time.perf_counter() - since)
                    self._log(measured, rate)
                self._every_so_often(progress)
                if step % self.cadence.log == 0:
                    since, at = time.perf_counter(), step  # pictures, scores and checkpoints are not training
                progress.advance(step, measured)
                if self._is_stopped(caught):
                    break
            self._checkpoints(force=True)
        if self.cadence.trackers:
            self.accelerator.end_training()
        return self._outcome(caught[0] if caught and training.step < self.total else None)

    def _load(self, found: Checkpoint) -> None:
        state = found.state()
        try:
            self.training.load_state(state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{printable(str(found.path))}: does not fit this version of {self.config['variant']}; "
                f"it was made with {', '.join(map(' '.join, found.manifest['versions'].items()))}"
            ) from error
        self.best, self._alarmed = state["best"], state.get("alarmed", False)
        self._saved = self._first = self.training.step

    def _begin(self) -> None:
        if self.writes:
            with self.folder.writing(self.training.step):
                self.folder.write_config(self.config)
                self.folder.forget_after(self.training.step)
        if self.cadence.trackers:
            self.accelerator.init_trackers("tensorboard")

    def _outcome(self, stopped: signal.Signals | None = None) -> Outcome:
        step = self.training.step
        return Outcome(self.folder.path, step, self.total, step - self._first, stopped, self.best)

    def _progress(self, batch_size: int) -> Progress:
        return Progress(self.training.step, self.total, batch_size, shown=self.cadence.progress and self.writes)

    @contextmanager
    def _signals(self) -> Iterator[list[signal.Signals]]:
        """Ctrl-C and SIGTERM end the run after the step; a second one ends it at once."""
        caught: list[signal.Signals] = []
        if threading.current_thread() is not threading.main_thread():
            yield caught
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def note(number: int, frame: Any) -> None:
            caught.append(signal.Signals(number))
            for each, handler in before.items():
                signal.signal(each, handler)

        try:
            for number in before:
                signal.signal(number, note)
            yield caught
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _is_stopped(self, caught: list[signal.Signals]) -> bool:
        if self.accelerator.num_processes == 1:
            return bool(caught)
        if self.training.step % self.cadence.log:
            return False  # asking the others takes time
        return bool(self.accelerator.reduce(torch.tensor(len(caught), device=self.training.device)) > 0)

    def _every_so_often(self, progress: Progress) -> None:
        step, end = self.training.step, self.training.step == self.total
        every = self.cadence.scoring.every
        draws, scores = step % self.cadence.grid == 0 or end, every and (step % every == 0 or end)
        if draws or scores:
            with unchanged_random_state(self.training.device):
                if draws:
                    self._grid(progress)
                if scores:
                    self._score(progress)
        self._checkpoints(force=step % self.cadence.checkpoint == 0)

    def _log(self, measured: Mapping[str, float], rate: float) -> None:
        step = self.training.step
        values = {**measured, "images_per_second": round(rate, 1)}
        if self.writes:
            with self.folder.writing(step):
                self.folder.log({"step": step, "epoch": round(step / self._per_epoch, 4), **values})
        if self.cadence.trackers:
            self.accelerator.log(values, step=step)

    @property
    def _per_epoch(self) -> int:
        return self.data.steps_per_epoch(self.config["recipe"]["batch_size"])

    def _note(self, line: Mapping[str, Any]) -> None:
        with self.folder.writing(self.training.step):
            self.folder.log({"step": self.training.step, **line})

    def _grid(self, progress: Progress) -> None:
        if not self.writes:
            return
        step = self.training.step
        images = self.sampler.sample(GRID)
        n_real = min(GRID, len(self.data.images))
        spread, real = diversity(images), diversity(self.data.images.__getitems__(list(range(n_real))))
        target = self.folder.picture(step)
        with self.folder.writing(step):
            save_picture(grid(images), target, {"step": step, "variant": self.config["variant"]})
        self._note({"diversity": round(spread / real, 5) if real else None, "grid": f"samples/{target.name}"})
        collapsed = step >= SETTLED and spread < COLLAPSED * real
        if collapsed and not self._alarmed:
            warning = (
                f"collapse: the {GRID} images of the fixed latents differ {spread / real:.1%} as much as real ones; "
                f"look at {target.name}, and go back to an earlier checkpoint or lower the learning rate"
            )
            self._note({"warning": warning})
            progress.say(f"Warning: step {step}: {warning}")
        self._alarmed = collapsed

    def _score(self, progress: Progress) -> None:
        better = self._is_best(progress) if self.writes else False
        flag = torch.tensor(float(better), device=self.training.device)
        if self.accelerator.reduce(flag) > 0:  # the state is gathered from all processes
            self._write(self.folder.best)

    def _is_best(self, progress: Progress) -> bool:
        if self._scorer is None:
            self._scorer = Scorer(
                self.cadence.scoring,
                self.data.images,
                dataroot=self.training.variant.recipe.dataroot,
                device=self.training.device,
            )
        score = self._scorer(self.sampler)
        self._note({"score": json.loads(score.to_json())})
        progress.say(f"step {self.training.step}: {score}")
        if not self._scorer.is_better(score.value, self.best):
            return False
        self.best = score.value
        return True

    def _checkpoints(self, *, force: bool) -> None:
        if force and self._saved != self.training.step:
            self._save()

    def _save(self) -> None:
        self._saved = self.training.step
        self._write(self.folder.last)

    def _write(self, target: Path) -> None:
        state = {**self.training.state(), "best": self.best, "alarmed": self._alarmed}
        if self.writes:
            with self.folder.writing(self.training.step):
                checkpoints.save(target, state, self.config)

    def _require_finite(self, measured: Mapping[str, float], real: torch.Tensor) -> None:
        try:
            require_finite(measured, self.training.step)
        except TrainingError as error:
            raise TrainingError(f"{error}; {self._keep(real)}; lower --lr, or look at the batch") from None

    def _keep(self, real: torch.Tensor) -> str:
        """Keep the batch of a run that stops, and what was drawn for it."""
        drawn = self.training.drawn
        batch = {"real": real, **({} if drawn is None else {"latent": drawn})}
        target = self.folder.stopped / f"batch-{self.training.step}.safetensors"
        if self.writes:
            with self.folder.writing(self.training.step):
                target.parent.mkdir(exist_ok=True)
                checkpoints.save_tensors(target, batch)
        return (
            f"its batch is kept in {self.folder.name}/stopped/{target.name}, "
            f"and step {self._saved} in {self.folder.name}/last"
        )
