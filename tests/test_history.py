"""The best step, and the history that a resumed run goes on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganmetrics as gm
from ganmetrics.errors import OptionError
from ganmetrics.history import History
from ganmetrics.metrics import OF_IMAGES
from ganmetrics.monitor import INCIDENTAL
from tests.metrics.test_invariants import fed, sides_of
from tests.test_monitor import PIXELS, digits, monitor, pictures

__all__ = ["digits"]  # a fixture


class Drifting:
    """Noise plus real images; the nearer a step is to 10, the more of the latter."""

    def __init__(self, digits: Tensor):
        self.digits, self.step = digits, 0

    def __call__(self, n: int) -> Tensor:
        real = torch.rand(n) < 1 - abs(self.step - 10) / 20
        return torch.where(real[:, None, None, None], self.digits[:n], pictures(n))


def followed(look: gm.Monitor, sampler: Drifting, steps: range) -> list[int]:
    """The steps at which the best so far came."""
    found = []
    for sampler.step in steps:
        look(sampler.step, sampler)
        found += [sampler.step] if look.is_best else []
    return found


def test_the_best_is_told(digits: Tensor, tmp_path: Path) -> None:
    told: list[int] = []
    options = {
        "every": 4,
        "history": tmp_path / "new" / "history.jsonl",
        "on_best": lambda step, scores: told.append(step),
    }
    look = monitor(digits, **options)
    assert look.best is None
    assert followed(look, Drifting(digits), range(22)) == told == [0, 4, 8]  # 12 is as near as 8
    lines = [json.loads(text) for text in (tmp_path / "new" / "history.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [["step", "scores", "best", "seconds", "real", "seed"]] * 6
    assert [(line["step"], line["best"]) for line in lines] == [
        (0, True), (4, True), (8, True), (12, False), (16, False), (20, False),
    ]  # fmt: skip
    values = {line["step"]: line["scores"]["fid"]["value"] for line in lines}
    assert look.best == (8, min(values.values()))
    history = gm.read_history(tmp_path / "new" / "history.jsonl")
    assert [line.step for line in history] == list(values)
    assert [line.scores["fid"].value for line in history] == list(values.values())
    assert history[0].scores["fid"].protocol["features"] == "pixels"


def test_higher_can_be_better(digits: Tensor) -> None:
    def one_of(kinds: int) -> Callable[[int], Tensor]:
        return lambda n: digits[:kinds].expand(n, 1, 8, 8)

    look = gm.Monitor(metrics=["is"], every=1, n_samples=8, splits=2, **{**PIXELS, "features": "efficientnet-lite0"})
    values = [look(step, one_of(kinds))["is"].value for step, kinds in enumerate((1, 8, 1))]
    assert values[1] > values[0] == values[2]
    assert look.best == (1, values[1])


def test_one_value_of_several_can_be_the_best(digits: Tensor, tmp_path: Path) -> None:
    """With an interval, which a history keeps."""
    path = tmp_path / "history.jsonl"
    options = {"metrics": ["fid", "prdc@pixels"], "best": "coverage@pixels", "confidence": True, "resamples": 100}
    look = monitor(digits, every=10, history=path, **options)
    assert followed(look, Drifting(digits), range(21)) == [0, 10]
    lines = gm.read_history(path)
    assert list(lines[0].scores) == [
        "fid",
        *(f"{name}@pixels" for name in ("precision", "recall", "density", "coverage")),
    ]
    assert look.best == (10, max(line.scores["coverage@pixels"].value for line in lines))
    for line in lines:
        low, high = line.scores["fid"].interval or (0.0, 0.0)
        assert 0 < low < high
    with pytest.raises(
        OptionError, match=r"^best: expected one of fid, precision, recall, density, coverage, got 'prdc'"
    ):
        monitor(digits, metrics=["fid", "prdc"], best="prdc")


def test_a_resumed_run_goes_on_with_its_best(digits: Tensor, tmp_path: Path) -> None:
    """Killed in the middle of a line behind step 12, and resumed from a checkpoint of step 6."""
    whole, parts = (monitor(digits, every=4, history=tmp_path / f"{name}.jsonl") for name in ("whole", "parts"))
    followed(whole, Drifting(digits), range(30))
    followed(parts, Drifting(digits), range(13))
    with open(tmp_path / "parts.jsonl", "a") as file:
        file.write('{"step": 16, "scores": {"fi')
    assert [line.step for line in gm.read_history(tmp_path / "parts.jsonl")] == [0, 4, 8, 12]
    resumed = monitor(digits, every=4, history=tmp_path / "parts.jsonl")
    assert resumed.best == parts.best
    assert followed(resumed, Drifting(digits), range(6, 30)) == [8]
    assert resumed.best == whole.best
    mine, theirs = (
        [(line.step, line.best, line.scores["fid"].value) for line in gm.read_history(tmp_path / f"{name}.jsonl")]
        for name in ("whole", "parts")
    )
    assert mine == theirs
    assert len((tmp_path / "parts.jsonl").read_text().splitlines()) == 4 + 6


def test_a_last_line_without_its_end_is_whole(digits: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    monitor(digits, history=path)(0, pictures)
    path.write_text(path.read_text().rstrip("\n"))
    assert [line.step for line in gm.read_history(path)] == [0]
    monitor(digits, history=path)(2, pictures)
    assert [line.step for line in gm.read_history(path)] == [0, 2]


def test_values_measured_otherwise_are_no_best(digits: Tensor, tmp_path: Path) -> None:
    """FID grows with fewer samples, so that a best of 100 of them says nothing about 50."""
    path = tmp_path / "history.jsonl"
    monitor(digits, history=path)(0, lambda n: digits[:n])
    look = monitor(digits, history=path, n_samples=50)
    scores = look(2, pictures)
    assert scores is not None
    assert look.is_best
    assert look.best == (2, scores["fid"].value)


def loader(images: Tensor) -> torch.utils.data.DataLoader:
    """A source that may give other images the next time, so that its name has to do."""
    return torch.utils.data.DataLoader(images, batch_size=50)


def statistics(images: Tensor) -> Any:
    return gm.stats(images, **PIXELS)


def with_real(options: dict[str, Any], digits: Tensor) -> dict[str, Any]:
    """Options whose real source is made of the first 200 digits, as they say."""
    return {**options, "real": options.get("real", lambda images: images)(digits[:200])}


@pytest.mark.parametrize(
    ("metric", "before", "after"),
    [
        ("fid", {"ddof": 1}, {"ddof": 0}),
        ("fid", {"seed": 0}, {"seed": 1}),
        ("fid", {}, {"real": lambda images: images.flip(-1)}),
        ("fid", {"real": statistics}, {"real": lambda images: statistics(images.flip(-1))}),
        ("fid", {"real": statistics}, {"real": loader}),
        ("kid", {}, {"subsets": 5, "subset_size": 20}),
        ("kid", {"subsets": 5, "subset_size": 20}, {"subsets": 5, "subset_size": 30}),
        ("prdc", {"k": 5}, {"k": 3}),
    ],
)
def test_a_best_of_another_way_does_not_count(
    digits: Tensor, tmp_path: Path, metric: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """The real images themselves are a better step than noise, unless they were measured in another way."""
    for step, options, sampler in ((0, before, lambda n: digits[:n]), (2, after, pictures)):
        look = monitor(digits, metrics=metric, history=tmp_path / "history.jsonl", **with_real(options, digits))
        look(step, sampler)
        assert look.is_best
    assert look.best is not None
    assert look.best[0] == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"confidence": True, "resamples": 100}),
        ({}, {"batch_size": 7, "cache": False}),
        ({}, {"real": lambda images: images.numpy().copy()}),
        ({"real": loader}, {"real": loader}),
        ({"real": statistics}, {"real": statistics}),
    ],
)
def test_a_best_of_the_same_way_counts(
    digits: Tensor, tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    for step, options, sampler in ((0, before, lambda n: digits[:n]), (2, after, pictures)):
        look = monitor(digits, history=tmp_path / "history.jsonl", **with_real(options, digits))
        look(step, sampler)
        assert look.is_best == (step == 0)
    assert look.best is not None
    assert look.best[0] == 0


@pytest.mark.parametrize("name", list(OF_IMAGES))
def test_the_images_do_not_change_the_way(name: str) -> None:
    """A key of a protocol that holds what was measured would make every step a best; `INCIDENTAL` names them."""
    one, other = (
        {
            value: {key: held for key, held in result.protocol.items() if key not in INCIDENTAL}
            for value, result in fed(name, sides_of(name, seed)).results().items()
        }
        for seed in (3, 4)
    )
    assert one == other


@pytest.mark.parametrize(
    "text", ["my only copy", '{"loss": 3', '{"step": 5, "loss": 0.3', '{"step": 5, "scores": [', "[1, 2]", "7", " "]
)
def test_the_end_of_a_foreign_file_stays(digits: Tensor, tmp_path: Path, text: str) -> None:
    """A text of one line lost it: whatever had no newline was taken for a line of ours cut short."""
    path = tmp_path / "notes.txt"
    path.write_text(text)
    for refused in (lambda: gm.read_history(path), lambda: monitor(digits, history=path)):
        with pytest.raises(OptionError) as caught:
            refused()
        assert str(caught.value) == f"{path}, line 1: expected the scores of one step, got {text.encode()!r}"
    assert path.read_text() == text


def test_a_line_cut_anywhere_is_taken_away(digits: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    monitor(digits, history=path)(500, pictures)
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        assert len(gm.read_history(path)) == 1
        assert len(History(path).lines) == 1
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file or directory; expected the history of a run"),
        ("not json\n", "line 1: expected the scores of one step, got b'not json'"),
        ('{"step": 1}\n', "line 1: expected the scores of one step"),
        ('{"step": 1, "scores": {"fid": 3}, "best": true, "seconds": 1}\n', "line 1: expected the scores of one step"),
    ],
)
def test_no_history(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "history.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionError) as caught:
        gm.read_history(path)
    assert said in str(caught.value)
    if text is not None:
        with pytest.raises(OptionError):
            gm.Monitor(history=path, **PIXELS, metrics=["is"])
