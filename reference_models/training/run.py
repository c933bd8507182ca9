"""`train`: starts a run or resumes one, and checks first that the request agrees with what the folder holds."""

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
    """Train a variant into a run directory, or resume a run.

    Args:
        variant: a name of `reference_models.VARIANTS`.
        data: any source of images, see data.py; on resuming, None takes the source the run was started with.
        out: folder of the run; it must not hold a run unless `resume` is set.
        recipe: fields of the variant's recipe; missing fields take the default or, on resuming, the run's value.
        max_steps: number of steps in all; None makes `num_epochs` passes over the data.
        seed: of all random numbers; None takes 0 or, on resuming, the run's seed.
        resume: continue from `out/last`. A configuration that differs from the run's is refused, with the differences.
        device: "cpu", "cuda"; None takes a GPU if there is one.
        value_range: (low, high) of floating-point arrays.
        cadence: how often to log, draw, score and save.

    Raises:
        RecipeError, DataError, CheckpointError: if this cannot be trained; nothing is written then.
        TrainingError: if a loss is not finite (the batch is kept in `out/stopped`), or if the disk is full.
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
    variant_class = get_variant(variant).load()
    requested = variant_class.recipe_class.of(recipe)  # first of all, so that invalid values are reported at once
    folder = RunDirectory(out)
    checkpoint = folder.found(resume=resume)
    if checkpoint is not None:
        requested = _resumed_recipe(variant_class.recipe_class, variant, recipe, checkpoint)
        seed = checkpoint.config["seed"] if seed is None else seed
    elif data is None:
        raise RecipeError("--data: expected a dataset, folder, zip or npz to train on, got nothing")
    # before accelerate starts: processes that wait for a failed one would hang
    _require_divisible(requested.batch_size, int(os.environ.get("WORLD_SIZE", "1")))
    tracking = {"log_with": list(cadence.trackers), "project_dir": str(folder.path)} if cadence.trackers else {}
    accelerator = make_accelerator(device, requested.mixed_precision, **tracking)
    _require_divisible(requested.batch_size, accelerator.num_processes)
    training_data = _requested_data(data, checkpoint, requested, value_range, cadence.progress)
    configured_variant = variant_class(replace(requested, nc=training_data.nc))
    config = {
        "variant": variant,
        "recipe": asdict(configured_variant.recipe),
        "data": {**training_data.about, "value_range": list(configured_variant.value_range)},
        "seed": seed or 0,
        "processes": accelerator.num_processes,
    }
    if checkpoint is not None:
        _require_same(folder, checkpoint, config, variant_class.recipe_class)
    per_epoch = training_data.steps_per_epoch(requested.batch_size)
    total = max_steps if max_steps is not None else requested.num_epochs * per_epoch
    training = Training(configured_variant, accelerator, seed=seed or 0, steps_per_epoch=per_epoch)
    trainer = Trainer(folder, training, training_data, config, cadence, total)
    if checkpoint is None or checkpoint.step < total:
        trainer.open_scorer()  # its images may be missing: fail before the folder is made
    folder.make()
    with folder.locked(accelerator.is_main_process):
        if checkpoint is None and accelerator.is_main_process:
            folder.found(resume=False)  # raises if another process has started a run there since
        if checkpoint is not None:
            if accelerator.is_main_process:
                folder.mend()
            accelerator.wait_for_everyone()
            checkpoint = Checkpoint(folder.last)
        return trainer.run(checkpoint)


def _require_divisible(batch_size: int, processes: int) -> None:
    if batch_size % processes:
        raise RecipeError(f"batch_size: expected a multiple of the {processes} processes, got {batch_size}")


def _requested_data(
    data: Any,
    checkpoint: Checkpoint | None,
    recipe: BaseRecipe,
    value_range: tuple[float, float] | None,
    progress: bool,
) -> TrainingData:
    """The requested data or, if none is, the data of the run that is resumed."""
    if data is not None or checkpoint is None:
        return open_data(data, recipe, value_range=value_range, progress=progress)
    try:
        return open_data(checkpoint.config["data"]["name"], recipe, value_range=value_range, progress=progress)
    except SourceError as error:
        raise DataError(f"{error}; the run was started with that name, say with --data where its images are") from error


def _resumed_recipe(
    recipe_class: type[BaseRecipe], variant: str, requested: Mapping[str, Any], checkpoint: Checkpoint
) -> BaseRecipe:
    if checkpoint.config.get("variant") != variant:
        raise CheckpointError(
            f"{printable(str(checkpoint.path.parent))}: holds a run of {checkpoint.config.get('variant')}, "
            f"not of {variant}; name another --out"
        )
    return recipe_class.of({**checkpoint.config["recipe"], **requested})


def _require_same(
    folder: RunDirectory, checkpoint: Checkpoint, config: Mapping[str, Any], recipe_class: type[BaseRecipe]
) -> None:
    """Raises CheckpointError if the configurations differ in anything a step depends on; it lists the differences."""
    free = {name for name, setting in settings(recipe_class).items() if setting.free}

    def essential(full: Mapping[str, Any]) -> dict[str, Any]:
        recipe = {name: value for name, value in full["recipe"].items() if name not in free}
        data = {**full["data"], "sha256": full["data"]["sha256"][:12]}
        for key in ("name", "image_size", "channels"):  # a folder may have been moved; the recipe has the other two
            data.pop(key)
        return {**full, "recipe": recipe, "data": data}

    changes = differences(essential(checkpoint.config), essential(config))
    if changes:
        raise CheckpointError(
            f"{folder.name}: was trained with another configuration ({'; '.join(changes)}); resume with what "
            "it was trained with, or name another --out"
        )
