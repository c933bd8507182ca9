"""`ganmetrics reconstruction`: reconstruction loss of a generator on test images."""

from __future__ import annotations

from typing import Any

import click

from ganmetrics.commands.options import EPILOG, READING, SCORING, print_scores, with_options
from ganmetrics.disk.writing import require_writable


@click.command("reconstruction", short_help="Reconstruction loss of a generator", epilog=EPILOG)
@click.argument("generator")
@click.argument("test")
@click.option(
    "--method",
    type=click.Choice(["auto", "xiang-li", "adam", "lbfgs"]),
    default="auto",
    show_default=True,
    help="auto is the fastest; xiang-li is as published: RMSprop from z = 0.",
)
@click.option("--steps", type=click.IntRange(1), help="Gradient passes per image, at most.  [default: by method]")
@click.option(
    "--restarts", type=click.IntRange(1), default=1, show_default=True, help="Searches per image; the best counts."
)
@click.option(
    "--prior-weight", type=float, default=0.0, show_default=True, help="Weight of |z|^2 / 2, added to the error."
)
@click.option("--bound", type=float, help="Keep z in [-BOUND, BOUND].  [default: GENERATOR's own]")
@click.option("--perceptual", metavar="NAME", help="Extractor whose feature distance is added to the error.")
@click.option("--perceptual-weight", type=float, default=0.1, show_default=True, help="Weight of that distance.")
@click.option("--tolerance", type=float, help="Stop when the loss falls relatively by less.  [default: by method]")
@click.option(
    "--pool",
    type=click.IntRange(16),
    default=1024,
    show_default=True,
    help="Random latents among which auto chooses its starts.",
)
@click.option("--block", type=click.IntRange(1), help="Latents in one pass.  [default: 32, on a GPU 128]")
@click.option("--labels", metavar="WHICH", help="For a generator with classes: one number for all, or optimise.")
@click.option("--generator-range", type=float, nargs=2, metavar="LO HI", help="Range of its images, if it states none.")
@click.option("--resize", is_flag=True, help="Prepare TEST like the training images, as the checkpoint states.")
@click.option("--n-images", type=click.IntRange(1), metavar="N", help="Use the first N images of TEST.  [default: all]")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
              help="Precision of the search; the errors are float32.")  # fmt: skip
@click.option("--save", metavar="PNG", help="Picture of the worst, median and best images.")
@click.option("--overwrite", is_flag=True, help="Replace a picture that is there.")
@with_options(READING, SCORING)
def reconstruction(
    save: str | None, overwrite: bool, style: str, quiet: bool, labels: str | None, seed: int | None, **options: Any
) -> None:
    """Reconstruction loss: mean squared error when GENERATOR's latent is optimised for each image of TEST.

    Lower is better. GENERATOR is a reference-models run or checkpoint, an exported program (.pt2), or
    module:attribute: an object with latent_shape, value_range and a differentiable call.
    """
    from ganmetrics.reconstruction import reconstruct
    from ganmetrics.report.reconstructions import picture
    from ganmetrics.report.reconstructions import save as write

    if save is not None:
        require_writable(save, ".png", option="--save", overwrite=overwrite)
    parsed = int(labels) if labels is not None and labels.isdecimal() else labels
    result = reconstruct(options.pop("generator"), options.pop("test"), labels=parsed, seed=seed or 0,
                       progress=not quiet, **options)  # fmt: skip
    print_scores([result.score], style)
    if save is not None:
        write(save, picture(result.score, result.targets, result.inversion.reconstructions, result.inversion.errors))
