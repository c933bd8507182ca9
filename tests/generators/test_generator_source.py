"""A generator as a source of images: the same images as if they had been written to disk before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ganmetrics as gm
from ganmetrics.errors import OptionError
from ganmetrics.generators.source import GeneratorSource, names_generator
from tests.helpers.commands import Cli

PIXELS = ["--features", "pixels", "--quiet", "--device", "cpu"]
OPTIONS: dict[str, Any] = {"features": "pixels", "device": "cpu", "progress": False, "layout": "NCHW"}


class Small(nn.Module):
    """Images (1, 4, 4) in [-1, 1] of latents (3,)."""

    latent_shape, value_range = (3,), (-1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 16)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, 48).view(16, 3))
            self.layer.bias.zero_()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(z)).view(-1, 1, 4, 4)


class OfClasses(Small):
    n_classes = 3

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return super().forward(z) * (labels.view(-1, 1, 1, 1) + 1) / 3


class Noisy(Small):
    """With noise of its own, and no gradient: enough to sample from."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return (super().forward(z) + 0.1 * torch.randn(len(z), 1, 4, 4)).clamp(-1, 1)


def images_of(source: GeneratorSource) -> torch.Tensor:
    return torch.cat([stack.pixels for stack in source.stacks(7)])


@pytest.mark.parametrize("kind", [Small, OfClasses, Noisy])
def test_images_depend_on_seed_and_number_alone(kind: type[Small]) -> None:
    long, short = (images_of(GeneratorSource(kind(), n, 5)) for n in (70, 33))
    assert long.shape == (70, 1, 4, 4)
    assert torch.equal(long[:33], short)
    other = images_of(GeneratorSource(kind(), 33, 6))
    assert not torch.equal(other, short)


def test_the_images_are_the_generators(rng: np.random.Generator) -> None:
    """Latents of its own prior, by number; to bytes as gm.evaluate takes float batches."""

    class WithPrior(Small):
        def latents(self, indices: Any, *, seed: int = 0) -> torch.Tensor:
            return torch.stack([torch.tensor([i, seed, 1.0]) / 40 for i in indices])

    generator = WithPrior()
    z = torch.tensor([[i, 3, 1.0] for i in range(40)]) / 40
    floats = generator(z).detach().double().numpy()
    expected = np.floor((floats + 1) / 2 * 255 + 0.5)
    got = images_of(GeneratorSource(generator, 40, 3)).numpy()
    assert np.abs(got - expected).max() <= 1  # at a half, float32 may round to the other side
    assert (got == expected).mean() > 0.99
    real = torch.from_numpy(rng.integers(0, 256, (50, 1, 4, 4), dtype=np.uint8))
    score = gm.fid(real, generator, n_samples=40, seed=3, **OPTIONS)
    assert score.value == gm.fid(real, torch.from_numpy(got), **OPTIONS).value
    assert score.protocol["generated"]["fake"]["seed"] == 3
    assert score.n_fake == 40


def test_a_generator_in_training_stays_as_it_was() -> None:
    generator = Small().train()
    state = torch.get_rng_state()
    images_of(GeneratorSource(generator, 10, 0))
    assert generator.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad for parameter in generator.parameters())


def test_classes_come_in_turn() -> None:
    source = GeneratorSource(OfClasses(), 60, 0)
    assert list(source.labels or [])[:5] == ["0", "1", "2", "0", "1"]
    score = gm.evaluate(None, OfClasses(), ["intra-class-diversity"], n_samples=60, **OPTIONS)
    assert score["intra-class-diversity"].n_fake == 60


def test_what_names_a_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nets.py").write_text("generator = None\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "run" / "last").mkdir(parents=True)
    (tmp_path / "run" / "last" / "manifest.json").write_text("{}")
    (tmp_path / "data.npz").write_bytes(b"")
    (tmp_path / "g.pt2").write_bytes(b"")
    yes = ["my_nets:generator", "run", "run/last", "g.pt2", Path("run"), Small()]
    no = ["images", "digits[0:3]", "mnist:test", "data.npz", "data.npz:x", "nope:train", "real", "c:/x", lambda n: n, 3]
    assert [source for source in yes if not names_generator(source)] == []
    assert [source for source in no if names_generator(source)] == []


def test_on_the_command_line(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By module:attribute, as an exported program, and on the real side; nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("a_module.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    latent_shape, value_range = (2,), (0, 1)\n"
        "    def forward(self, z):\n"
        "        return torch.sigmoid(z).mean(1).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()\n"
    )
    before = sorted(os.listdir())
    score = cli("fid", "digits[0:50]", "a_module:Net", "-n", "40", "--seed", "1", *PIXELS, "--json").scores[0]
    assert (score["n_real"], score["n_fake"], score["metric"]) == (50, 40, "fd-pixels")
    assert score["protocol"]["generated"]["fake"] == {"generator": "a_module:Net", "sha256": score["protocol"][
        "generated"]["fake"]["sha256"], "seed": 1}  # fmt: skip
    again = cli("fid", "digits[0:50]", "a_module:Net", "-n", "40", "--seed", "1", *PIXELS, "--json").scores[0]
    other = cli("fid", "digits[0:50]", "a_module:Net", "-n", "40", "--seed", "2", *PIXELS, "--json").scores[0]
    assert score["value"] == again["value"] != other["value"]
    reverse = cli("fid", "a_module:Net", "digits[0:50]", "-n", "40", "--seed", "1", *PIXELS, "--json").scores[0]
    assert reverse["value"] == pytest.approx(score["value"], rel=1e-12)
    program = torch.export.export(Small(), (torch.zeros(32, 3),))
    torch.export.save(program, "small.pt2")
    exported = cli("vendi", "small.pt2", "-n", "9", "--value-range", "-1", "1", *PIXELS, "--json").scores[0]
    assert exported["n_fake"] == 9
    assert sorted(name for name in os.listdir() if name != "__pycache__") == sorted([*before, "small.pt2"])


def test_the_number_is_asked_for_and_used(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b_module.py").write_text("class Net:\n    latent_shape = (2,)\n    def __call__(self, z): return z\n")
    error = cli("fid", "digits[0:50]", "b_module:Net", *PIXELS).error
    assert error == "generator b_module:Net: say how many images it is to make, with -n N (n_samples=)"
    ran = cli("fid", "digits[0:5]", "digits[5:10]", "-n", "3", *PIXELS)
    assert ran.error == "-n: neither source is a generator; leave it out, or take a slice such as digits[0:3]"
    assert cli("fid", "digits[0:5]", "nope:Net", "-n", "3", *PIXELS).error == (
        "nope:Net: there is no module nope here or installed"
    )
    with pytest.raises(OptionError, match="n_samples="):
        gm.fid(torch.zeros(4, 1, 4, 4, dtype=torch.uint8), Small(), **OPTIONS)


def test_a_missing_range_is_asked_for_by_the_name_that_the_command_knows(rng: np.random.Generator) -> None:
    class Unstated(Small):
        value_range = None  # type: ignore[assignment]

    real = torch.from_numpy(rng.integers(0, 256, (9, 1, 4, 4), dtype=np.uint8))
    with pytest.raises(OptionError, match=r"state it with --value-range -1 1 \(tanh\) .* \(value_range=\)$"):
        gm.fid(real, Unstated(), n_samples=9, **OPTIONS)
    stated = gm.fid(real, Unstated(), n_samples=9, **{**OPTIONS, "value_range": (-1, 1)})
    assert stated.value == gm.fid(real, Small(), n_samples=9, **OPTIONS).value


def test_the_same_images_on_both_sides_are_told() -> None:
    text = "real and fake are images of the same generator with the same seed: they are one set"
    assert text in gm.fid(Small(), Small(), n_samples=40, **OPTIONS).warnings
    other = Small()
    with torch.no_grad():
        other.layer.bias.add_(0.5)
    assert text not in gm.fid(Small(), other, n_samples=40, **OPTIONS).warnings
