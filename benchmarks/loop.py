"""The cost of `reference_models.train`: DCGAN, compared with a plain PyTorch loop over the same networks.

The plain loop is the DCGAN of pytorch/examples with the images in memory: the same losses, optimisers and measured
values, but no checkpoints, moving average, gradient norms or image grids. Both run in this process alternately; the
order is reversed every other round. `loop` is the median time of a step according to the run's log. `whole` is the time
of all of `train` divided by the steps, with two checkpoints and the grids, without opening the data.

    python -m benchmarks.loop [--steps 400] [--rounds 5] [--out results.jsonl]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.process import circumstances
from reference_models import Cadence, train
from reference_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from reference_models.recipe import Recipe
from reference_models.training.data import open_data

BATCH, SIZE, WIDTH, NZ = 64, 32, 16, 100
PACKAGES = ("torch", "accelerate")


def bare(pixels: torch.Tensor, steps: int) -> float:
    """Seconds per step of the loop of pytorch/examples."""
    torch.manual_seed(0)
    generator, discriminator = DCGANGenerator(NZ, SIZE, 1, WIDTH), DCGANDiscriminator(SIZE, 1, WIDTH)
    criterion = nn.BCEWithLogitsLoss()
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = adam(discriminator.parameters())
    optimizer_g = adam(generator.parameters())
    per_epoch = len(pixels) // BATCH
    began = time.perf_counter()
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(pixels))
        at = step % per_epoch * BATCH
        real = pixels[order[at : at + BATCH]].float() / 127.5 - 1
        discriminator.zero_grad()
        output = discriminator(real)
        loss_real = criterion(output, torch.ones_like(output))
        loss_real.backward()
        measured = [output.mean().item()]
        fake = generator(torch.randn(BATCH, NZ))
        output = discriminator(fake.detach())
        loss_fake = criterion(output, torch.zeros_like(output))
        loss_fake.backward()
        measured += [output.mean().item(), (loss_real + loss_fake).item()]
        optimizer_d.step()
        generator.zero_grad()
        output = discriminator(fake)
        loss_g = criterion(output, torch.ones_like(output))
        loss_g.backward()
        measured += [output.mean().item(), loss_g.item()]
        optimizer_g.step()
    return (time.perf_counter() - began) / steps


def framed(pixels: torch.Tensor, steps: int) -> tuple[float, float]:
    """Seconds per step of `train`: according to its log, and of the whole call."""
    recipe = {"image_size": SIZE, "ngf": WIDTH, "ndf": WIDTH, "batch_size": BATCH, "nz": NZ}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        train("dcgan", pixels, Path(folder) / "run", recipe=recipe, max_steps=steps, cadence=Cadence(progress=False))
        whole = time.perf_counter() - began
        log = (Path(folder) / "run" / "log.jsonl").read_text().splitlines()
    rates = [line["images_per_second"] for line in map(json.loads, log) if "images_per_second" in line]
    return BATCH / statistics.median(rates), whole / steps


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="append one JSON object to this file")
    options = parser.parse_args(arguments)
    pixels = open_data("digits", Recipe(image_size=SIZE)).images.__getitems__(list(range(1797)))
    bare(pixels, 20)  # warm-up
    framed(pixels, 20)
    rows: list[tuple[float, float, float]] = []
    for i in range(options.rounds):
        if i % 2:
            loop, whole = framed(pixels, options.steps)
            plain = bare(pixels, options.steps)
        else:
            plain = bare(pixels, options.steps)
            loop, whole = framed(pixels, options.steps)
        rows.append((plain, loop, whole))
        print(f"bare {plain * 1e3:.1f} ms   loop {loop / plain:.3f}   whole {whole / plain:.3f}", flush=True)
    result: dict[str, Any] = {
        "steps": options.steps,
        "rounds": options.rounds,
        "loop_ratio": statistics.median(loop / plain for plain, loop, _ in rows),
        "whole_ratio": statistics.median(whole / plain for plain, _, whole in rows),
        **circumstances(PACKAGES),
    }
    print(
        f"median of {options.rounds} rounds, in times of the bare loop: "
        f"loop {result['loop_ratio']:.3f}, whole {result['whole_ratio']:.3f}"
    )
    if options.out is not None:
        with open(options.out, "a") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
