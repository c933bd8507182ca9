"""The reconstruction loss: the score, in a training loop, its picture and its command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.held_out import require_disjoint
from ganmetrics.metrics.inversion.search import METHODS, Search
from ganmetrics.metrics.reconstruction import ReconstructionLoss, mean_squared_errors
from ganmetrics.report.reconstructions import chosen
from tests.helpers import generators as g
from tests.helpers.commands import Cli
from tests.helpers.generators import photos, small


def test_the_score() -> None:
    network, images = small(), photos(30)
    found = gm.invert(network, images, steps=40, pool=64)
    score = gm.reconstruction_loss(network, images, steps=40, pool=64, progress=False)
    errors = found.errors.numpy()
    assert (score.metric, score.better, score.n_real) == ("reconstruction", "lower", 30)
    assert score.value == pytest.approx(errors.mean(), rel=1e-12)
    assert score.spread == pytest.approx(errors.std(ddof=1) / 30**0.5, rel=1e-12)
    p = score.protocol
    assert p["psnr"] == pytest.approx(-10 * np.log10(errors.mean()))
    assert dict(p["quantiles"])[0.5] == pytest.approx(np.median(errors))
    assert (p["method"], p["steps"], p["n_test"], p["value_range"]) == ("auto", 40, 30, [0.0, 1.0])
    assert p["passes_gradient"] == int(found.steps.sum())
    json.loads(score.to_json())
    assert any("images were still improving after 3 steps; give --steps more" in w
               for w in gm.reconstruction_loss(network, images, steps=3, pool=64, progress=False).warnings)  # fmt: skip


def test_values_do_not_depend_on_the_range() -> None:
    """A tanh and a sigmoid generator of the same images have the same score."""

    class Tanh(g.Small):
        value_range = (-1.0, 1.0)

        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z) * 2 - 1

    one, other = (gm.invert(make().eval(), photos(10), method="lbfgs", steps=50) for make in (g.Small, Tanh))
    torch.testing.assert_close(one.errors, other.errors, rtol=0, atol=1e-5)


def test_the_metric_alone_needs_no_generator(rng: np.random.Generator) -> None:
    made, test = (torch.from_numpy(rng.random((40, 12))) for _ in range(2))
    metric = ReconstructionLoss()
    for part in range(0, 40, 7):
        metric.update(made[part : part + 7], "generator")
        metric.update(test[part : part + 7], "test")
    expected = ((made - test) ** 2).mean(1)
    torch.testing.assert_close(mean_squared_errors(made, test), expected)
    result = metric.compute()
    assert result.value == pytest.approx(float(expected.mean()), rel=1e-12)
    metric.update(made[:1], "generator")
    with pytest.raises(StatisticsError, match="at least one, got 41 and 40"):
        metric.compute()


def test_inside_a_training_loop() -> None:
    images = photos(300)
    running, final = gm.running_and_final(images, n_running=20, n_final=50, seed=1)
    require_disjoint(running, final)
    watch = gm.Reconstruction(running, final=final, every=10, method="xiang-li", steps=5, progress=False)
    network = g.Small()
    scores = {step: watch.at(step, network) for step in (0, 5, 10)}
    assert scores[5] is None
    assert network.training
    assert scores[0].value == scores[10].value == watch.compute(network).value
    expected = gm.reconstruction_loss(network, running, method="xiang-li", steps=5, progress=False)
    assert scores[0].value == expected.value
    assert watch.compute_final(network).n_real == 50
    with pytest.raises(OptionError, match="Reconstruction: expected final images, got none"):
        gm.Reconstruction(running).compute_final(network)
    exact = gm.Reconstruction(running.double() / 255, value_range=(0, 1), method="xiang-li", steps=5, progress=False)
    assert exact.compute(network).value == pytest.approx(expected.value, rel=1e-5)


def test_one_image_has_no_standard_error() -> None:
    assert gm.reconstruction_loss(small(), photos(1), steps=1, pool=16, progress=False).spread is None


def test_a_step_that_is_none() -> None:
    watch = gm.Reconstruction(photos(2), method="xiang-li", steps=1, progress=False)
    with pytest.raises(OptionError, match=r"^step: expected a whole number of at least 0, got 'x'$"):
        watch.at("x", g.Small())


def test_running_and_final_images_share_none() -> None:
    images = photos(30)
    with pytest.raises(OptionError) as raised:
        gm.Reconstruction(images[:10], final=images[8:])
    assert str(raised.value) == (
        "running and final images: 2 are the same, and the running ones choose the checkpoint that the final ones "
        "judge; give disjoint sets (running_and_final makes them of one source)"
    )
    with pytest.raises(OptionError, match=r"expected at least 31 different images \(1 running, 30 final\), got 30"):
        gm.running_and_final(torch.cat([images, images]), n_running=1, n_final=30)
    running, final = gm.running_and_final(torch.cat([images, images]), n_running=10, n_final=20)
    require_disjoint(running, final)


def test_who_is_in_the_picture() -> None:
    errors = torch.arange(20.0)
    assert chosen(errors, 3) == {"worst": [19, 18, 17], "median": [11, 10, 9], "best": [2, 1, 0]}
    assert chosen(torch.tensor([0.5])) == {"worst": [0], "median": [], "best": []}
    assert chosen(torch.tensor([3.0, 1.0, 2.0])) == {"worst": [0], "median": [2], "best": [1]}


def test_command_line(cli: Cli, tmp_path: Path) -> None:
    images = photos(9)
    np.save(tmp_path / "test.npy", images.numpy())
    options = ["--steps", "10", "--pool", "32", "--quiet"]
    ran = cli("reconstruction", "tests.helpers.generators:Small", "test.npy", *options, "--json", "--save", "grid.png")
    (score,) = ran.scores if not ran.err else [json.loads(ran.out)]
    expected = gm.reconstruction_loss(g.Small(), images, steps=10, pool=32)
    assert score["value"] == pytest.approx(expected.value, rel=1e-9)
    assert score["protocol"]["generator"] == "tests.helpers.generators:Small"
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.width >= 640
    plain = cli("reconstruction", "tests.helpers.generators:Small", "test.npy", *options, "--n-images", "4")
    assert plain.out.startswith("reconstruction 0.")
    assert "4 test, " in plain.out
    assert "auto, at most 10 steps; PSNR " in plain.out
    one = cli(
        "reconstruction", "tests.helpers.generators:Small", "test.npy", *options, "--n-images", "1", "--save", "1.png"
    )
    assert one.code == 0


MISTAKES = {
    "is there": (["--save", "old.png"], "--save old.png: exists already; choose another name or give --overwrite"),
    "no picture": (["--save", "x.jpg"], "--save: expected a name that ends in .png, got 'x.jpg'"),
    "no folder": (["--save", "no/x.png"], "--save no/x.png: its folder does not exist or cannot be written to"),
    "no rule": (["--resize"], "--resize: generator tests.helpers.generators:Small does not say how its training images "
                "were prepared; prepare the test images yourself and leave it out"),
    "labels": (["--labels", "2"], "labels: generator tests.helpers.generators:Small says no n_classes, so it takes "
               "none; leave them out"),
    "device": (["--device", "cuda:99"], "--device cuda:99: this machine has N CUDA devices; use --device cpu"),
    "bound": (["--bound", "-1"], "--bound: expected a number above 0, such as 1 for a uniform prior, got -1.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_clear_line(cli: Cli, tmp_path: Path, case: str) -> None:
    np.save(tmp_path / "test.npy", photos(3).numpy())
    (tmp_path / "old.png").touch()
    arguments, said = MISTAKES[case]
    ran = cli("reconstruction", "tests.helpers.generators:Small", "test.npy", *arguments)
    assert ran.error == said.replace("N CUDA", f"{torch.cuda.device_count()} CUDA")
    assert (tmp_path / "old.png").stat().st_size == 0


def test_defaults_are_said_in_one_place() -> None:
    from ganmetrics.commands.reconstruction import reconstruction

    said = {option.name: option for option in reconstruction.params}
    assert list(said["method"].type.choices) == list(METHODS)
    for name in ("method", "restarts", "prior_weight", "perceptual_weight", "pool", "dtype"):
        assert said[name].default == getattr(Search(), name), name
