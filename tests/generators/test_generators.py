"""`open_generator`: every kind of generator, left exactly as it was."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch

import ganmetrics as gm
import reference_models
from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.generators import open_generator
from tests.helpers import generators as g


def test_by_name_by_object_and_by_function() -> None:
    z = torch.randn(3, 5)
    expected = (g.linear(z) + 20) / 40
    for spec in ("tests.helpers.generators:linear", "tests.helpers.generators:Linear", g.linear):
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


def test_resize_as_the_checkpoint_says(run: Path) -> None:
    photo = torch.randint(0, 256, (3, 3, 20, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(OptionError, match=r"test images are 16x20 RGB, and generator \S+ makes 8x8 grey: prepare them"):
        gm.reconstruction_loss(run, photo, steps=2, pool=16)
    score = gm.reconstruction_loss(run, photo, steps=2, pool=16, resize=True)
    assert score.protocol["resize"] == "shorter side by antialiased bilinear, centre cut out"
    from ganmetrics.images.preparation import prepared

    by_hand = gm.reconstruction_loss(run, prepared(photo, (1, 8, 8)), steps=2, pool=16)
    assert by_hand.value == score.value
    assert by_hand.protocol["resize"] is None
    watch = gm.Reconstruction(photo, final=photo[1:] ^ 1, resize=True, steps=2, pool=16, progress=False)
    assert watch.compute(reference_models.load(run)).value == score.value
    assert watch.compute(reference_models.load(run)).protocol["resize"] == score.protocol["resize"]
    assert watch.compute_final(reference_models.load(run)).n_real == 2
    with pytest.raises(OptionError, match="--resize: generator Linear does not say how its training images were prep"):
        gm.reconstruction_loss(g.linear, photo, resize=True)
