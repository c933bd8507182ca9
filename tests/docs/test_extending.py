"""docs/extending.md: its metric and its variant work from the page alone, one file and one line of the index each."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganmetrics as gm
import reference_models
from ganmetrics.metrics import index as metrics
from ganmetrics.report.words import sentence, title
from ganmetrics.streaming import streaming_class
from reference_models import index as variants
from tests.conftest import REPOSITORY
from tests.docs.test_reference_models import help_of

METRIC, METRIC_ENTRY, VARIANT, VARIANT_ENTRY = re.findall(
    r"^```python\n(.*?)^```$", (REPOSITORY / "docs" / "extending.md").read_text(), re.MULTILINE | re.DOTALL
)
OPTIONS = {"features": "pixels", "device": "cpu", "progress": False, "layout": "NCHW"}


def loaded(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of that name, as if its file were there."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, f"{name}.py", "exec"), vars(module))


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> metrics.Entry:
    made = eval(METRIC_ENTRY, vars(metrics))
    for listed in (metrics.METRICS, metrics.OF_IMAGES):
        monkeypatch.setitem(listed, made.name, made)
    loaded(f"ganmetrics.metrics.{made.module}", METRIC, monkeypatch)
    return made


def test_a_metric_from_the_page_alone(entry: metrics.Entry, rng: np.random.Generator, tmp_path: Path) -> None:
    real, fake = (torch.from_numpy(rng.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8)) for n in (30, 20))
    means = [x.numpy().reshape(len(x), -1).mean(axis=0) / 255 for x in (real, fake)]
    expected = ((means[0] - means[1]) ** 2).sum()
    scores = gm.evaluate(real, fake, ["fid", entry.name], **OPTIONS)
    assert scores[entry.name].value == pytest.approx(expected, rel=1e-6)
    assert scores[entry.name].better == "lower"
    streaming: Any = streaming_class(entry)(real=real, **OPTIONS)
    streaming.update(fake)
    assert streaming.compute().value == pytest.approx(expected, rel=1e-6)
    gm.stats(real, **OPTIONS).save(tmp_path / "real.npz")
    from_file = gm.evaluate(tmp_path / "real.npz", fake, [entry.name], **OPTIONS)[entry.name]
    assert from_file.value == pytest.approx(expected, rel=1e-6)
    assert (title(entry.name), sentence(entry.name)) == (entry.title, entry.says[entry.name])


def test_a_variant_from_the_page_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains, resumes, samples and has its field on the command line."""
    entry = eval(VARIANT_ENTRY, {"Entry": variants.Entry})
    loaded(f"reference_models.variants.{entry.name}", VARIANT, monkeypatch)
    monkeypatch.setitem(variants.VARIANTS, entry.name, entry)
    recipe = {"image_size": 8, "ngf": 4, "ndf": 4, "batch_size": 16, "margin": 0.5}
    quiet = reference_models.Cadence(progress=False)
    reference_models.train(entry.name, "digits", tmp_path / "run", recipe=recipe, max_steps=2, cadence=quiet)
    ended = reference_models.train(entry.name, None, tmp_path / "run", max_steps=3, resume=True, cadence=quiet)
    assert ended.made == 1
    assert reference_models.load(tmp_path / "run").variant.recipe.margin == 0.5
    assert "--margin" in help_of(["train", entry.name])
