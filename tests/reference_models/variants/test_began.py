"""BEGAN: the networks' layers and first values, a step in plain PyTorch, the warning, the best."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models import VARIANTS, Cadence
from reference_models.checkpoints.checkpoint import Checkpoint
from reference_models.errors import RecipeError
from reference_models.networks.began import BEGANDiscriminator, BEGANGenerator, Decoder, Encoder
from reference_models.networks.began_control import IGNORED
from reference_models.networks.dcgan import SIZES
from reference_models.training.state import Training, make_accelerator
from tests.helpers.runs import TINY, log, run, weights


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(7)


# ----------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_shapes(size: int, skip: bool) -> None:
    G, D = BEGANGenerator(6, size, 3, 2, skip=skip), BEGANDiscriminator(6, size, 3, 2, skip=skip)
    images = G(torch.rand(4, 6) * 2 - 1)
    assert images.shape == D(images).shape == (4, 3, size, size)
    assert D.encoder(images).shape == (4, 6)


def test_layers_at_32_pixels() -> None:
    """Levels of 32, 16 and 8 px: nf, 2nf, 3nf channels in the encoder, nf in the decoder, two 3x3 each."""
    D = BEGANDiscriminator(64, 32, 1, 16)
    convolutions = [m for m in D.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.stride[0]) for m in convolutions] == [
        (1, 16, 1), (16, 16, 1), (16, 16, 2), (16, 32, 1), (32, 32, 2), (32, 48, 1), (48, 48, 1),
        *6 * [(16, 16, 1)], (16, 1, 1),
    ]  # fmt: skip
    assert {m.kernel_size for m in convolutions} == {(3, 3)}
    linear = [(m.in_features, m.out_features) for m in D.modules() if isinstance(m, nn.Linear)]
    assert linear == [(48 * 64, 64), (64, 16 * 64)]
    kinds = {type(m) for m in D.modules() if not list(m.children())}
    assert kinds == {nn.Conv2d, nn.ELU, nn.Linear, nn.Flatten, nn.Upsample}
    G = BEGANGenerator(64, 32, 1, 16)
    assert {k: v.shape for k, v in G.state_dict().items()} == {k: v.shape for k, v in D.decoder.state_dict().items()}


def test_stride_two_is_subsampling() -> None:
    """The paper's subsampling of a level's output, which throws three pixels of four away."""
    encoder, x = Encoder(5, 16, 1, 3).double(), torch.randn(2, 1, 16, 16).double()
    expected = F.elu(encoder[0](x))
    for level, pair in enumerate(list(encoder)[2:4]):
        for at in (0, 2):
            expected = F.elu(F.conv2d(expected, pair[at].weight, pair[at].bias, padding=1))
        expected = expected[:, :, ::2, ::2] if level == 0 else expected
    torch.testing.assert_close(encoder(x), encoder[-1](expected.flatten(1)), rtol=1e-12, atol=1e-12)


def test_skip_connections_are_the_first_tensor() -> None:
    decoder, h = Decoder(5, 16, 1, 3, skip=True).double(), torch.randn(2, 5).double()
    first = decoder.project(h).unflatten(1, (3, 8, 8))
    larger = [t.repeat_interleave(2, 2).repeat_interleave(2, 3) for t in (decoder.levels[0](first), first)]
    expected = decoder.last(decoder.levels[1](torch.cat(larger, 1)))
    torch.testing.assert_close(decoder(h), expected, rtol=1e-12, atol=1e-12)


def test_first_values() -> None:
    G, D = BEGANGenerator(64, 32, 1, 16), BEGANDiscriminator(64, 32, 1, 16)
    images = G(torch.rand(128, 64) * 2 - 1).detach()
    assert abs(float(images.mean())) < 0.1
    assert 0.02 < float(images.std()) < 0.6
    assert all(not m.bias.any() for net in (G, D) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    weight = G.project.weight.detach()
    assert float(weight.abs().max()) == pytest.approx((6 / (64 + 1024)) ** 0.5, rel=1e-2)


def test_images_are_cut_out_of_training_only() -> None:
    G, z = BEGANGenerator(4, 8, 1, 2), torch.ones(1, 4)
    nn.init.constant_(G.last.bias, 5.0)
    assert float(G(z).detach().min()) > 1
    assert float(G.eval()(z).detach().max()) == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BEGANGenerator(8, 24, 1, 4), "image_size: expected a power of two from 8 to 128, got 24"),
        (lambda: BEGANDiscriminator(8, 8, 1, 0), "nf: expected a whole number of at least 1, got 0"),
        (lambda: BEGANGenerator(8, 8, 1, 4)(torch.zeros(2, 9)), r"z: expected shape \(N, 8\), got \(2, 9\)"),
        (lambda: BEGANDiscriminator(8, 8, 1, 4)(torch.zeros(2, 8, 8)), r"images: expected shape \(N, 1, 8, 8\)"),
    ],
)
def test_wrong_sizes(make: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make()


# ----------------------------------------------------------------------------------------------------------- training


def started(**recipe: Any) -> Training:
    kind = VARIANTS["began"].load()
    return Training(kind(kind.recipe_class.of({**TINY["began"], "nc": 1, **recipe})), make_accelerator("cpu"), seed=3)


def batch() -> Tensor:
    return torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8)


def test_the_recipe_is_the_published_one() -> None:
    recipe = VARIANTS["began"].load().recipe_class()
    assert (recipe.lr, recipe.nz, recipe.gamma, recipe.lambda_k, recipe.skip) == (1e-4, 64, 0.5, 0.001, False)
    training = started()
    for optimizer in training.optimizers.values():
        assert type(optimizer) is torch.optim.Adam
        assert {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0}.items() <= (
            optimizer.param_groups[0].items()
        )
    z = training.variant.latent(4000, torch.Generator().manual_seed(0))
    assert (z.min() >= -1, z.max() <= 1) == (True, True)
    assert float(z.mean()) == pytest.approx(0, abs=0.02)
    assert float(z.var()) == pytest.approx(1 / 3, abs=0.01)


def test_three_steps_are_plain_pytorch() -> None:
    """Losses, k and M of a copy in float64, with the published order: k from this step's losses serves the next."""
    training = started(lr=1e-3, lambda_k=0.5)
    networks = training.variant.networks()
    for name, network in networks.items():
        network.double().load_state_dict(training.networks[name].state_dict())
    G, D = networks["generator"], networks["discriminator"]
    adams = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.999)) for net in (G, D)]
    random, k = torch.Generator().manual_seed(3), 0.0
    for _ in range(3):
        real = batch()
        measured = training.advance(real)
        x = real.double() / 127.5 - 1
        fake = G(2 * torch.rand(16, 8, generator=random).double() - 1)
        loss_real, loss_fake = (x - D(x)).abs().mean(), (fake.detach() - D(fake.detach())).abs().mean()
        adams[1].zero_grad()
        (loss_real - k * loss_fake).backward()
        adams[1].step()
        loss_g = (fake - D(fake)).abs().mean()
        expected = {"Loss_D": loss_real - k * loss_fake, "Loss_G": loss_g, "L(x)": loss_real}
        adams[0].zero_grad()
        loss_g.backward()
        adams[0].step()
        gap = 0.5 * float(loss_real.detach()) - float(loss_g.detach())
        k = min(max(k + 0.5 * gap, 0), 1)
        wanted = {name: float(value.detach()) for name, value in expected.items()}
        wanted |= {"k": k, "M_global": wanted["L(x)"] + abs(gap), "lr": 1e-3}
        assert {name: measured[name] for name in wanted} == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert 0 < k < 1
    for name, network in networks.items():
        for mine, plain in zip(training.networks[name].parameters(), network.parameters(), strict=True):
            assert float(((mine - plain).detach().abs() < 1e-4).double().mean()) > 0.99


def test_the_learning_rate_is_halved() -> None:
    """Of both networks, once the smoothed M has not fallen by 1 % for `patience` steps; kept by a resumed run."""
    training = started(lr=1e-8, patience=4)  # nothing is learned, so M stays about where it is
    real = batch()
    rates = [training.advance(real)["lr"] for _ in range(12)]
    halvings = [before / after for before, after in pairwise(rates) if before != after]
    assert halvings
    assert all(ratio == pytest.approx(2) for ratio in halvings)
    other = started(lr=1e-8, patience=4)
    other.load_state(training.state())
    assert [o.param_groups[0]["lr"] for o in other.optimizers.values()] == pytest.approx([rates[-1]] * 2)
    assert other.variant.state() == training.variant.state()


def test_k_at_zero_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hardly any gamma k stays at 0; a run that is resumed does not say it again."""
    assert IGNORED == 1000
    monkeypatch.setattr("reference_models.variants.began.IGNORED", 20)
    seldom, options = Cadence(log=100, grid=100, checkpoint=100), {"recipe": {"gamma": 1e-9}}
    run("began", tmp_path / "run", 25, cadence=seldom, **options)
    run("began", tmp_path / "run", 30, resume=True, cadence=seldom)
    (line,) = [line for line in log(tmp_path / "run") if "warning" in line]
    assert line["step"] == 20
    assert line["warning"] == (
        "k has been 0 for 20 steps: generated images are harder to encode than gamma = 1e-09 allows, so D learns "
        "nothing from them; if Loss_G does not fall any more, start again with a larger --gamma or a smaller --lr"
    )
    assert capsys.readouterr().err.count("Warning: step 20: k has been 0") == 1


def test_the_best_checkpoint_is_that_of_the_lowest_m(tmp_path: Path) -> None:
    """Among those that are saved; a resumed run goes on with the same one."""
    often = Cadence(log=1, grid=100, checkpoint=3, progress=False)
    outcome = run("began", tmp_path / "whole", 16, recipe={"lr": 0.05}, cadence=often)
    found = {line["step"]: line["M_smoothed"] for line in log(tmp_path / "whole") if "epoch" in line}
    best = min((step for step in found if step % 3 == 0), key=lambda step: found[step])
    assert Checkpoint(tmp_path / "whole/best").step == best
    assert (outcome.best_of, outcome.best) == ("M_smoothed", found[best])
    run("began", tmp_path / "parts", 7, recipe={"lr": 0.05}, cadence=often)
    resumed = run("began", tmp_path / "parts", 16, resume=True, cadence=often)
    assert resumed.best == outcome.best
    for which in ("last", "best"):
        assert weights(tmp_path / "parts", which) == weights(tmp_path / "whole", which)
