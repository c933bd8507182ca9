"""The runs that `benchmarks.zoo` trains, and the images for training and scoring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TRAINING = "mnist:train[0:50000]"
N_FEATURES, N_PARZEN = 2000, 10_000
SMALL = ("--image-size", "32", "--ngf", "16", "--ndf", "16")
DCGAN = (*SMALL, "--batch-size", "64")
BEGAN = ("--image-size", "16", "--nf", "8", "--nz", "8", "--lr", "1e-3", "--beta1", "0.5", "--gamma", "0.95",
         "--lambda-k", "0.05")  # fmt: skip
RUNNING, FINAL = "mnist:train[50000:50200]", "mnist:test[0:200]"  # held-out images of the reconstruction loss
TRACKED = ("--score-metric", "reconstruction", "--score-method", "xiang-li", "--score-real", RUNNING,
           "--score-every", "500")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One training: the variant, the number of steps, and the options that change its recipe."""

    variant: str
    steps: int
    options: tuple[str, ...] = ()
    image_size: int = 32


PLANS = {
    "gan": Plan("gan", 10_000, (), 28),
    "gan, minimax": Plan("gan", 10_000, ("--loss", "minimax"), 28),
    "dcgan": Plan("dcgan", 3_000, DCGAN),
    "lsgan": Plan("lsgan", 3_000, DCGAN),
    "lsgan, -1,1,0": Plan("lsgan", 3_000, (*DCGAN, "--coefficients", "-1,1,0")),
    "wngan": Plan("wngan", 4_000, (*SMALL, *TRACKED)),
    "wngan, batch norm": Plan("wngan", 4_000, (*SMALL, *TRACKED, "--normalisation", "batch")),
    "wngan, none": Plan("wngan", 4_000, (*SMALL, *TRACKED, "--normalisation", "none")),
    "began": Plan("began", 3_000, BEGAN, 16),
}


NORMALISATIONS = {"wngan": "weight norm", "wngan, batch norm": "batch norm", "wngan, none": "none"}


def folder_of(work: Path, name: str, seed: int) -> Path:
    """The folder of a run; commas and spaces of the plan's name are removed."""
    return work / f"{name.replace(', ', '-').replace(',', '')}-{seed}"
