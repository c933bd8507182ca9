"""`reference-models COMMAND ...`: parses, calls, prints. Commands import torch themselves, so that `--help` is fast."""

from __future__ import annotations

import json
from typing import Any

import click

from ganmetrics.commands.console import CONTEXT, Commands, run
from ganmetrics.commands.options import with_options
from ganmetrics.errors import OptionError
from ganmetrics.printable import printable
from ganmetrics.version import __version__
from reference_models.commands.train import train
from reference_models.index import ENTRIES

SAMPLING = [
    click.option("--which", type=click.Choice(["last", "best"]), default="last", show_default=True,
                 help="Which checkpoint of the run."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the latents."),
    click.option("--ema/--no-ema", default=True, show_default=True,
                 help="The generator's moving average, or the weights of the last step."),
    click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1.  [default: auto]"),
    click.option("--overwrite", is_flag=True, help="Replace existing output."),
]  # fmt: skip
PICTURE = [
    click.option("-o", "--output", required=True, metavar="PNG", help="The picture."),
    *SAMPLING,
]


SECTIONS = {
    "Training": ["list", "train", "show"],
    "Samples of a trained generator": ["sample", "walk", "arithmetic"],
    "Losses compared": ["toy"],
}


@click.group(cls=Commands, sections=SECTIONS, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="reference-models")
def cli() -> None:
    """Train the GAN variants whose samples `ganmetrics` scores, sample them and draw latent walks."""


@cli.command("list", short_help="Every variant, with its paper")
def list_variants() -> None:
    """Every variant, with its paper."""
    for entry in ENTRIES:
        paper = entry.paper.replace("[", "").replace("](", "  ").rstrip(")")
        click.echo(f"{entry.name:<10}{entry.title:<56}{paper}")


cli.add_command(train)


@cli.command(short_help="Images of a trained generator, by number and seed")
@click.argument("directory", metavar="DIR")
@click.option("-n", "n", type=click.IntRange(1), required=True, help="How many images.")
@click.option("--out", required=True, metavar="PATH", help="A folder for PNGs, or a name ending in .npz or .zip.")
@click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="Number of the first image.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@with_options(SAMPLING)
def sample(
    directory: str, n: int, out: str, start: int, quiet: bool, which: Any, seed: int, ema: bool, device: str | None,
    overwrite: bool,
) -> None:  # fmt: skip
    """Write N images of the generator in DIR; image i of a seed is always the same."""
    from reference_models.sampling.output import require_writable, write_samples
    from reference_models.sampling.sampler import load

    require_writable(out, overwrite=overwrite)
    model = load(directory, which=which, device=device)
    written = write_samples(model, out, n, seed=seed, ema=ema, start=start, overwrite=overwrite, progress=not quiet)
    click.echo(f"{printable(str(written))}: {n} images of {model.config['variant']} at step {model.step}")


class Numbers(click.ParamType):
    """Comma-separated sample numbers, such as `3,17,42`."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        try:
            return [int(number) for number in value.split(",")]
        except ValueError:
            self.fail(f"expected numbers of samples, such as 3,17,42, got {printable(value)!r}", param, ctx)


@cli.command(short_help="Draw walks between samples")
@click.argument("directory", metavar="DIR")
@click.option(
    "--stops", type=Numbers(), multiple=True, required=True, help="Samples to walk between; repeat it for more rows."
)
@click.option("--steps", type=click.IntRange(0, 1000), default=8, show_default=True, help="Images between two stops.")
@click.option("--kind", type=click.Choice(["spherical", "linear"]), default="spherical", show_default=True)
@with_options(PICTURE)
def walk(
    directory: str, stops: tuple[list[int], ...], steps: int, kind: str, output: str, which: Any, seed: int, ema: bool,
    device: str | None, overwrite: bool,
) -> None:  # fmt: skip
    """Draw walks between samples of the generator in DIR."""
    from reference_models.sampling.latent_pictures import walk_grid
    from reference_models.sampling.pictures import require_png, save_picture
    from reference_models.sampling.sampler import load

    require_png(output, overwrite=overwrite)
    model = load(directory, which=which, device=device)
    rows = stops[0] if len(stops) == 1 else list(stops)
    picture = walk_grid(model, rows, seed=seed, n_between=steps, kind=kind, ema=ema)
    save_picture(picture, output, {"stops": stops, "seed": seed, "step": model.step, "ema": ema})
    click.echo(f"{printable(output)}: {kind} walks between samples {' '.join(map(str, stops))}")


@cli.command(short_help="Draw base - minus + plus on latents")
@click.argument("directory", metavar="DIR")
@click.option("--base", type=Numbers(), required=True, help="Samples that show the first concept.")
@click.option("--minus", type=Numbers(), required=True, help="Samples of the concept to subtract.")
@click.option("--plus", type=Numbers(), required=True, help="Samples of the concept to add.")
@click.option("--names", default="base,minus,plus", show_default=True, help="Labels in the picture.")
@click.option("--noise", type=click.FloatRange(0), default=0.25, show_default=True, help="Size of the variations.")
@with_options(PICTURE)
def arithmetic(
    directory: str, base: list[int], minus: list[int], plus: list[int], names: str, noise: float, output: str,
    which: Any, seed: int, ema: bool, device: str | None, overwrite: bool,
) -> None:  # fmt: skip
    """Draw base - minus + plus on mean latents of samples; the numbers are those of the images that `sample` writes."""
    from reference_models.sampling.latent_pictures import arithmetic_grid
    from reference_models.sampling.pictures import require_png, save_picture
    from reference_models.sampling.sampler import load

    require_png(output, overwrite=overwrite)
    model = load(directory, which=which, device=device)
    labels = names.split(",")
    picture = arithmetic_grid(model, base, minus, plus, seed=seed, ema=ema, noise=noise, names=labels)
    metadata = {"base": base, "minus": minus, "plus": plus, "seed": seed, "step": model.step, "ema": ema}
    save_picture(picture, output, metadata)
    click.echo(f"{printable(output)}: {labels[0]} - {labels[1]} + {labels[2]}")


@cli.command(short_help="Count the modes that a loss covers on Gaussians")
@click.option(
    "--loss",
    "losses",
    multiple=True,
    metavar="NAME",
    help="minimax, non-saturating, least-squares, least-squares-pearson.  [default: each]",
)
@click.option(
    "--mixture",
    type=click.Choice(["ring", "grid"]),
    default="ring",
    show_default=True,
    help="8 Gaussians on a circle, or 25 on a square grid.",
)
@click.option("--steps", type=click.IntRange(1), default=8000, show_default=True, help="Training steps of each loss.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("-o", "--output", metavar="PNG", help="PNG file for samples of each loss.")
@click.option("--overwrite", is_flag=True, help="Replace existing output.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per loss.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def toy(
    losses: tuple[str, ...], mixture: str, steps: int, seed: int, output: str | None, overwrite: bool, as_json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Train losses on a mixture of Gaussians, and count the modes they cover."""
    from reference_models.losses import LOSSES
    from reference_models.sampling.pictures import require_png
    from reference_models.toy.mixtures import Mixture, fit
    from reference_models.toy.picture import draw

    unknown = [loss for loss in losses if loss not in LOSSES]
    if unknown:
        raise OptionError(f"--loss: expected one of {', '.join(LOSSES)}, got {unknown[0]!r}")
    if output is not None:
        require_png(output, overwrite=overwrite, needs_matplotlib=True)
    target = Mixture.ring() if mixture == "ring" else Mixture.grid()
    fits = []
    for loss in losses or LOSSES:
        fits.append(fit(loss, target, steps=steps, seed=seed, progress=not quiet))
        click.echo(json.dumps(fits[-1].to_dict()) if as_json else str(fits[-1]))
    if output is not None:
        draw(fits, output)


@cli.command(short_help="Configuration, progress and curves of a run")
@click.argument("directory", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--quiet", is_flag=True, help="Draw no curves.")
def show(directory: str, as_json: bool, quiet: bool) -> None:
    """Show the run in DIR: configuration, progress, last values, its curves as PNG and its last grid."""
    from reference_models.commands.show import describe

    description = describe(directory, curves=not quiet)
    if as_json:
        click.echo(json.dumps(description))
        return
    for name, value in description.items():
        if value == {}:
            continue
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, item in value.items():
                click.echo(printable(f"  {key:<18}{item}"))
        else:
            click.echo(printable(f"{name:<20}{value}"))


def main() -> None:
    """Entry point of the console script."""
    run(cli, "reference-models")
