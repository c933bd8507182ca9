"""`ganmetrics parzen`: Parzen-window log-likelihood of three sources, and its baselines."""

from __future__ import annotations

from typing import Any

import click

from ganmetrics.commands.options import (
    EPILOG,
    PREPARING,
    READING,
    SCORING,
    print_scores,
    require_generator,
    with_options,
)


@click.command("parzen", short_help="Parzen-window log-likelihood", epilog=EPILOG)
@click.argument("samples")
@click.argument("validation", required=False)
@click.argument("test", required=False)
@click.option(
    "--bandwidths",
    default="published",
    show_default=True,
    metavar="WHICH",
    help="published (ten from 0.1 to 1), auto, a number, numbers with commas, or LOW:HIGH:COUNT.",
)
@click.option(
    "--baseline",
    type=click.Choice(["true", "kmeans"]),
    help="Score the images of SAMPLES, or their k-means centres, as if they were samples. "
    "SAMPLES alone is shuffled and cut into 5/7, 1/7 and 1/7.",
)
@click.option(
    "--max-samples", type=click.IntRange(1), help="Use this many samples, drawn with the seed.  [default: all]"
)
@click.option("--dequantize", is_flag=True, help="Add uniform noise to the pixels: (value + u) / 256.")
@click.option("--allow-same", is_flag=True, help="Accept the same images for VALIDATION and TEST.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Precision of the exponentials; distances are exact or float64.",
)
@click.option("--memory", default="512MB", show_default=True, help="Work space, such as 512MB or 2GiB.")
@click.option("--plot", metavar="PNG", help="Draw the validation likelihood against the bandwidth.")
@with_options(READING, PREPARING, SCORING)
def parzen(plot: str | None, style: str, quiet: bool, **options: Any) -> None:
    """Parzen-window log-likelihood of TEST under Gaussians on SAMPLES, in nats (higher is better).

    The bandwidth is chosen on VALIDATION. All three are images of one size, or points (N, D) in a .npy file.
    """
    from ganmetrics.parzen import parzen_log_likelihood

    if plot is not None:
        from ganmetrics.report.curves import bandwidth_curve, require_drawable

        require_drawable(plot, options["bandwidths"])
    require_generator(options["n_samples"], options["samples"])
    score = parzen_log_likelihood(**options, progress=not quiet)
    print_scores([score], style)
    if plot is not None:
        bandwidth_curve(score, plot)
