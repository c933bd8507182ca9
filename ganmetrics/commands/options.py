"""Shared by the commands: groups of options, and printing of scores. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ganmetrics.metrics.index import OF_IMAGES
from ganmetrics.printable import printable
from ganmetrics.protocols import DEFAULT, DTYPES, JPEG_DECODERS, PROTOCOLS
from ganmetrics.report.text import FORMATS

if TYPE_CHECKING:
    from ganmetrics.score import Score

EPILOG = """\b
SOURCES are folders, zip, tar, npy and npz files, saved statistics, dataset slices
(digits, mnist:test, cifar10:train[0:5000]), vectors (N, D) in npy, npz or pt files, or
generators (the folder of a run, an exported .pt2, module:attribute), with -n N.
"""


JSON = f"{__name__}.json"  # key of click's context: `--json` was given


def _json_by_default(context: click.Context, _: click.Parameter, json: bool) -> None:
    """Callback of --json, which is eager: it runs before --format and changes its default."""
    if json:
        context.meta[JSON] = True
        context.default_map = {**(context.default_map or {}), "style": "json"}


def _no_other_format(context: click.Context, _: click.Parameter, style: str) -> str:
    """Callback of --format. Raises UsageError for --json with another format."""
    if context.meta.get(JSON) and style != "json":
        raise click.UsageError(f"--json and --format {style} contradict each other; give one of them", context)
    return style


EXTRACTING = [
    click.option("--features", default="inception", metavar="NAME", show_default=True,
                 help="inception[:TAP], efficientnet-lite0 (needs no download), pixels, timm:NAME, module:attribute."),
    click.option("--weights", metavar="FILE", help="Weights of your own for that extractor."),
    click.option("--features-are", metavar="NAME",
                 help="What sources of vectors (N, D) are features of, as inception.  [default: unnamed vectors]"),
    click.option("--protocol", type=click.Choice(list(PROTOCOLS)),
                 help=f"The tool whose numbers to reproduce.  [default: {DEFAULT}]"),
    click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32",
                 show_default=True, help="Precision of the network; sums are always float64."),
    click.option("--allow-tf32", is_flag=True,
                 help="Let a CUDA device compute the network's float32 products in TF32."),
    click.option("--jpeg-decoder", type=click.Choice(list(JPEG_DECODERS)), default="pillow", show_default=True,
                 help="torchvision decodes plain JPEG files where the network runs."),
]  # fmt: skip
READING = [
    click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1.  [default: auto]"),
    click.option("--batch-size", type=click.IntRange(1), help="Images at once.  [default: by device]"),
    click.option("--num-workers", type=click.IntRange(0), help="Decoding threads.  [default: cores, at most 8]"),
    click.option("--on-error", type=click.Choice(["fail", "skip"]), default="fail", show_default=True,
                 help="At an image that cannot be read: stop, or leave it out and list it in the score."),
    click.option("--value-range", type=float, nargs=2, metavar="LO HI",
                 help="Range of float images: -1 1 (tanh) or 0 1 (sigmoid)."),
    click.option("--layout", type=click.Choice(["NCHW", "NHWC", "NHW"]), help="For arrays whose shape fits several."),
    click.option("--include", multiple=True, metavar="GLOB",
                 help="Take only images of such names, '*_fake_B.png'; fake:GLOB for one side. Repeat it for more."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out images of such names; as --include."),
    click.option("--data-root", metavar="DIR", help="Where datasets are.  [default: $GANMETRICS_DATA]"),
    click.option("--quiet", is_flag=True, help="No progress bar."),
]  # fmt: skip
PREPARING = [
    click.option(
        "--prepare",
        type=click.IntRange(1),
        metavar="SIZE",
        help="Shorter side of every image to SIZE (antialiased bilinear), centre cut out.",
    ),
    click.option(
        "-n", "--n-samples", type=click.IntRange(1), metavar="N", help="Images to make where a source is a generator."
    ),
]
MEASURING = [*EXTRACTING, *READING, *PREPARING]
CONFIDENCE = [
    click.option("--confidence", is_flag=True, help="A 95 % interval with every score, by resampling images."),
    click.option("--resamples", type=click.IntRange(100), default=1000, show_default=True, help="For --confidence."),
    click.option("--cache/--no-cache", default=True, show_default=True,
                 help="Keep statistics of REAL on disk, and reuse them while its files do not change."),
    click.option("--report", metavar="HTML", help="A page with scores, images, nearest neighbours and a map."),
]  # fmt: skip
SEED = click.option("--seed", type=int, help="Seed of everything random.  [default: the protocol's]")
SCORING = [
    SEED,
    click.option(
        "--format",
        "style",
        type=click.Choice(list(FORMATS)),
        default="text",
        show_default=True,
        callback=_no_other_format,
        help="Format of the scores; warnings go to stderr, or into the JSON.",
    ),
    click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_json_by_default,
        help="Short for --format json.",
    ),
]
OWN = {  # options of single metrics, named in their entries of the index
    "ddof": click.option("--ddof", type=click.IntRange(0, 1), help="Covariance over n - ddof.  [default: 1]"),
    "splits": click.option("--splits", type=click.IntRange(1), help="Number of splits.  [default: 10]"),
    "shuffle": click.option("--shuffle/--no-shuffle", default=None,
                            help="Order of the images before they are split.  [default: the protocol's]"),
    "k": click.option("--k", type=click.IntRange(1), metavar="K",
                      help="Balls reach the K-th neighbour.  [default: 3 (precision, recall), 5 (density, coverage)]"),
    "subsets": click.option("--subsets", type=click.IntRange(1),
                            help="Number of subsets.  [default: the protocol's, or all images at once]"),
    "subset_size": click.option("--subset-size", type=click.IntRange(2),
                                help="Images in each subset.  [default: 1000, where there are subsets]"),
}  # fmt: skip


def metric_names(context: click.Context, _: click.Parameter, values: Sequence[str]) -> list[str]:
    """Split at commas. An unknown name is a usage error, raised before anything slow begins."""
    names = [name.strip() for value in values for name in value.split(",")]
    for name in names:
        if name.partition("@")[0] not in OF_IMAGES:
            raise click.BadParameter(f"expected some of {', '.join(OF_IMAGES)}, got {name!r}")
    return names


def with_options(*groups: list[Callable]) -> Callable:
    """Decorator that adds groups of click options to a command, in order."""

    def decorate(function: Callable) -> Callable:
        # Reversed: click lists the option that was added last first.
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def require_generator(n_samples: int | None, *sources: str | None) -> None:
    """Raises OptionError for a number of images to make where no source makes any."""
    from ganmetrics.errors import OptionError
    from ganmetrics.generators.source import is_attribute, names_generator

    given = [source for source in sources if source is not None]
    if n_samples is not None and not any(map(names_generator, given)):
        if absent := [source for source in given if is_attribute(source)]:
            raise OptionError(f"{absent[0]}: there is no module {absent[0].partition(':')[0]} here or installed")
        raise OptionError(
            f"-n: {'no' if len(sources) == 1 else 'neither'} source is a generator; leave it out, or take a slice such "
            f"as digits[0:{n_samples}]"
        )


def print_scores(scores: Sequence[Score], style: str) -> None:
    """Print scores on stdout, and their warnings on stderr, each once; JSON contains its warnings."""
    click.echo(FORMATS[style](scores))
    if style == "json":
        return
    skipped = {entry["image"]: entry for score in scores for entry in score.skipped}
    print_remarks(_joined_warnings(scores), list(skipped.values()))
    for note in dict.fromkeys(score.protocol["note"] for score in scores if "note" in score.protocol):
        click.echo(f"Note: {note}", err=True)


def _joined_warnings(scores: Sequence[Score]) -> list[str]:
    """Every warning once, after the names of its scores unless all scores have it."""
    names_by_text: dict[str, list[str]] = {}
    for score in scores:
        for text in score.warnings:
            names_by_text.setdefault(text, []).append(score.metric)
    return [
        text if len(names) == len(scores) else f"{', '.join(names)}: {text}" for text, names in names_by_text.items()
    ]


def print_remarks(warnings: Sequence[str], skipped: Sequence[Mapping[str, str]]) -> None:
    """Print warnings and skipped images on stderr, one line each."""
    for warning in warnings:
        click.echo(printable(f"Warning: {warning}"), err=True)
    for entry in skipped:
        click.echo(printable(f"Skipped: {entry['image']}: {entry['reason']}"), err=True)
