"""`reference-models train VARIANT`: one command per variant, whose options are its recipe's fields."""

from __future__ import annotations

from typing import Any

import click

from ganmetrics.commands.console import CONTEXT, Commands, fail
from ganmetrics.commands.options import with_options
from ganmetrics.errors import GanMetricsError
from ganmetrics.metrics.index import OF_IMAGES
from ganmetrics.printable import printable
from reference_models.index import VARIANTS, get_variant
from reference_models.recipe import Setting, settings

SCORED = [name for name, entry in OF_IMAGES.items() if not entry.labelled]  # samples have no classes yet
RUNNING = [
    click.option("--data", metavar="NAME",
                 help="digits, mnist, fashion-mnist, cifar10 (mnist:train[0:50000]), a folder, zip or npz."),
    click.option("--out", required=True, metavar="DIR", help="Folder of the run."),
    click.option("--resume", is_flag=True, help="Continue the run in --out, with its configuration."),
    click.option("--max-steps", type=click.IntRange(0), help="Steps in all.  [default: --num-epochs passes]"),
    click.option("--seed", type=int, help="Seed of all random numbers, 0 to below 2^31.  [default: 0]"),
    click.option("--device", metavar="NAME", help="auto, cpu, cuda.  [default: auto]"),
    click.option("--value-range", type=float, nargs=2, metavar="LO HI", help="Range of float images in an npz or npy."),
    click.option("--log-every", type=click.IntRange(1), default=10, show_default=True,
                 help="Steps between two log lines."),
    click.option("--grid-every", type=click.IntRange(1), default=500, show_default=True,
                 help="Steps between two grids of samples."),
    click.option("--checkpoint-every", type=click.IntRange(1), default=500, show_default=True,
                 help="Steps between two checkpoints."),
    click.option("--score-every", type=click.IntRange(0), default=0, show_default=True,
                 help="Steps between two scores, the best of which is kept in best/; 0 never scores."),
    click.option("--score-metric", multiple=True, default=("fid",), show_default=True,
                 help=f"{', '.join(SCORED)} or reconstruction; repeat it for several, the first chooses best/."),
    click.option("--score-features", default="efficientnet-lite0", show_default=True, help="The extractor."),
    click.option("--score-method", default="auto", show_default=True,
                 help="How reconstruction searches latents; xiang-li is the published one."),
    click.option("--score-samples", type=click.IntRange(2), default=1000, show_default=True,
                 help="Number of generated images, and at most of real ones."),
    click.option("--score-real", metavar="SOURCE",
                 help="What to compare with; for reconstruction held-out images.  [default: the training images]"),
    click.option("--tracker", "trackers", multiple=True, default=("tensorboard",), show_default=True,
                 help="Tracker of accelerate; none turns tracking off."),
    click.option("--quiet", is_flag=True, help="Print no progress, scores or warnings."),
]  # fmt: skip
METAVARS = {int: "N", float: "X", str: "NAME"}


class Variants(Commands):
    """One command per variant, whose options are its recipe's fields."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VARIANTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return train_command(cmd_name) if cmd_name in VARIANTS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in VARIANTS:
            raise click.UsageError(
                f"unknown variant {printable(args[0])!r}; expected one of {', '.join(VARIANTS)}", ctx
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Variants, subcommand_metavar="VARIANT [OPTIONS]", short_help="Train a variant, or resume a run")
def train() -> None:
    """Train a variant: `train dcgan --data digits --out run`; `train dcgan --help` lists its recipe."""


def recipe_option(name: str, setting: Setting, default: Any) -> Any:
    """A field of a recipe as an option; its default is None, so that a resumed run keeps its own value."""
    flag = name.replace("_", "-")
    suffix = "" if default is None else f"  [default: {str(default).lower() if setting.kind is bool else default}]"
    text = setting.help + suffix
    if setting.kind is bool:
        return click.option(f"--{flag}/--no-{flag}", name, default=None, help=text)
    kind = click.Choice(setting.choices) if setting.choices else setting.kind
    spellings = [f"--{flag}", "--data-root"] if name == "dataroot" else [f"--{flag}"]
    return click.option(
        *spellings,
        name,
        type=kind,
        default=None,
        metavar=None if setting.choices else METAVARS[setting.kind],
        help=text,
    )


def train_command(name: str) -> click.Command:
    """The command that trains one variant."""
    entry = get_variant(name)
    recipe_class = entry.load().recipe_class
    recipe = settings(recipe_class)
    defaults = recipe_class()

    @with_options(
        [*RUNNING, *(recipe_option(field, about, getattr(defaults, field)) for field, about in recipe.items())]
    )
    def command(data: str | None, out: str, resume: bool, quiet: bool, **options: Any) -> int:
        from reference_models.training.cadence import Cadence
        from reference_models.training.run import train
        from reference_models.training.scoring import Scoring

        fields = {field: options.pop(field) for field in recipe}
        requested = {field: value for field, value in fields.items() if value is not None}
        scoring = {key: options.pop(f"score_{key}") for key in ("every", "metric", "features", "method", "real")}
        cadence = Cadence(
            **{key: options.pop(f"{key}_every") for key in ("log", "grid", "checkpoint")},
            scoring=Scoring(n_samples=options.pop("score_samples"), **scoring),
            trackers=tuple(tracker for tracker in options.pop("trackers") if tracker != "none"),
            progress=not quiet,
        )
        try:
            outcome = train(name, data, out, recipe=requested, resume=resume, cadence=cadence, **options)
        except KeyboardInterrupt:  # before the first step, or a second Ctrl-C
            return fail(broken_off(out), 130)
        return ended(outcome, out)

    title = f"Train: {entry.title}. The options below --quiet are the recipe."
    return click.command(name, help=title, short_help=entry.title, context_settings=CONTEXT)(command)


def broken_off(out: str) -> str:
    """The message for a run that was interrupted within a step: which checkpoint is left."""
    from reference_models.checkpoints.checkpoint import Checkpoint
    from reference_models.checkpoints.run_directory import RunDirectory

    last = RunDirectory(out).last
    try:
        return f"Interrupted: step {Checkpoint(last).step} is in {printable(str(last))}; --resume goes on from there"
    except GanMetricsError:
        return f"Interrupted: no step of {printable(out)} was kept; the same command starts again"


def ended(outcome: Any, out: str) -> int:
    """Print how training ended; returns the exit code. Only the main process prints."""
    from reference_models.training.scoring import is_score

    progress = f"{printable(out)}: step {outcome.step} of {outcome.total}"
    if not outcome.is_main_process:
        return 0 if outcome.stopped is None else 128 + outcome.stopped
    if outcome.stopped:
        return fail(f"Interrupted at {progress}; the same command with --resume goes on", 128 + outcome.stopped)
    if outcome.already_complete:
        requested = f" ({outcome.total} asked for)" if outcome.total < outcome.step else f" of {outcome.total}"
        done = f"{printable(out)}: step {outcome.step}{requested}"
        click.echo(f"{done}: the run is finished; a larger --max-steps or --num-epochs goes on with it")
    else:
        best_name = "score" if is_score(outcome.best_of) else outcome.best_of
        best = "" if outcome.best is None else f"; best {best_name} {outcome.best:.4f} in best/"
        click.echo(f"{progress}: done{best}")
    return 0
