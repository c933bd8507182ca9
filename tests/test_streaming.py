"""Metrics inside a training loop: batches in, the same score as from files out, and the loop left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import ImageError, OptionError, SourceError, StatisticsError
from tests.conftest import write_folder

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
    with pytest.raises(StatisticsError, match="at least 2 fake images, got 0"):
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
    with pytest.raises(OptionError, match="expected side to be one of real, fake, got 'fakes'"):
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
        ({"batchsize": 4}, "unknown option 'batchsize' (close to batch_size); expected some of allow_tf32, batch_size"),
        ({"batch_size": 0}, "--batch-size: expected a whole number of at least 1, got 0"),
        ({"on_error": "ignore"}, "--on-error: expected fail or skip, got 'ignore'"),
        ({"dtype": "float16x"}, "--dtype: expected one of float32, float64, bfloat16, float16, got 'float16x'"),
        ({"device": "gpu"}, "--device: expected auto, cpu, cuda or cuda:N, got 'gpu'"),
        ({"protocol": "fid"}, "--protocol: expected one of tensorflow, adm, pytorch-fid, torch-fidelity"),
        ({"ddof": 2}, "--ddof: expected 1 (divide by n - 1) or 0 (by n), got 2"),
    ],
)
def test_options_that_mean_nothing(images: torch.Tensor, options: dict, said: str) -> None:
    given = {"features": "inception" if "protocol" in options else "pixels", "progress": False, **options}
    with pytest.raises(OptionError) as caught:
        gm.fid(images, images, **given)
    assert said in str(caught.value)
    with pytest.raises(OptionError, match="leave it out with --features pixels"):
        gm.fid(images, images, features="pixels", protocol="tensorflow")


def test_batches_have_no_names_to_choose_by() -> None:
    with pytest.raises(OptionError, match=r"^--include fake:\*\.png: expected one of the sides real; leave fake: out"):
        gm.Evaluator(["fid"], features="pixels", include="fake:*.png")


# ------------------------------------------------------------------------------------------- in whole or not at all


class Faltering:
    """Means over cells of an image; the `fails`-th call from now on goes wrong in a way of its own."""

    def __init__(self, wrong: Callable[[torch.Tensor], torch.Tensor]):
        self.wrong, self.fails = wrong, 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.fails -= 1
        vectors = torch.nn.functional.avg_pool2d(images.float(), 16).flatten(1)
        return self.wrong(vectors) if self.fails == 0 else vectors


def too_much(vectors: torch.Tensor) -> torch.Tensor:
    raise MemoryError("no room")


WRONG = {
    "raises": (too_much, MemoryError, "no room"),
    "of other dimensions": (
        lambda v: v[:, 1:],
        StatisticsError,
        r"expected vectors of shape \(N, 12\), got \(8, 11\)",
    ),
    "bytes": (lambda v: v.to(torch.uint8), StatisticsError, "expected all vectors as bytes or all in floating point"),
    "not finite": (lambda v: v / 0, StatisticsError, "NaN or infinity"),
}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_is_kept_of_a_batch_that_fails(images: torch.Tensor, wrong: str, first: bool) -> None:
    """Its first stacks were, and vectors of one extractor without those of the other; a retry counted them twice."""
    spoil, error, said = WRONG[wrong]
    features, labels = Faltering(spoil), ["a", "b"] * 10
    asked = ["fid@pixels", "vendi", "fid", "class-fid"]
    given = {"features": features, "batch_size": 8, "device": "cpu", "progress": False}
    expected, tried = (gm.Evaluator(asked, **given) for _ in range(2))
    for one in (expected, tried):
        one.update(images[:20], side="real", labels=labels)
        if not first:
            one.update(images[10:20], labels=labels[:10])
    features.fails = 2
    with pytest.raises(error, match=said):
        tried.update(images[20:], labels=labels)
    for one in (expected, tried):
        one.update(images[20:], labels=labels)
    mine, theirs = tried.compute(), expected.compute()
    assert {name: score.value for name, score in mine.items()} == {name: score.value for name, score in theirs.items()}
    assert {score.n_fake for score in mine.values()} == {20 if first else 30}
    assert mine["fid"].warnings == theirs["fid"].warnings


def test_memory_that_an_extractor_uses_again(images: torch.Tensor) -> None:
    """As a compiled network may: its vectors of the batch before are gone at the next call."""
    held = torch.empty(8, 12)

    def again(batch: torch.Tensor) -> torch.Tensor:
        return held[: len(batch)].copy_(torch.nn.functional.avg_pool2d(batch.float(), 16).flatten(1))

    values = []
    for features in (again, lambda batch: again(batch).clone()):
        metric = gm.FID(features=features, batch_size=8, device="cpu", progress=False)
        metric.update(images[:20], side="real")
        metric.update(images[20:])
        values.append(metric.compute().value)
    assert values[0] == values[1] > 0


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (5, "labels: expected a sequence of 3, one for each image, got int"),
        ("cat", "labels: expected a sequence of 3, one for each image, got str"),
        ({1, 2, 3}, "labels: expected a sequence of 3, one for each image, got set"),
        (torch.tensor(5), "labels: expected the shape (3,), one for each image, got ()"),
        (np.zeros((3, 2)), "labels: expected the shape (3,), one for each image, got (3, 2)"),
        (["cat"], "labels: expected 3, one for each image, got 1"),
        (None, "class-fid: expected labels with every batch, got none"),
    ],
)
def test_labels_that_are_none(images: torch.Tensor, labels: Any, said: str) -> None:
    metric = gm.ClassFID(features="pixels", device="cpu", progress=False)
    with pytest.raises(OptionError) as caught:
        metric.update(images[:3], labels=labels)
    assert str(caught.value) == said


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_labels_of_every_kind(images: torch.Tensor, kind: Callable) -> None:
    metric = gm.ClassFID(features="pixels", device="cpu", progress=False)
    for side, whole in (("real", images[:20]), ("fake", images[20:])):
        metric.update(whole, side=side, labels=kind([i % 2 for i in range(20)]))
    assert set(metric.compute().protocol["per_class"]) == {"0", "1"}


def test_what_cannot_be_merged() -> None:
    given = {"features": "pixels", "device": "cpu", "progress": False}
    one = gm.Evaluator(["fid", "kid"], **given)
    for other, said in (
        (one, "merge: expected another Evaluator, got the same one; its images would count twice"),
        (gm.FID(**given), "merge: expected another Evaluator, got FID"),
        (5, "merge: expected another Evaluator, got int"),
        (gm.Evaluator("fid", **given), "merge: expected another Evaluator of fid, kid, got one of fid"),
    ):
        with pytest.raises(OptionError) as caught:
            one.merge(other)
        assert str(caught.value) == said


def test_one_metric_may_be_named_alone() -> None:
    """A string was taken letter by letter: expected some of fid, ..., got 'f'."""
    given = {"features": "pixels", "device": "cpu", "progress": False}
    assert list(gm.Evaluator("prdc", **given).values) == ["precision", "recall", "density", "coverage"]
    with pytest.raises(OptionError, match=r"^real: mifid compares with real images, got none; name a source of them$"):
        gm.Monitor(metrics="mifid", **given)
    with pytest.raises(OptionError, match=r"got 'fidd'$"):
        gm.Evaluator("fidd", **given)


def test_a_real_side_that_breaks_off_leaves_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    """What was read before the broken image once stayed, and a score came out over it."""
    folder = write_folder(tmp_path / "real", rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8))
    sorted(folder.iterdir())[15].write_bytes(b"no image")
    metric = gm.FID(features="pixels")
    with pytest.raises(ImageError):
        metric.read_real(folder)
    metric.update(torch.from_numpy(rng.integers(0, 256, (9, 3, 8, 8), dtype=np.uint8)))
    with pytest.raises(StatisticsError, match="real"):
        metric.compute()
