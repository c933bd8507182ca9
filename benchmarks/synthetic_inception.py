"""Random weights with the layout of the FID Inception file, for tests and benchmarks without the official file.

Arithmetic, cost and file layout (566 entries, 95 MB) are those of the official network; only the features have no
meaning. Convolutions are drawn as in He et al. 2015 (arXiv:1502.01852). Batch norm is then calibrated on synthetic
images, so that the values of every layer stay in a normal range. The classifier is scaled so that the Inception Score
of varied images is clearly above 1. The same seed gives the same weights up to the rounding of the convolutions.

    python -m benchmarks.synthetic_inception OUT.pth --seed 0
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmetrics.features.inception_network import SIZE, InceptionV3

LOGIT_SPREAD = 4.0
"""Standard deviation of the logits over images: enough for confident and different predictions."""


def make(seed: int = 0, calibration: Tensor | None = None) -> dict[str, Tensor]:
    """A state dict of the official layout: names, order, shapes and dtypes.

    Args:
        seed: of all weights, and of the calibration images if none are given.
        calibration: images `(N, 3, 299, 299)` in [-1, 1]; 32 of `varied_images` by default (about 5 s on 2 cores).
    """
    rng = torch.Generator().manual_seed(seed)
    network = InceptionV3()
    for module in network.modules():
        _draw(module, rng)
    images = varied_images(32, generator=rng) if calibration is None else calibration
    with torch.no_grad():
        _calibrate_batch_norm(network, images)
        _calibrate_classifier(network, images, rng)
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def varied_images(n_images: int, *, generator: torch.Generator) -> Tensor:
    """Smooth coloured blobs of many sizes, contrasts and noise levels: `(N, 3, 299, 299)` in [-1, 1]."""
    return torch.stack([_blobs(2 ** (1 + i % 6), i, generator) for i in range(n_images)])


def _blobs(cells: int, i: int, rng: torch.Generator) -> Tensor:
    """One image of about `cells` x `cells` blobs; `i` varies contrast, sharpness, colour and noise."""
    coarse = torch.randn(1, 3, cells, cells, generator=rng)
    smooth = F.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=False)[0]
    colour = torch.eye(3) if i % 2 else torch.ones(3, 3) / 3 + 0.2 * torch.randn(3, 3, generator=rng)
    mixed = torch.einsum("ij,jhw->ihw", colour, smooth) + 0.5 * torch.randn(3, 1, 1, generator=rng)
    sharpness, contrast = (0.5, 1.5, 5.0)[i % 3], (1.0, 0.6, 0.3)[i // 3 % 3]
    noise = (0.0, 0.05, 0.2)[i // 2 % 3] * torch.randn(3, SIZE, SIZE, generator=rng)
    return (contrast * torch.tanh(sharpness * mixed) + noise).clamp(-1, 1)


def _draw(module: nn.Module, rng: torch.Generator) -> None:
    if isinstance(module, nn.Conv2d):
        fan_in = module.weight[0].numel()
        nn.init.normal_(module.weight, 0.0, (2 / fan_in) ** 0.5, generator=rng)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight, 0.5, 1.5, generator=rng)
        # With bias 0 a random network this deep is chaotic: rounding and resizing would matter more than the image.
        nn.init.normal_(module.bias, 0.5, 0.3, generator=rng)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, generator=rng)
        nn.init.normal_(module.bias, 0.0, 0.5, generator=rng)


def _calibrate_batch_norm(network: nn.Module, images: Tensor) -> None:
    """Set the statistics of each layer from one batch that has passed the layers before it, already calibrated."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # statistics become those of this batch, not a moving average
    network.train()
    network(images)
    network.eval()


def _calibrate_classifier(network: InceptionV3, images: Tensor, rng: torch.Generator) -> None:
    """Remove the component that all images share (else one class would always win), then scale to LOGIT_SPREAD."""
    pooled = torch.cat([network(batch)["2048"] for batch in images.split(8)])
    common = F.normalize(pooled.mean(0), dim=0)
    weight = network.fc.weight
    weight -= torch.outer(weight @ common, common)
    weight *= LOGIT_SPREAD / (pooled @ weight.T).std()


def main(arguments: list[str] | None = None) -> None:
    """Write the state dict and print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(make(options.seed), options.out)
    print(f"synthetic Inception weights, seed {options.seed}: {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
