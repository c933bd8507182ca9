"""Mistakes that once gave a plausible number or a traceback; each stays here with the reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import ganmetrics as gm
from ganmetrics.errors import GanMetricsError, OptionError, SourceError, StatisticsError
from ganmetrics.metrics.fid import frechet_distance
from ganmetrics.metrics.inception_score import InceptionScore
from tests.conftest import REPOSITORY, write_folder
from tests.helpers.commands import Cli

OPTIONS = {"features": "pixels", "device": "cpu", "progress": False}


@pytest.fixture
def grey(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, (37, 12, 12), dtype=np.uint8))


@pytest.mark.parametrize("batch_size", [1, 3, 4, 8])
@pytest.mark.parametrize("labelled", [True, False])
def test_grey_batches_of_a_loader_are_never_one_image(grey: torch.Tensor, batch_size: int, labelled: bool) -> None:
    """Three grey images in a batch were once read as one RGB image: 13 images of 37, and a score."""
    data = TensorDataset(grey, torch.zeros(37)) if labelled else grey
    score = gm.fid(grey.numpy(), DataLoader(data, batch_size=batch_size), **OPTIONS)
    assert (score.n_real, score.n_fake) == (37, 37)
    assert score.value < 1e-9


def test_a_source_that_ends_early(grey: torch.Tensor) -> None:
    def half() -> Iterator[torch.Tensor]:
        yield grey[:30, None]

    with pytest.raises(SourceError, match="expected 60 images, got 30"):
        gm.fid(grey.numpy(), half(), n_samples=60, **OPTIONS)


@pytest.mark.parametrize("kind", ["no dimensions", "complex"])
def test_features_that_are_no_vectors(grey: torch.Tensor, kind: str) -> None:
    """An extractor of no dimensions once scored 0, the best there is."""
    functions = {"no dimensions": lambda x: x.flatten(1)[:, :0].float(), "complex": lambda x: x.flatten(1) * 1j}
    with pytest.raises(OptionError, match=r"expected (vectors|real numbers|a tensor)"):
        gm.fid(grey.numpy(), grey.numpy(), features=functions[kind], device="cpu", progress=False)


def test_a_matrix_that_is_no_covariance() -> None:
    sigma = torch.tensor([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])
    with pytest.raises(StatisticsError, match="not positive semi-definite"):
        frechet_distance(torch.zeros(3), sigma, torch.zeros(3), torch.eye(3))


def test_merging_in_a_loop(grey: torch.Tensor) -> None:
    images = grey[:, None]
    one, other = (gm.FID(real=images, **OPTIONS) for _ in range(2))
    one.update(images[:10] * 0)
    other.update(images[10:])
    one.merge(other)
    assert not [text for text in one.compute().warnings if "exceeds 1" in text]
    with pytest.raises(OptionError, match="expected another FID"):
        one.merge(one)
    with pytest.raises(OptionError, match="expected another FID"):
        one.merge(gm.InceptionScore())
    with pytest.raises(StatisticsError, match="measured differently"):
        one.merge(gm.FID(features=lambda x: x[:, 0].flatten(1).float(), device="cpu", progress=False))
    with pytest.raises(OptionError, match="expected side to be one of"):
        one.reset("fakes")


def test_two_fed_sides_are_not_one_source(grey: torch.Tensor) -> None:
    metric = gm.FID(**OPTIONS)
    metric.update(grey[:20, None], side="real")
    metric.update(grey[20:, None])
    assert not [text for text in metric.compute().warnings if "same source" in text]


def test_an_extractor_that_is_trained_on(grey: torch.Tensor) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(5))
    network(torch.zeros(1, 3, 12, 12))

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.float())

    net = Net()
    metric = gm.FID(real=grey[:, None], features=net, device="cpu", progress=False)
    with torch.no_grad():
        network[1].weight.mul_(3)
    metric.update(grey[:, None])
    with pytest.raises(StatisticsError, match="its weights changed since"):
        metric.compute()


@pytest.mark.parametrize(("n", "bound"), [(29, 3), (39, 4)])
def test_the_bound_of_an_inception_score_holds(n: int, bound: int) -> None:
    metric = InceptionScore()
    metric.update(torch.eye(50)[torch.arange(n)] * 1e3)
    result = metric.compute()
    assert f"cannot exceed {bound}" in result.warnings[0]
    assert result.value <= bound


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_seeds_are_checked_before_work(grey: torch.Tensor, seed: float) -> None:
    with pytest.raises(OptionError, match="--seed: expected a whole number"):
        gm.inception_score(grey.numpy(), features="efficientnet-lite0", seed=seed)


def test_statistics_in_python_lead_on(grey: torch.Tensor, tmp_path: Path) -> None:
    file = gm.stats(grey[:20].numpy(), **OPTIONS)
    file.save(tmp_path / "real.npz")
    scores = [gm.fid(real, grey[20:].numpy(), **OPTIONS) for real in (file, tmp_path / "real.npz", grey[:20].numpy())]
    assert scores[0].value == pytest.approx(scores[1].value, rel=1e-10) == pytest.approx(scores[2].value, rel=1e-10)
    assert scores[0].protocol["features"] == "pixels"


def test_statistics_too_wide_to_keep(tmp_path: Path, rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (3, 80, 80, 3), dtype=np.uint8)
    with pytest.raises(StatisticsError, match="would hold a covariance of 3 GB"):
        gm.stats(images, **OPTIONS).save(tmp_path / "x.npz")


@pytest.mark.parametrize("dtype", [">f8", "<f4", "longdouble"])
def test_statistics_of_any_float(tmp_path: Path, dtype: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((50, 3))
    np.savez(tmp_path / "s.npz", mu=x.mean(0).astype(dtype), sigma=np.cov(x, rowvar=False).astype(dtype))
    assert gm.fid(tmp_path / "s.npz", tmp_path / "s.npz").value < 1e-6


def test_options_that_contradict_statistics(cli: Cli, tmp_path: Path, grey: torch.Tensor) -> None:
    for name, part in (("a", grey[:20]), ("b", grey[17:])):
        gm.stats(part.numpy(), **OPTIONS).save(tmp_path / f"{name}.npz")
    files = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]
    assert cli("fid", *files).code == 0
    for options in (["--protocol", "pytorch-fid"], ["--features", "efficientnet-lite0"]):
        ran = cli("fid", *files, *options)
        assert ran.code == 1
        assert "leave the option out or measure again" in ran.err


def test_statistics_remember_what_misleads(tmp_path: Path, rng: np.random.Generator) -> None:
    small, large = (rng.integers(0, 256, (20, size, size, 3), dtype=np.uint8) for size in (16, 24))
    real = write_folder(tmp_path / "real", small, "jpg")
    fake = write_folder(tmp_path / "fake", large)
    options = {"features": lambda x: x.float().mean((2, 3)), "device": "cpu", "progress": False}
    file = gm.stats(real, **options)
    warnings = " ".join(gm.fid(file, fake, **options).warnings)
    assert "real images are 16x16 and fake ones 24x24" in warnings
    assert "the real images are JPEG" in warnings
    assert "the same source" in " ".join(gm.fid(file, real, **options).warnings)


def test_files_that_look_like_images_are_told(tmp_path: Path, grey: torch.Tensor) -> None:
    folder = write_folder(tmp_path / "images", grey.numpy())
    for name in ("x.jfif", "y.heic", "z", "notes.txt"):
        (folder / name).write_bytes(b"")
    warnings = " ".join(gm.fid(grey.numpy(), folder, **OPTIONS).warnings)
    assert "1 .heic, 1 .jfif, 1 without extension left out" in warnings
    assert "txt" not in warnings


def test_ambient_modes_of_torch(grey: torch.Tensor) -> None:
    """Batches taken in under inference mode can be added to outside it; another default device does not reach in."""
    options = {"features": "efficientnet-lite0", "device": "cpu", "progress": False}
    images = grey[:8, None]
    with torch.inference_mode():
        metric = gm.FID(real=images, **options)
        metric.update(images)
    metric.update(images)
    expected = metric.compute().value
    torch.set_default_device("meta")
    try:
        other = gm.FID(real=images, **options)
        other.update(images)
        other.update(images)
        assert other.compute().value == pytest.approx(expected, abs=1e-3)
        assert gm.inception_score(images, splits=2, **options).value > 1
    finally:
        torch.set_default_device(None)


WIDER = """
import torch
from ganmetrics.runtime.arithmetic import exact_arithmetic

with exact_arithmetic(torch.device("cpu")):
    assert torch.backends.mkldnn.conv.fp32_precision == "ieee"
for wide in ("ieee", "tf32"):
    torch.backends.cudnn.fp32_precision = wide
    assert torch.backends.cudnn.conv.fp32_precision == wide
"""


def test_wider_switches_of_torch_still_work() -> None:
    """Writing back cuDNN's switch pins it against torch's wider one: a measurement on the CPU leaves it alone.

    In a process of its own, because `torch.export.export`, which other tests call, pins it as well.
    """
    if not hasattr(getattr(torch.backends.cudnn, "conv", None), "fp32_precision"):
        pytest.skip("torch before 2.9 has no wider switch")
    done = subprocess.run([sys.executable, "-c", WIDER], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_empty_batch(grey: torch.Tensor) -> None:
    metric = gm.FID(real=grey[:, None], **OPTIONS)
    with pytest.raises(GanMetricsError):
        metric.update(grey[:0, None])
