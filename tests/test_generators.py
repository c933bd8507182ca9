"""`open_generator`: every kind of generator, left exactly as it was, and one clear line for each that is none."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch

import ganmetrics as gm
import reference_models
from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.generators import open_generator
from tests import generators as g

RANGE = "state it with --generator-range -1 1 (tanh) or --generator-range 0 1 (sigmoid) (generator_range=)"
WRONG = {
    "Nan": "generator Nan: makes NaN or infinity of samples of its prior; it diverged",
    "OutOfRange": "generator OutOfRange: says its images are in [0, 1], and they reach from -5.96 to 7.77; "
    "correct its value_range",
    "Detached": "generator Detached: no gradient passes through it to z; leave out detach(), no_grad() and "
    "inference_mode() inside of it",
    "NoGrad": "generator NoGrad: no gradient passes through it to z; leave out detach(), no_grad() and "
    "inference_mode() inside of it",
    "Batch": "generator Batch: expected images of shape (8, C, H, W) for 8 latents, came (1, 1, 4, 4)",
    "Flat": "generator Flat: expected images of shape (8, C, H, W) for 8 latents, came (8, 16)",
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
        ("tests.generators:nothing", "generator tests.generators:nothing: cannot be imported: AttributeError: module "
         "'tests.generators' has no attribute 'nothing'"),
        ("tests.generators:Picky", "generator tests.generators:Picky: cannot be made without arguments: TypeError: "
         "Picky.__init__() missing 1 required positional argument: 'size'"),
        ("tests.generators:number", "generator tests.generators:number: expected a callable with latent_shape, such "
         "as (100,), and value_range; its latent_shape is None"),
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


def test_by_name_by_object_and_by_function() -> None:
    z = torch.randn(3, 5)
    expected = (g.linear(z) + 20) / 40
    for spec in ("tests.generators:linear", "tests.generators:Linear", g.linear):
        opened = open_generator(spec)
        assert (opened.latent_shape, opened.image_shape) == ((5,), (1, 4, 4))
        torch.testing.assert_close(opened(z), expected)

    class Plain:
        latent_shape, value_range = [5], (-20, 20)

        def __init__(self) -> None:
            self.network = g.Linear()

        def __call__(self, z: torch.Tensor) -> torch.Tensor:
            return self.network(z)

    opened = open_generator(Plain())
    torch.testing.assert_close(opened(z), expected)
    assert opened.modules
    assert opened.describe()["generator_sha256"] == open_generator(g.linear).describe()["generator_sha256"]


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
        ("n_classes", 0, "generator Linear: n_classes: expected a whole number of at least 1, came 0"),
        ("n_classes", "3", "generator Linear: n_classes: expected a whole number of at least 1, came '3'"),
        ("latent_bound", 0, "generator Linear: expected a latent_bound above 0, such as 1 for latents in [-1, 1], or "
         "None, came 0"),
        ("latent_bound", "1", "generator Linear: expected a latent_bound above 0, such as 1 for latents in [-1, 1], or "
         "None, came '1'"),
        ("value_range", "ab", "value_range: expected two numbers, low < high, such as (-1, 1), came 'ab'"),
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_runs_as_it_is(dtype: torch.dtype) -> None:
    exact, half = g.small(), g.small().to(dtype)
    opened = open_generator(half)
    assert opened.dtype == torch.float32
    assert opened.warnings == [
        f"the generator runs in {str(dtype)[6:]}, whose rounding hides small steps from a search; "
        ".float() reaches lower errors"
    ]
    found, expected = (gm.invert(one, g.photos(6), method="xiang-li", steps=50) for one in (half, exact))
    torch.testing.assert_close(found.errors, expected.errors, rtol=0.1, atol=0)
    assert half.main[0].weight.dtype == dtype


class Holder:
    """A generator that holds its network two levels deep."""

    latent_shape, value_range = (6,), (0.0, 1.0)

    def __init__(self, network: torch.nn.Module):
        self.parts = {"held": [types.SimpleNamespace(network=network)]}

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        return self.parts["held"][0].network(z)


def test_a_network_that_is_held_deep_is_found() -> None:
    network = g.Small()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    opened = open_generator(Holder(network))
    assert opened.modules == [network]
    assert opened.describe()["generator_sha256"] == open_generator(network).describe()["generator_sha256"]
    assert all(part.training for part in network.modules())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_a_network_that_cannot_be_found_is_refused_before_it_changes() -> None:
    network = g.Small()

    class Hidden:
        latent_shape, value_range = (6,), (0.0, 1.0)

        def __call__(self, z: torch.Tensor) -> torch.Tensor:
            return network(z)

    with pytest.raises(OptionError) as raised:
        open_generator(Hidden())
    assert str(raised.value) == (
        "generator Hidden: runs a BatchNorm1d in training mode that cannot be seen to be its own; hold the network as "
        "an attribute, or call its eval() first"
    )
    assert int(network.main[1].num_batches_tracked) == 0
    network.eval()
    assert open_generator(Hidden()).modules == []


@pytest.mark.parametrize("dynamic", [True, False])
def test_exported_programs(tmp_path: Path, dynamic: bool) -> None:
    network = g.Small().eval()
    shapes = {"z": {0: torch.export.Dim("n")}} if dynamic else None
    torch.export.save(torch.export.export(network, (torch.randn(4, 6),), dynamic_shapes=shapes), tmp_path / "g.pt2")
    opened = open_generator(tmp_path / "g.pt2", value_range=(0, 1))
    z = torch.randn(11, 6)
    torch.testing.assert_close(opened(z), network(z))
    assert opened.latent_shape == (6,)
    with torch.no_grad():
        targets = network(torch.randn(5, 6) / 2)
    found = gm.invert(tmp_path / "g.pt2", targets, value_range=(0, 1), generator_range=(0, 1), pool=64)
    direct = gm.invert(network, targets, value_range=(0, 1), pool=64)
    torch.testing.assert_close(found.errors, direct.errors, rtol=0, atol=1e-6)


def test_exported_programs_of_several_inputs(tmp_path: Path) -> None:
    program = torch.export.export(g.Classes(), (torch.randn(4, 5), torch.tensor([0, 1, 2, 0])))
    torch.export.save(program, tmp_path / "g.pt2")
    with pytest.raises(OptionError, match=r"expected a program of one input, latents \(N, ...\), came 2; export the"):
        open_generator(tmp_path / "g.pt2", value_range=(-20, 20))


def test_nothing_of_the_generator_changes() -> None:
    network = g.Small()
    network.main[1].eval()  # a mode of its own, inside a network in training mode
    network.main[0].bias.requires_grad_(False)
    network.main[4].weight.grad = torch.ones_like(network.main[4].weight)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    needs = [p.requires_grad for p in network.parameters()]
    random = torch.get_rng_state()
    targets = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for method in ("auto", "xiang-li", "adam", "lbfgs"):
        gm.invert(network, targets, method=method, steps=3, restarts=2, pool=32)
    assert torch.equal(torch.get_rng_state(), random)
    assert [part.training for part in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == needs
    grads = [p.grad for p in network.parameters()]
    assert torch.equal(grads.pop(-2), torch.ones_like(network.main[4].weight))
    assert all(grad is None for grad in grads)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_it_comes_back_as_it_was_after_an_error() -> None:
    class Fails(g.Small):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            if z.abs().max() > 50:
                return super().forward(z) * torch.nan
            return super().forward(z)

    network = Fails()
    opened = open_generator(network)
    opened.prior = lambda n, seed=0: torch.full((n, 6), 100.0)
    with pytest.raises(GanMetricsError, match="makes NaN or infinity, or its gradient does, while its latent is optim"):
        gm.invert(opened, torch.zeros(1, 3, 8, 8, dtype=torch.uint8), pool=16)
    assert all(part.training for part in network.modules())
    assert all(p.requires_grad for p in network.parameters())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "dcgan"
    recipe = {"image_size": 8, "ngf": 4, "ndf": 4, "batch_size": 16}
    reference_models.train(
        "dcgan", "digits", folder, recipe=recipe, max_steps=2, cadence=reference_models.Cadence(progress=False)
    )
    return folder


def test_a_checkpoint_by_its_entry_point(run: Path) -> None:
    for path in (run, run / "last"):
        score = gm.reconstruction_loss(path, "digits[0:6]", steps=5, pool=32, progress=False)
        assert score.n_real == 6
        assert score.protocol["value_range"] == [-1.0, 1.0]
    direct = gm.reconstruction_loss(reference_models.load(run), "digits[0:6]", steps=5, pool=32, progress=False)
    assert direct.value == score.value
    assert direct.protocol["generator_sha256"] == score.protocol["generator_sha256"] is not None


def test_its_own_prior_is_the_pool(run: Path) -> None:
    model = reference_models.load(run)
    assert torch.equal(open_generator(model).prior(7, seed=5), model.latents(range(7), seed=5))


def test_a_prior_of_another_kind() -> None:
    class Own(g.Linear):
        def latents(self, n: int) -> torch.Tensor:
            return torch.zeros(n, 5)

    with pytest.raises(OptionError, match=r"expected its latents\(range\(8\), seed=20170411\) to give samples of its"):
        open_generator(Own())


def test_resize_as_the_checkpoint_says(run: Path) -> None:
    photo = torch.randint(0, 256, (3, 3, 20, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(OptionError, match=r"test images are 16x20 RGB, and generator \S+ makes 8x8 grey: prepare them"):
        gm.reconstruction_loss(run, photo, steps=2, pool=16)
    score = gm.reconstruction_loss(run, photo, steps=2, pool=16, resize=True)
    assert score.protocol["resize"] == "shorter side by antialiased bilinear, centre cut out"
    from reference_models.data import coloured, sized

    by_hand = gm.reconstruction_loss(run, coloured(sized(photo, 8), 1), steps=2, pool=16)
    assert by_hand.value == score.value
    assert by_hand.protocol["resize"] is None
    watch = gm.Reconstruction(photo, final=photo[1:] ^ 1, resize=True, steps=2, pool=16, progress=False)
    assert watch.compute(reference_models.load(run)).value == score.value
    assert watch.compute(reference_models.load(run)).protocol["resize"] == score.protocol["resize"]
    assert watch.compute_final(reference_models.load(run)).n_real == 2
    with pytest.raises(OptionError, match="--resize: generator Linear does not say how its training images were prep"):
        gm.reconstruction_loss(g.linear, photo, resize=True)
