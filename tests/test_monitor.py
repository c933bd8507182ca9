"""`gm.Monitor`: scores at the steps that are due, and what is refused in a line."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import ganmetrics as gm
from ganmetrics.errors import ImageError, OptionError, SourceError, StatisticsError

PIXELS: dict[str, Any] = {"features": "pixels", "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return torch.from_numpy((load_digits().images / 16 * 255).astype(np.uint8))[:, None]


def pictures(n: int) -> Tensor:
    """From the global random numbers, uint8."""
    return torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8)


def monitor(digits: Tensor, **options: Any) -> gm.Monitor:
    return gm.Monitor(**{"real": digits[:200], "every": 2, "n_samples": 100, **PIXELS, **options})


class Generator(nn.Sequential):
    """Batch norm, one of them frozen, dropout, and noise of its own as StyleGAN's."""

    latent_shape, value_range = (8,), (-1.0, 1.0)

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Dropout(0.3), nn.ReLU(), nn.Linear(32, 64), nn.BatchNorm1d(64),
            nn.Tanh(), nn.Unflatten(1, (1, 8, 8)),
        )  # fmt: skip
        self[5].eval()

    def forward(self, z: Tensor) -> Tensor:
        return (super().forward(z) + 0.01 * torch.randn(1)).clamp(-1, 1)


# ---------------------------------------------------------------------------------------------------------- the scores


def test_scores_are_those_of_the_library(digits: Tensor) -> None:
    """The same images through `gm.evaluate`, and the same latents at each step."""
    look = monitor(digits[:9], metrics=["fid", "is"], splits=2, features="efficientnet-lite0", n_samples=12, seed=5)
    drawn: list[Tensor] = []

    def sampler(n: int) -> Tensor:
        drawn.append(pictures(n))
        return drawn[-1]

    scores = look(0, sampler)
    assert look(1, sampler) is None
    assert scores is not None
    torch.manual_seed(1)
    again = look(2, sampler)
    assert again is not None
    assert torch.equal(drawn[0], drawn[1])
    torch.manual_seed(5)
    assert torch.equal(drawn[0], pictures(12))
    options = {**PIXELS, "features": "efficientnet-lite0", "splits": 2}
    expected = gm.evaluate(digits[:9], drawn[0], ["fid", "is"], **options)
    for name, score in expected.items():
        assert scores[name].value == again[name].value
        assert scores[name].value == pytest.approx(score.value, rel=1e-6)
        assert (scores[name].n_fake, scores[name].metric) == (12, score.metric)


@pytest.mark.parametrize(("n", "size", "asked"), [(100, 64, [64, 36]), (128, 64, [64, 64]), (2, 64, [2])])
def test_batches_add_up(digits: Tensor, n: int, size: int, asked: list[int]) -> None:
    drawn: list[int] = []
    look = monitor(digits, n_samples=n, batch_size_samples=size)
    scores = look(0, lambda n: (drawn.append(n), pictures(n))[1])
    assert scores is not None
    assert (drawn, scores["fid"].n_fake) == (asked, n)


def test_every_way_to_name_a_generator(digits: Tensor) -> None:
    """The same network in evaluation mode, so the same score; each flag as it was, the frozen batch norm's too."""
    torch.manual_seed(0)
    G = Generator()
    look = monitor(digits, value_range=(-1, 1))

    class Held:
        latent_shape, value_range = (8,), (-1.0, 1.0)

        def __init__(self) -> None:
            self.network = G

        def __call__(self, z: Tensor) -> Tensor:
            return self.network(z)

        def sample(self, n: int) -> Tensor:
            return self.network(torch.randn(n, 8))

    G.sample = lambda n: G(torch.randn(n, 8))
    before = copy.deepcopy(G.state_dict()), [part.training for part in G.modules()]
    assert before[1].count(False) == 1
    values = [
        scores["fid"].value
        for scores in (
            look.measure(0, G),
            look.measure(0, Held()),
            look.measure(0, Held().sample),
            look.measure(0, lambda n: G(torch.randn(n, 8)), generator=G),
            look.measure(0, lambda n: G(torch.randn(n, 8)), generator=[nn.Linear(1, 1), G]),
            look.measure(0, lambda n: G(torch.randn(n, 8)), generator=iter([G])),
        )
    ]
    assert len(set(values)) == 1
    assert [part.training for part in G.modules()] == before[1]
    assert all(torch.equal(value, G.state_dict()[name]) for name, value in before[0].items())


def test_an_own_prior_and_classes(digits: Tensor) -> None:
    """Latents by their numbers and seed, as the reference models have them; labels of a conditional generator."""
    seen: list[tuple[Tensor, Tensor]] = []

    class Conditional:
        latent_shape, value_range, n_classes, device = (3,), (0.0, 1.0), 5, "cpu"

        def latents(self, indices: range, *, seed: int) -> Tensor:
            return torch.tensor([[index, seed, 0] for index in indices])

        def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
            seen.append((z, labels))
            return torch.rand(len(z), 1, 8, 8)

    monitor(digits, seed=7, n_samples=9, batch_size_samples=6)(0, Conditional())
    z, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
    assert z[:, 0].tolist() == list(range(9))
    assert set(z[:, 1].tolist()) == {7}
    assert labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]


def test_nothing_is_left_of_a_step_that_failed(digits: Tensor) -> None:
    G = Generator()
    look = monitor(digits, value_range=(-1, 1))
    expected = look.measure(0, G)["fid"].value
    torch.manual_seed(1)
    following = torch.rand(1)
    torch.manual_seed(1)
    with pytest.raises(ZeroDivisionError):
        look(2, lambda n: G(torch.randn(n, 8)) if n == 64 else 1 / 0, generator=G)
    assert torch.equal(torch.rand(1), following)
    assert [part.training for part in G.modules()].count(False) == 1
    assert not look.is_best
    assert look.measure(4, G)["fid"].value == expected


def test_images_with_labels(digits: Tensor) -> None:
    """For metrics over classes; the others leave the labels alone."""
    look = monitor(digits)
    labelled = look.measure(0, lambda n: (pictures(n), ["cat"] * n))["fid"]
    assert labelled.value == look.measure(0, pictures)["fid"].value
    with pytest.raises(OptionError, match=r"^labels: expected 64, one for each image, got 1$"):
        look(2, lambda n: (pictures(n), ["cat"]))


@pytest.mark.parametrize("conditional", [True, False])
def test_a_conditional_generator_is_measured_class_by_class(digits: Tensor, conditional: bool) -> None:
    """One that draws the digit it is asked for, and one that draws the next."""
    target = torch.from_numpy(load_digits().target)

    class Drawing:
        latent_shape, value_range, n_classes = (2,), (0.0, 1.0), 10

        def __init__(self, shift: int):
            self.shift = shift

        def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
            kinds = (labels + self.shift) % 10
            chosen = [int(torch.nonzero(target == kind)[torch.randint(100, ())]) for kind in kinds]
            return digits[chosen] / 255

        def sample(self, n: int) -> tuple[Tensor, list[str]]:
            labels = torch.arange(n) % 10
            return self(torch.zeros(n), labels), [str(int(label)) for label in labels]

    look = monitor(digits, real="digits", metrics=["class-fid"], value_range=(0, 1), n_samples=200)
    right, wrong = (
        look.measure(0, Drawing(shift) if conditional else Drawing(shift).sample)["class-fid"].value for shift in (0, 1)
    )
    assert right < wrong / 3


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0}, "every: expected a whole number of at least 1, got 0"),
        ({"every": 2.5}, "every: expected a whole number of at least 1, got 2.5"),
        ({"n_samples": 1}, "n_samples: expected a whole number of at least 2, got 1"),
        ({"batch_size_samples": 0}, "batch_size_samples: expected a whole number of at least 1, got 0"),
        ({"best": "fidd"}, "best: expected one of fid, got 'fidd'"),
        ({"best": "is"}, "best: expected one of fid, got 'is'"),
        ({"real": None}, "real: fid compares with real images, got none; name a source of them"),
        ({"metrics": ["is"]}, "is: compares with nothing, so it takes no real source"),
        ({"history": "/dev/null/x"}, "history /dev/null/x: cannot be written: "),
        ({"generator": None}, "unknown option 'generator'"),
    ],
)
def test_what_cannot_be_watched(digits: Tensor, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        monitor(digits, **options)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def unranged(n: int) -> Tensor:
    return torch.rand(n, 1, 8, 8)


def training_mode(n: int) -> Tensor:
    return Generator()(torch.randn(n, 8))


@pytest.mark.parametrize(
    ("sampler", "generator", "error", "said"),
    [
        (lambda n: pictures(n - 1), None, OptionError, "sampler: asked for 64 images, it gave (63, 1, 8, 8)"),
        (lambda n: None, None, SourceError, "fake batch: expected a tensor or an array of images, got NoneType"),
        (lambda n: [1, 2], None, SourceError, "fake batch: expected a tensor or an array of images, got list"),
        (unranged, None, SourceError, "fake batch: floating-point images need their range: value_range=(-1, 1)"),
        (pictures(4), None, OptionError, "sampler: expected a function of a number of images, got Tensor"),
        (pictures, "G", OptionError, "generator: expected a torch.nn.Module or several, got str"),
        (pictures, 3, OptionError, "generator: expected a torch.nn.Module or several, got int"),
        (training_mode, None, OptionError, "sampler: runs a BatchNorm1d in training mode; name the network"),
    ],
)  # fmt: skip
def test_a_sampler_that_does_not_sample(digits: Tensor, sampler: Any, generator: Any, error: type, said: str) -> None:
    with pytest.raises(error) as caught:
        monitor(digits)(0, sampler, generator=generator)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_generator_that_diverged_is_told(digits: Tensor) -> None:
    with pytest.raises(ImageError, match=r"^fake batch\[0\]: holds NaN or infinite values$"):
        monitor(digits, value_range=(0, 1))(0, lambda n: unranged(n) * torch.nan)


def test_modes_can_be_left_alone(digits: Tensor) -> None:
    assert monitor(digits, value_range=(-1, 1))(0, training_mode, generator=[]) is not None


@pytest.mark.parametrize("step", [-1, 1.5, None, True])
def test_steps_are_whole_numbers(digits: Tensor, step: Any) -> None:
    with pytest.raises(OptionError, match=r"^step: expected a whole number of at least 0, got"):
        monitor(digits)(step, pictures)


def test_too_few_samples_for_a_score_are_an_error(digits: Tensor) -> None:
    with pytest.raises(StatisticsError, match="real images"):
        gm.Monitor(digits[:1], **PIXELS)(0, pictures)


def test_too_few_samples_are_told_at_once() -> None:
    with pytest.raises(StatisticsError, match=r"prdc|neighbour|at least"):
        gm.Monitor(real="digits", metrics=["prdc"], features="pixels", n_samples=4)
