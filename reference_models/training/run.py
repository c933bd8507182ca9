"""`train`: a run from what is asked for and what is there already, and whether the two agree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ganmetrics.errors import SourceError
from ganmetrics.printable import printable
from ganmetrics.runtime.guards import ordinary_modes, restored_random
from ganmetrics.validation import whole
from reference_models.checkpoints.checkpoint import Checkpoint, differences
from reference_models.checkpoints.run_directory import RunDirectory
from reference_models.errors import CheckpointError, DataError, RecipeError
from reference_models.index import get_variant
from reference_models.recipe import SEEDS, BaseRecipe, settings
from reference_models.training.cadence import Cadence
from reference_models.training.data import TrainingData, open_data
from reference_models.training.loop import Trainer
from reference_models.training.outcome import Outcome
from reference_models.training.state import Training, make_accelerator


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
    max_steps = None if max_steps is None else whole("--max-steps", max_steps, 0)
    seed = None if seed is None else whole("--seed", seed, 0, SEEDS)
    with ordinary_modes(), restored_random():
        return _train(variant, data, out, recipe or {}, max_steps, seed, resume, device, value_range, cadence)


def _train(
    variant: str,
    data: Any,
    out: str | os.PathLike[str],
    recipe: Mapping[str, Any],
    max_steps: int | None,
    seed: int | None,
    resume: bool,
    device: str | None,
    value_range: tuple[float, float] | None,
    cadence: Cadence,
) -> Outcome:
    entry = get_variant(variant).load()
    asked = entry.recipe_class.of(recipe)  # wrong values are told before anything else
    folder = RunDirectory(out)
    found = folder.found(resume=resume)
    if found is not None:
        asked = _resumed_recipe(entry.recipe_class, variant, recipe, found)
        seed = found.config["seed"] if seed is None else seed
    elif data is None:
        raise RecipeError("--data: expected a dataset, folder, zip or npz to train on, got nothing")
    _require_shares(asked.batch_size, int(os.environ.get("WORLD_SIZE", "1")))  # before processes wait for each other
    tracking = {"log_with": list(cadence.trackers), "project_dir": str(folder.path)} if cadence.trackers else {}
    accelerator = make_accelerator(device, asked.mixed_precision, **tracking)
    _require_shares(asked.batch_size, accelerator.num_processes)
    images = _opened(data, found, asked, value_range, cadence.progress)
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
    trainer = Trainer(folder, training, images, config, cadence, total)
    if found is None or found.step < total:
        trainer.open_scorer()  # what it reads may not be there
    folder.make()
    with folder.locked(accelerator.is_main_process):
        if found is None and accelerator.is_main_process:
            folder.found(resume=False)  # another process may have trained there in the meantime
        if found is not None:
            if accelerator.is_main_process:
                folder.mend()
            accelerator.wait_for_everyone()
            found = Checkpoint(folder.last)
        return trainer.run(found)


def _require_shares(batch_size: int, processes: int) -> None:
    if batch_size % processes:
        raise RecipeError(f"batch_size: expected a multiple of the {processes} processes, got {batch_size}")


def _opened(
    data: Any, found: Checkpoint | None, recipe: BaseRecipe, value_range: tuple[float, float] | None, progress: bool
) -> TrainingData:
    """The data that is named, or else the run's."""
    if data is not None or found is None:
        return open_data(data, recipe, value_range=value_range, progress=progress)
    try:
        return open_data(found.config["data"]["name"], recipe, value_range=value_range, progress=progress)
    except SourceError as error:
        raise DataError(f"{error}; the run was started with that name, say with --data where its images are") from error


def _resumed_recipe(kind: type[BaseRecipe], variant: str, given: Mapping[str, Any], found: Checkpoint) -> BaseRecipe:
    if found.config.get("variant") != variant:
        raise CheckpointError(
            f"{printable(str(found.path.parent))}: holds a run of {found.config.get('variant')}, not of {variant}; "
            "name another --out"
        )
    return kind.of({**found.config["recipe"], **given})


def _require_same(folder: RunDirectory, found: Checkpoint, config: Mapping[str, Any], kind: type[BaseRecipe]) -> None:
    """Raises CheckpointError that shows every difference a step could depend on."""
    free = {name for name, setting in settings(kind).items() if setting.free}

    def essential(of: Mapping[str, Any]) -> dict[str, Any]:
        recipe = {name: value for name, value in of["recipe"].items() if name not in free}
        data = {**of["data"], "sha256": of["data"]["sha256"][:12]}
        for told in ("name", "image_size", "channels"):  # a folder may have been moved; the recipe has the others
            data.pop(told)
        return {**of, "recipe": recipe, "data": data}

    found_differences = differences(essential(found.config), essential(config))
    if found_differences:
        raise CheckpointError(
            f"{folder.name}: was trained with another configuration ({'; '.join(found_differences)}); resume with what "
            "it was trained with, or name another --out"
        )
