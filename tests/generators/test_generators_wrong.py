"""One clear line for each generator that is none, or that says something wrong of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.generators import open_generator
from tests.helpers import generators as g

RANGE = "state it with --generator-range -1 1 (tanh) or --generator-range 0 1 (sigmoid) (generator_range=)"
WRONG = {
    "Nan": "generator Nan: makes NaN or infinity of samples of its prior; it diverged",
    "OutOfRange": "generator OutOfRange: says its images are in [0, 1], and they reach from -5.96 to 7.77; "
    "correct its value_range",
    "Detached": "generator Detached: no gradient passes through it to z; leave out detach(), no_grad() and "
    "inference_mode() inside of it",
    "NoGrad": "generator NoGrad: no gradient passes through it to z; leave out detach(), no_grad() and "
    "inference_mode() inside of it",
    "Batch": "generator Batch: expected images of shape (8, C, H, W) for 8 latents, got (1, 1, 4, 4)",
    "Flat": "generator Flat: expected images of shape (8, C, H, W) for 8 latents, got (8, 16)",
    "Noisy": "generator Noisy: its image of one latent changes from call to call or with the batch "
    "(noise of its own, or batch norm that was exported in training mode); make it depend on z alone",
    "Broken": "generator Broken: ValueError: no such layer (generators.py, line N)",
    "NeedsLabels": "generator NeedsLabels: TypeError: NeedsLabels.forward() missing 1 required positional argument: "
    "'y'; one that needs labels says how many kinds there are with n_classes",
    "Shapeless": "generator Shapeless: expected a callable with latent_shape, such as (100,), and value_range; "
    "its latent_shape is None",
    "Rangeless": f"generator Rangeless: does not say the range of its images; {RANGE}",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_it_is_one_line(name: str) -> None:
    import re

    with pytest.raises(GanMetricsError) as raised:
        open_generator(getattr(g, name)())
    assert re.sub(r"line \d+", "line N", str(raised.value)) == WRONG[name]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nowhere", "generator nowhere: no such file or folder; expected module:attribute, an exported program (.pt2) "
         "or a checkpoint's folder"),
        ("x.pt2", "generator x.pt2: no such file"),
        ("tests.helpers.generators:nothing", "generator tests.helpers.generators:nothing: cannot be imported: "
         "AttributeError: module 'tests.helpers.generators' has no attribute 'nothing'"),
        ("tests.helpers.generators:Picky", "generator tests.helpers.generators:Picky: cannot be made without "
         "arguments: TypeError: Picky.__init__() missing 1 required positional argument: 'size'"),
        ("tests.helpers.generators:number", "generator tests.helpers.generators:number: expected a callable with "
         "latent_shape, such as (100,), and value_range; its latent_shape is None"),
    ],
)  # fmt: skip
def test_unknown_specs(spec: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError) as raised:
        open_generator(spec)
    assert str(raised.value) == said


def test_files_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("no")
    (tmp_path / "x.pt2").write_text("no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match=r"x\.txt: of no known kind; expected module:attribute"):
        open_generator(tmp_path / "x.txt")
    with pytest.raises(OptionError, match="an exported program does not say the range of its images; state it with"):
        open_generator(tmp_path / "x.pt2")
    with pytest.raises(OptionError, match=r"x\.pt2: cannot be read as a program of torch\.export\.save: ") as raised:
        open_generator(tmp_path / "x.pt2", value_range=(0, 1))
    assert "\n" not in str(raised.value)
    with pytest.raises(GanMetricsError, match="holds no checkpoint; expected the --out of a `reference-models train`"):
        open_generator(tmp_path / "empty")


def test_a_stated_range() -> None:
    assert open_generator(g.Rangeless(), value_range=(-20, 20)).value_range == (-20, 20)
    with pytest.raises(OptionError, match=r"says its images are in \[-20, 20\]; leave --generator-range out"):
        open_generator(g.linear, value_range=(0, 1))


def test_a_range_of_which_half_is_unused_is_told() -> None:
    class Sigmoid(g.Small):
        value_range = (-1.0, 1.0)

    (said,) = open_generator(Sigmoid().eval()).warnings
    assert said.startswith("the generator says its images are in [-1, 1], and no value of 8 samples lies in the lower")


def test_a_range_that_is_much_too_wide_is_told() -> None:
    class Bytes(g.Small):
        value_range = None

    (said,) = open_generator(Bytes().eval(), value_range=(-2, 3)).warnings
    assert said.startswith("the generator says its images are in [-2, 3], and the values of 8 samples reach from 0")
    assert said.endswith(" alone: is its value_range right?")
    assert open_generator(Bytes().eval(), value_range=(0, 255)).warnings
    assert open_generator(Bytes().eval(), value_range=(0, 1)).warnings == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("n_classes", 0, "generator Linear: n_classes: expected a whole number of at least 1, got 0"),
        ("n_classes", "3", "generator Linear: n_classes: expected a whole number of at least 1, got '3'"),
        ("latent_bound", 0, "generator Linear: expected a latent_bound above 0, such as 1 for latents in [-1, 1], or "
         "None, got 0"),
        ("latent_bound", "1", "generator Linear: expected a latent_bound above 0, such as 1 for latents in [-1, 1], or "
         "None, got '1'"),
        ("value_range", "ab", "value_range: expected two numbers, low < high, such as (-1, 1), got 'ab'"),
    ],
)  # fmt: skip
def test_what_it_says_has_a_meaning(name: str, value: object, said: str) -> None:
    network = g.Linear()
    setattr(network, name, value)
    with pytest.raises(OptionError) as raised:
        open_generator(network)
    assert str(raised.value) == said
    with pytest.raises(OptionError, match=r"^--generator-range: expected two numbers, low < high"):
        open_generator(g.Linear(), value_range="ab")


def test_a_network_that_cannot_be_found_is_refused_before_it_changes() -> None:
    network = g.Small()

    class Hidden:
        latent_shape, value_range = (6,), (0.0, 1.0)

        def __call__(self, z: torch.Tensor) -> torch.Tensor:
            return network(z)

    with pytest.raises(OptionError) as raised:
        open_generator(Hidden())
    assert str(raised.value) == (
        "generator Hidden: runs a BatchNorm1d in training mode that is not among its attributes; hold the network as "
        "an attribute, or call its eval() first"
    )
    assert int(network.main[1].num_batches_tracked) == 0
    network.eval()
    assert open_generator(Hidden()).modules == []


def test_exported_programs_of_several_inputs(tmp_path: Path) -> None:
    program = torch.export.export(g.Classes(), (torch.randn(4, 5), torch.tensor([0, 1, 2, 0])))
    torch.export.save(program, tmp_path / "g.pt2")
    with pytest.raises(OptionError, match=r"expected a program of one input, latents \(N, ...\), got 2; export the"):
        open_generator(tmp_path / "g.pt2", value_range=(-20, 20))


def test_a_prior_of_another_kind() -> None:
    class Own(g.Linear):
        def latents(self, n: int) -> torch.Tensor:
            return torch.zeros(n, 5)

    with pytest.raises(
        OptionError, match=r"expected its latents\(range\(0, 8\), seed=20170411\) to give samples of its"
    ):
        open_generator(Own())
