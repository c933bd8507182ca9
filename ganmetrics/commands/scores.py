"""The commands of metrics over images: one per entry of the index, and `ganmetrics evaluate` for several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from ganmetrics.commands.console import fail
from ganmetrics.commands.options import (
    CONFIDENCE,
    EPILOG,
    MEASURING,
    OWN,
    SCORING,
    metric_names,
    print_scores,
    require_generator,
    with_options,
)
from ganmetrics.errors import GanMetricsError, PartialError
from ganmetrics.metrics.index import OF_IMAGES, Entry
from ganmetrics.runtime import launcher

DEFAULT = ["fid", "kid", "prdc"]


def metric_command(entry: Entry) -> click.Command:
    """The command of one metric, made from its entry in the index."""

    @with_options(MEASURING, [OWN[name] for name in entry.options], CONFIDENCE, SCORING)
    def command(style: str, quiet: bool, report: str | None, **options: Any) -> None:
        sources = {side: options.pop(side) for side in entry.sides}
        _score(sources.get("real"), sources["fake"], [entry.name], style, quiet, report, options)

    for side in reversed(entry.sides):
        command = click.argument(side, metavar=side.upper())(command)
    sides = " and ".join(side.upper() for side in entry.sides)
    best = ", ".join(f"{name}: {better}" for name, better in entry.parts.items()) or entry.better
    help_ = f"{entry.title} of {sides} ({best} is better)."
    return click.command(entry.name, help=help_, short_help=entry.title, epilog=EPILOG)(command)


def _own_options() -> list[Callable]:
    return [OWN[name] for name in dict.fromkeys(name for entry in OF_IMAGES.values() for name in entry.options)]


@click.command(epilog=EPILOG, short_help="Several of these in one pass over the images")
@click.argument("real")
@click.argument("fake")
@click.option("-m", "--metric", "metrics", multiple=True, default=DEFAULT, callback=metric_names, metavar="NAME",
              help=f"Repeat it, or use commas: {', '.join(OF_IMAGES)}; NAME@FEATURES uses its own extractor."
                   f"  [default: {', '.join(DEFAULT)}]")  # fmt: skip
@with_options(MEASURING, _own_options(), CONFIDENCE, SCORING)
def evaluate(
    real: str, fake: str, metrics: list[str], style: str, quiet: bool, report: str | None, **options: Any
) -> None:
    """Several metrics of REAL and FAKE in one pass: each source is read once, each extractor runs once."""
    _score(real, fake, metrics, style, quiet, report, options)


def _score(
    real: Any, fake: Any, metrics: Sequence[str], style: str, quiet: bool, report: str | None, options: dict[str, Any]
) -> None:
    from ganmetrics.evaluation import evaluate

    require_generator(options["n_samples"], real, fake)
    several = launcher.size() > 1
    errors: dict[str, GanMetricsError] = {}
    try:
        scores = evaluate(real, fake, metrics, progress=not quiet, report=report, distributed=several, **options)
    except PartialError as partial:
        scores, errors = partial.scores, partial.errors
    if scores:
        print_scores(list(scores.values()), style)
    for name, error in errors.items():
        fail(f"Error: {name}: {' '.join(str(error).split())}", 1)
    if errors:
        raise click.exceptions.Exit(1)


COMMANDS = [*map(metric_command, OF_IMAGES.values()), evaluate]
