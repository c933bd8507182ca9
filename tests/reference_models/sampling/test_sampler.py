"""Samples of a trained generator: the same image of a seed whatever the batch, and where a model is loaded from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import reference_models
from ganmetrics.errors import OptionError
from reference_models.errors import CheckpointError
from reference_models.sampling.sampler import BLOCK, Model, load
from tests.helpers.runs import NEVER, run


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampler") / "run"
    scoring = reference_models.Scoring(every=4, features="pixels", n_samples=32)
    run("dcgan", folder, 8, cadence=reference_models.Cadence(scoring=scoring, progress=False))
    return folder


@pytest.fixture(scope="module")
def model(out: Path) -> Model:
    return load(out, device="cpu")


@pytest.mark.parametrize("batch_size", [1, 3, 31, 32, 33, 100, None])
@pytest.mark.parametrize("ema", [True, False])
def test_the_same_images_whatever_the_batch(model: Model, batch_size: int | None, ema: bool) -> None:
    whole = model.sample(70, seed=5, ema=ema)
    assert (whole.dtype, whole.shape) == (torch.uint8, (70, 1, 8, 8))
    batches = list(model.batches(70, seed=5, ema=ema, batch_size=batch_size))
    assert torch.equal(torch.cat(batches), whole)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size or 256}
    assert torch.equal(model.sample(70, seed=5, ema=ema, batch_size=batch_size), whole)


@pytest.mark.parametrize("n", [1, 7, 32, 45])
def test_few_are_the_first_of_many(model: Model, n: int) -> None:
    assert torch.equal(model.sample(n), model.sample(100)[:n])


@pytest.mark.parametrize("start", [1, 31, 32, 33, 64, 99])
def test_a_start_shares_a_seed(model: Model, start: int) -> None:
    assert torch.equal(model.sample(120 - start, start=start, batch_size=7), model.sample(120)[start:])


def test_seeds_and_averages_differ(model: Model) -> None:
    assert not torch.equal(model.sample(8), model.sample(8, seed=1))
    assert not torch.equal(model.sample(64), model.sample(64, ema=False))
    assert len({image.numpy().tobytes() for image in model.sample(64)}) == 64


def test_samples_are_the_network_on_its_latents(model: Model) -> None:
    """No more than rounding apart from one plain call, with latents from torch's generator."""
    z = torch.cat([torch.randn(BLOCK, 8, generator=torch.Generator().manual_seed(3 * 1_000_003 + b)) for b in (0, 1)])
    assert torch.equal(model.latents([0, 40, 5], seed=3), z[[0, 40, 5]])
    plain = ((model.network(ema=False)(z) + 1) * 127.5).round().to(torch.int16)
    assert int((plain - model.sample(64, seed=3, ema=False).to(torch.int16)).abs().max()) <= 1
    assert torch.equal(model.images(z[:10]), model.sample(10, seed=3))


def test_gradients_reach_the_latents(model: Model) -> None:
    z = model.latents(range(3)).requires_grad_()
    images = model(z)
    assert images.shape == (3, *model.image_shape)
    assert float(images.detach().abs().max()) <= 1
    images.square().sum().backward()
    assert z.grad is not None
    assert bool((z.grad.flatten(1).norm(dim=1) > 0).all())
    assert all(p.grad is None for p in model.network().parameters())


def test_nobodys_random_numbers_move(out: Path) -> None:
    import random

    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    load(out, device="cpu").sample(40, ema=False)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_where_a_model_is_loaded_from(out: Path, model: Model) -> None:
    assert model.step == 8
    assert load(str(out)).step == load(out / "last").step == 8
    best = load(out, which="best")
    assert best.checkpoint.path == out / "best"
    assert load(out / "best").step == best.step
    assert torch.equal(load(out / "best").sample(3), best.sample(3))
    assert torch.equal(load(out / "last").sample(3), model.sample(3))


def test_where_a_kill_left_the_checkpoint(out: Path, tmp_path: Path) -> None:
    """Between two renames; its own name was once not found."""
    import shutil

    shutil.copytree(out / "last", tmp_path / "run/last.new")
    assert load(tmp_path / "run").step == 8
    assert load(tmp_path / "run/last").step == 8


def test_errors_of_loading_in_their_exact_words(out: Path, tmp_path: Path) -> None:
    run("dcgan", tmp_path / "run", 0, cadence=NEVER)
    tail = "expected the --out of a `reference-models train`"
    (tmp_path / "empty").mkdir()
    for path, which, expected in (
        ("absent", "last", f"{tmp_path}/absent: no such folder; {tail}"),
        ("empty", "last", f"{tmp_path}/empty: holds no checkpoint; {tail}"),
        ("empty", "best", f"{tmp_path}/empty: holds no checkpoint; {tail}"),
        ("run", "best", f"{tmp_path}/run: was not scored, so it has no best checkpoint; train with --score-every"),
    ):
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / path, which=which)
        assert str(caught.value) == expected


def test_errors_of_sampling_in_their_exact_words(out: Path, model: Model) -> None:
    for call, expected in (
        (lambda: load(out, which="middle"), "which: expected last or best, got 'middle'"),
        (lambda: model.sample(0), "-n: expected a whole number from 1 to below 2^40, got 0"),
        (lambda: model.sample(2.5), "-n: expected a whole number from 1 to below 2^40, got 2.5"),
        (lambda: model.sample(1, seed=-1), "--seed: expected a whole number from 0 to below 2^31, got -1"),
        (lambda: model.sample(1, start=-1), "--start: expected a whole number from 0 to below 2^40, got -1"),
        (lambda: model.sample(1, batch_size=0), "batch_size: expected a whole number of at least 1, got 0"),
        (lambda: model(torch.zeros(2, 9)), "expected latents ('N', 8), got (2, 9)"),
    ):
        with pytest.raises(OptionError) as caught:
            call()
        assert str(caught.value) == expected
