"""The loop that trains every variant: log, grids, scores, checkpoints, warnings. Variants define only the step."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganmetrics.history import History, Scored
from ganmetrics.printable import printable
from ganmetrics.runtime.guards import restored_random
from reference_models.checkpoints import checkpoint as checkpoints
from reference_models.checkpoints.checkpoint import Checkpoint
from reference_models.checkpoints.run_directory import RunDirectory
from reference_models.errors import CheckpointError, TrainingError
from reference_models.sampling.pictures import diversity, grid, save_picture
from reference_models.sampling.sampler import Sampler
from reference_models.training import alarms
from reference_models.training.best import Best
from reference_models.training.cadence import Cadence
from reference_models.training.data import TrainingData
from reference_models.training.interruption import signals
from reference_models.training.outcome import Outcome
from reference_models.training.progress import Progress
from reference_models.training.scoring import Scorer, make_scorer
from reference_models.training.state import Training, require_finite

GRID = 64  # images of the fixed latents


class Trainer:
    """One run; `run` trains until `total` steps are finished."""

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
        self.best = Best(cadence.scoring, training.variant)
        self.sampler = Sampler(training.variant, lambda ema: training.average.network, training.device)
        self._scorer: Scorer | None = None
        self._history: History | None = None
        self._saved_step, self._first_step = -1, 0
        self._new_warnings: list[str] = []
        self._alarms = alarms.Alarms(self._new_warnings.append)

    def run(self, checkpoint: Checkpoint | None) -> Outcome:
        """Train from the checkpoint, or from the beginning if it is None, to `total` steps."""
        training, batch_size = self.training, self.config["recipe"]["batch_size"]
        if checkpoint is not None:
            self._load(checkpoint)
            if training.step >= self.total:
                return replace(self._outcome(), already_complete=True)
        self._begin()
        batches = self.data.batches(
            training.variant.recipe,
            self.config["seed"],
            training.step,
            self.total,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        with signals() as caught, self._progress(batch_size) as progress:
            if checkpoint is None:
                self._save_last()
            timer_start, timer_step = time.perf_counter(), training.step
            for real in batches:
                measured = training.advance(real)
                self._require_finite(measured, real)
                step = training.step
                if step % self.cadence.log == 0 or step == self.total:
                    rate = (step - timer_step) * batch_size / (time.perf_counter() - timer_start)
                    self._log(measured, rate)
                self._alarms.look("variant", training.variant.warning())
                self._after_step(measured, progress)
                if step % self.cadence.log == 0:
                    timer_start, timer_step = time.perf_counter(), step  # the rate excludes pictures and scores
                progress.advance(step, measured)
                if self._is_stopped(caught):
                    break
            self._save_last()
        if self.cadence.trackers:
            self.accelerator.end_training()
        return self._outcome(caught[0] if caught and training.step < self.total else None)

    def _load(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state()
        try:
            self.training.load_state(state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{printable(str(checkpoint.path))}: does not fit this version of {self.config['variant']}; "
                f"it was made with {', '.join(map(' '.join, checkpoint.manifest['versions'].items()))}"
            ) from error
        self.best.load(state["best"])
        self._alarms.load(state.get("alarmed", False))
        self._saved_step = self._first_step = self.training.step

    def _begin(self) -> None:
        if self.writes:
            with self.folder.writing(self.training.step):
                self.folder.write_config(self.config)
                self.folder.forget_after(self.training.step)
                self._history = History(self.folder.history) if self.cadence.scoring.every else None
        if self.cadence.trackers:
            try:
                self.accelerator.init_trackers("tensorboard")
            except ImportError as error:  # installed, but broken
                raise TrainingError(f"--tracker: {error}; mend that package, or give --tracker none") from error

    def _outcome(self, stopped: signal.Signals | None = None) -> Outcome:
        step = self.training.step
        return Outcome(
            self.folder.path,
            step,
            self.total,
            step - self._first_step,
            stopped,
            self.best.value,
            self.best.name,
            self.writes,
        )

    def _progress(self, batch_size: int) -> Progress:
        return Progress(self.training.step, self.total, batch_size, shown=self.cadence.progress and self.writes)

    def _is_stopped(self, caught: list[signal.Signals]) -> bool:
        if self.accelerator.num_processes == 1:
            return bool(caught)
        if self.training.step % self.cadence.log:
            return False  # asking the other processes takes time
        return bool(self.accelerator.reduce(torch.tensor(len(caught), device=self.training.device)) > 0)

    def _after_step(self, measured: Mapping[str, float], progress: Progress) -> None:
        step, end = self.training.step, self.training.step == self.total
        every = self.cadence.scoring.every
        draws, scores = step % self.cadence.grid == 0 or end, every and (step % every == 0 or end)
        if draws or scores:
            with restored_random():  # so that pictures and scores do not change the training
                if draws:
                    self._grid(progress)
                if scores:
                    self._score(progress)
        self._warn(progress)
        saves = step % self.cadence.checkpoint == 0
        value = measured.get(str(self.best.name)) if saves and self.best.measured else None
        if value is not None and self.best.improves(value):
            self._save(self.folder.best)
        if saves:
            self._save_last()

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

    def _log_event(self, line: Mapping[str, Any]) -> None:
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
        self._log_event({"diversity": round(spread / real, 5) if real else None, "grid": f"samples/{target.name}"})
        self._alarms.look("collapse", alarms.collapse(step, spread, real, GRID, target.name))

    def _warn(self, progress: Progress) -> None:
        for warning in self._new_warnings:
            if self.writes:
                self._log_event({"warning": warning})
                progress.say(f"Warning: step {self.training.step}: {warning}")
        self._new_warnings.clear()

    def _score(self, progress: Progress) -> None:
        better = self._score_and_compare(progress) if self.writes else False
        flag = torch.tensor(float(better), device=self.training.device)
        if self.accelerator.reduce(flag) > 0:  # every process takes part in `_save`
            self._save(self.folder.best)

    def open_scorer(self) -> None:
        """Read the images that scores compare with, if scores are taken. Raises if they cannot be read."""
        if self.writes and self.cadence.scoring.every and self._scorer is None:
            self._scorer = make_scorer(
                self.cadence.scoring,
                self.data.images,
                dataroot=self.training.variant.recipe.dataroot,
                device=self.training.device,
            )

    def _score_and_compare(self, progress: Progress) -> bool:
        """Score, log, print and append to the history; returns whether the score is the best so far."""
        self.open_scorer()
        assert self._scorer is not None  # for the type checker
        assert self._history is not None
        step, started = self.training.step, time.perf_counter()
        scores = self._scorer(self.sampler)
        for score in scores.values():
            self._log_event({"score": json.loads(score.to_json())})
            progress.say(f"step {step}: {score}")
        better = self.best.improves(scores[str(self.best.name)].value)
        with self.folder.writing(step):
            self._history.append(Scored(step, scores, better, round(time.perf_counter() - started, 3)))
        return better

    def _save_last(self) -> None:
        """Write `last/`, unless it already holds this step."""
        if self._saved_step != self.training.step:
            self._saved_step = self.training.step
            self._save(self.folder.last)

    def _save(self, target: Path) -> None:
        """Write a checkpoint; every process must call it, because the state is gathered from all of them."""
        state = {**self.training.state(), "best": self.best.state(), "alarmed": self._alarms.state()}
        if self.writes:
            with self.folder.writing(self.training.step):
                checkpoints.save(target, state, self.config)

    def _require_finite(self, measured: Mapping[str, float], real: torch.Tensor) -> None:
        try:
            require_finite(measured, self.training.step)
        except TrainingError as error:
            raise TrainingError(f"{error}; {self._save_batch(real)}; lower --lr, or look at the batch") from None

    def _save_batch(self, real: torch.Tensor) -> str:
        """Save the batch on which the run stopped, with its latents; returns a text that says where it is."""
        latents = self.training.drawn
        batch = {"real": real, **({} if latents is None else {"latent": latents})}
        target = self.folder.stopped / f"batch-{self.training.step}.safetensors"
        if self.writes:
            with self.folder.writing(self.training.step):
                target.parent.mkdir(exist_ok=True)
                checkpoints.save_tensors(target, batch)
        return (
            f"its batch is kept in {self.folder.name}/stopped/{target.name}, "
            f"and step {self._saved_step} in {self.folder.name}/last"
        )
