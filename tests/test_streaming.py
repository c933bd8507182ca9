"""Metrics inside a training loop: batches in, the same score as from files out, and the loop left as it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, SourceError, StatisticsError

OPTIONS = {"features": "efficientnet-lite0", "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def images(photo_patches: Callable[..., np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(photo_patches(40, 32, 9)).permute(0, 3, 1, 2).contiguous()


def test_batches_equal_the_whole(images: torch.Tensor) -> None:
    real, fake = images[:20], images[20:]
    whole = gm.fid(real, fake, **OPTIONS)
    metric = gm.FID(real=real, **OPTIONS)
    for batch in fake.split(7):
        metric.update(batch)
    score = metric.compute()
    assert score.value == pytest.approx(whole.value, rel=1e-5)
    assert (score.metric, score.n_real, score.n_fake) == (whole.metric, 20, 20)
    assert score.protocol == whole.protocol
    assert float(score) == score.value


def test_reset_keeps_the_real_side(images: torch.Tensor) -> None:
    metric = gm.FID(real=images[:20], **OPTIONS)
    metric.update(images[20:30])
    first = metric.compute().value
    metric.reset()
    with pytest.raises(StatisticsError, match="at least 2 fake images, came 0"):
        metric.compute()
    metric.update(images[20:30])
    assert metric.compute().value == pytest.approx(first, rel=1e-6)


def test_tanh_and_sigmoid_outputs(images: torch.Tensor) -> None:
    """The same images as uint8, in (-1, 1) and in (0, 1); a range that is not stated is an error, never a guess."""
    fake = images[20:]
    expected = gm.fid(images[:20], fake, **OPTIONS).value
    for low, high in ((-1, 1), (0, 1)):
        metric = gm.FID(real=images[:20], **OPTIONS)
        metric.update(fake.float() / 255 * (high - low) + low, value_range=(low, high))
        assert metric.compute().value == pytest.approx(expected, rel=1e-6)
    with pytest.raises(SourceError, match=r"value_range=\(-1, 1\).*value_range=\(0, 1\)"):
        metric.update(fake.float() / 255)
    with pytest.raises(SourceError, match=r"value_range"):
        metric.update(fake.float() / 127.5 - 1, value_range=(0, 1))


def test_real_batches_and_merge(images: torch.Tensor) -> None:
    expected = gm.fid(images[:20], images[20:], **OPTIONS).value
    one, other = (gm.FID(**OPTIONS) for _ in range(2))
    one.update(images[:20], side="real")
    one.update(images[20:25])
    other.update(images[25:])
    one.merge(other)
    assert one.compute().value == pytest.approx(expected, rel=1e-6)
    with pytest.raises(OptionError, match="expected side to be one of real, fake, came 'fakes'"):
        one.update(images, side="fakes")


def test_inception_score_in_the_loop(images: torch.Tensor) -> None:
    metric = gm.InceptionScore(splits=2, **OPTIONS)
    for batch in images.split(11):
        metric.update(batch)
    whole = gm.inception_score(images, splits=2, **OPTIONS)
    assert metric.compute().value == pytest.approx(whole.value, rel=1e-6)
    assert whole.metric == "is-efficientnet-lite0"
    with pytest.raises(OptionError, match="takes no real source"):
        gm.InceptionScore(real=images, **OPTIONS)


def train(metric: gm.FID | None, images: torch.Tensor) -> list[torch.Tensor]:
    """A small loop with dropout and batch norm; scored every second step where there is a metric."""
    torch.manual_seed(0)
    generator = torch.nn.Sequential(
        torch.nn.Linear(8, 32), torch.nn.BatchNorm1d(32), torch.nn.Dropout(0.2), torch.nn.Linear(32, 3 * 8 * 8)
    )
    optimizer = torch.optim.Adam(generator.parameters())
    for step in range(4):
        fake = torch.tanh(generator(torch.randn(6, 8))).view(-1, 3, 8, 8)
        loss = (fake - images[:6, :, :8, :8] / 255).square().mean()
        if metric is not None and step % 2:
            metric.reset()
            metric.update(fake, value_range=(-1, 1))
            assert metric.compute().value > 0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in generator.parameters()]


def test_scoring_leaves_training_alone(images: torch.Tensor) -> None:
    """Random numbers, gradients and settings: with and without scores, training ends on the same bits."""
    without = train(None, images)
    scored = train(gm.FID(real=images[:20], **OPTIONS), images)
    assert all(torch.equal(one, other) for one, other in zip(without, scored, strict=True))


def test_a_generator_as_a_source(images: torch.Tensor) -> None:
    """A callable with a count, as torch-fidelity takes one; its images come in batches."""
    asked: list[int] = []

    def generator(n: int) -> torch.Tensor:
        asked.append(n)
        return images[:n].float() / 127.5 - 1

    score = gm.fid(images[20:], generator, n_samples=19, value_range=(-1, 1), batch_size=8, **OPTIONS)
    assert score.n_fake == sum(asked) == 19


def test_evaluate_reads_each_source_once(images: torch.Tensor) -> None:
    reads = []

    class Counting(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            reads.append(index)
            return images[20 + index], 0

    scores = gm.evaluate(images[:20], Counting(), ["fid", "is"], splits=2, **OPTIONS)
    assert sorted(reads) == list(range(20))
    assert set(scores) == {"fid", "is"}
    assert scores["fid"].value == pytest.approx(gm.fid(images[:20], images[20:], **OPTIONS).value, rel=1e-6)
    assert scores["is"].n_real is None
    assert gm.evaluate is not None  # importing the package's modules must not hide the function
    assert callable(gm.evaluate)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batchsize": 4}, "unknown option 'batchsize' (close to batch_size); expected some of batch_size, cache"),
        ({"batch_size": 0}, "--batch-size: expected a whole number of at least 1, came 0"),
        ({"on_error": "ignore"}, "--on-error: expected fail or skip, came 'ignore'"),
        ({"dtype": "float16x"}, "--dtype: expected one of float32, float64, bfloat16, came 'float16x'"),
        ({"device": "gpu"}, "--device: expected auto, cpu, cuda or cuda:N, came 'gpu'"),
        ({"protocol": "fid"}, "--protocol: expected one of tensorflow, pytorch-fid, torch-fidelity"),
        ({"ddof": 2}, "--ddof: expected 1 (divide by n - 1) or 0 (by n), came 2"),
    ],
)
def test_options_that_mean_nothing(images: torch.Tensor, options: dict, said: str) -> None:
    given = {"features": "inception" if "protocol" in options else "pixels", "progress": False, **options}
    with pytest.raises(OptionError) as caught:
        gm.fid(images, images, **given)
    assert said in str(caught.value)
    with pytest.raises(OptionError, match="leave it out with --features pixels"):
        gm.fid(images, images, features="pixels", protocol="tensorflow")
