"""What messages show of a user's objects: short, on one line, and never the repr of a network or a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ganmetrics as gm
from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.measurement.settings import Settings
from ganmetrics.printable import SHOWN, TOLD, brief, name_of, reason_of

IMAGES = torch.arange(4 * 3 * 8 * 8).reshape(4, 3, 8, 8).byte()
OPTIONS = {"features": "pixels", "device": "cpu", "progress": False}
NETWORK = nn.Sequential(*(nn.Linear(3, 3) for _ in range(200)))  # its repr has 202 lines


class Shelf(torch.utils.data.Dataset):
    """A dataset whose repr and items are long."""

    def __repr__(self) -> str:
        return repr(NETWORK)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> object:
        return {NETWORK: NETWORK}


class Odd:
    __name__ = "odd\n" * 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2, "2"),
        (None, "None"),
        (True, "True"),
        (2.5, "2.5"),
        (np.int64(3), repr(np.int64(3))),
        ("fid", "'fid'"),
        ("caf\udce9\n", r"'caf\udce9\n'"),
        (Path("a/b"), "'a/b'"),
        ((0, 1), "(0, 1)"),
        ([NETWORK], "[Sequential]"),
        ({"net": NETWORK}, "{'net': Sequential}"),
        (NETWORK, "Sequential"),
        (nn.Linear, "Linear"),
        (Shelf(), "Shelf"),
        (lambda x: x, "<lambda>"),
        (torch.zeros(2, 3), "Tensor of shape (2, 3)"),
        (np.zeros(4), "ndarray of shape (4,)"),
        (object(), "object"),
    ],
)
def test_a_value_in_brief(value: object, text: str) -> None:
    assert brief(value) == text


@pytest.mark.parametrize("value", ["x" * 1000, 10**1000, list(range(1000)), dict.fromkeys(range(9), NETWORK), Odd()])
def test_a_long_value_is_cut(value: object) -> None:
    for text in (brief(value), name_of(value)):
        assert "\n" not in text
    assert len(brief(value)) <= SHOWN


def test_a_long_reason_is_cut() -> None:
    assert len(reason_of(ValueError(repr(NETWORK)))) == TOLD


def one_line(call: Callable[[], object]) -> str:
    with pytest.raises(GanMetricsError) as caught:
        call()
    said = str(caught.value)
    assert "Linear(" not in said
    assert "\n" not in said
    assert len(said) < 400
    return said


# Fields that take any object as true or false, and those that this call does not use.
TAKEN = {"shuffle", "confidence", "cache", "progress", "n_samples", "data_root"}


@pytest.mark.parametrize("option", sorted({field.name for field in dataclasses.fields(Settings)} - TAKEN))
def test_a_network_as_any_option(option: str) -> None:
    one_line(lambda: gm.evaluate(IMAGES, IMAGES, ["fid"], **{**OPTIONS, option: NETWORK}))


CALLS = {
    "metrics": lambda: gm.evaluate(IMAGES, IMAGES, [NETWORK], **OPTIONS),
    "real": lambda: gm.fid(NETWORK, IMAGES, **OPTIONS),
    "dataset": lambda: gm.fid(Shelf(), IMAGES, **OPTIONS),
    "list": lambda: gm.fid([{NETWORK: 1}], IMAGES, **OPTIONS),
    "logits": lambda: gm.inception_score(IMAGES, features=NETWORK, device="cpu"),
    "protocol": lambda: gm.fid(IMAGES, IMAGES, features=NETWORK, protocol="clean-fid"),
    "batch": lambda: gm.FID(**OPTIONS).update(NETWORK),
    "side": lambda: gm.FID(**OPTIONS).update(IMAGES, side=NETWORK),
    "every": lambda: gm.Monitor(IMAGES, every=NETWORK, **OPTIONS),
    "best": lambda: gm.Monitor(IMAGES, best=NETWORK, **OPTIONS),
    "sampler": lambda: gm.Monitor(IMAGES, n_samples=2, **OPTIONS).measure(0, lambda n: NETWORK),
    "generator": lambda: gm.Monitor(IMAGES, n_samples=2, **OPTIONS).measure(0, lambda n: IMAGES[:n], generator=Shelf()),
    "inverted": lambda: gm.reconstruction_loss(NETWORK, IMAGES),
    "bandwidths": lambda: gm.parzen_log_likelihood(IMAGES, IMAGES, IMAGES, bandwidths=NETWORK),
    "memory": lambda: gm.parzen_log_likelihood(IMAGES, IMAGES, IMAGES, memory=NETWORK),
}


@pytest.mark.parametrize("place", CALLS)
def test_a_network_anywhere_else(place: str) -> None:
    one_line(CALLS[place])


def test_the_users_own_error_is_cut() -> None:
    def long(x: torch.Tensor) -> torch.Tensor:
        raise ValueError(f"cannot run {NETWORK}")

    with pytest.raises(OptionError) as caught:
        gm.fid(IMAGES, IMAGES, **{**OPTIONS, "features": long})
    assert str(caught.value).startswith("features long: ValueError: cannot run Sequential( (0): Linear(")
    assert len(str(caught.value)) < 500


NOT_FEATURES = [2, None, 2.5, [1], b"pixels", torch.zeros(3), Shelf(), "", "pixel", "module:", ":attribute"]
TAKERS = {
    "evaluate": lambda features: gm.evaluate("no such place", "nor this", features=features),
    "fid": lambda features: gm.fid("no such place", "nor this", features=features),
    "stats": lambda features: gm.stats("no such place", features=features),
    "Evaluator": lambda features: gm.Evaluator(["fid", "kid"], features=features),
    "FID": lambda features: gm.FID(features=features),
    "InceptionScore": lambda features: gm.InceptionScore(features=features),
    "Monitor": lambda features: gm.Monitor("no such place", features=features),
    "Settings": lambda features: Settings(features=features),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("features", NOT_FEATURES, ids=brief)
def test_what_is_no_extractor_is_refused_when_it_is_given(features: object, taker: str) -> None:
    with pytest.raises(OptionError) as caught:
        TAKERS[taker](features)
    accepted = "inception, efficientnet-lite0, pixels, timm or module:attribute"
    if not isinstance(features, str):
        accepted += ", or a callable from uint8 images (N, 3, H, W) to vectors (N, D)"
    assert str(caught.value) == f"--features: expected one of {accepted}, got {brief(features)}"
