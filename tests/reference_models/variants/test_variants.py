"""What holds for every variant of the index. A variant that is added and has no recipe in `runs.TINY` fails."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import reference_models.variants
from reference_models import VARIANTS, Cadence, Scoring
from reference_models.recipe import settings
from reference_models.training import data
from reference_models.training.state import Average, Training, make_accelerator
from reference_models.variant import Variant
from tests.conftest import write_folder
from tests.helpers.runs import NEVER, TINY, Odd, bits, entry, log, options, run, weights

EVERY = Cadence(log=1, grid=1, checkpoint=1, scoring=Scoring(every=1, features="pixels", n_samples=64), progress=False)
KNOWN = tuple(VARIANTS)
NAMES = [*KNOWN, "odd"]  # and one that no file knows: a variant is one class and one line of the index


def test_every_variant_is_trained_here() -> None:
    assert set(TINY) == set(KNOWN)


def test_every_variant_file_is_in_the_index() -> None:
    found = {module.name for module in pkgutil.iter_modules(reference_models.variants.__path__)}
    assert found == set(KNOWN)
    for name in KNOWN:
        line = VARIANTS[name]
        module = importlib.import_module(f"reference_models.variants.{name}")
        assert line.name == name
        assert issubclass(line.load(), Variant)
        assert "arXiv:" in (module.__doc__ or "")
        assert "Reproduced" in (module.__doc__ or "")
        assert "Differs" in (module.__doc__ or "")


@pytest.mark.parametrize("name", KNOWN)
def test_every_field_of_a_recipe_explains_itself(name: str) -> None:
    for field, about in settings(VARIANTS[name].load().recipe_class).items():
        assert about.help.endswith((".", "]")), field


@pytest.fixture(scope="module", autouse=True)
def odd() -> object:
    """The index with one line more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "odd", entry("odd", Odd))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """12 steps of each in one go."""
    found = {name: tmp_path_factory.mktemp("whole") / name for name in NAMES}
    for name, out in found.items():
        run(name, out, 12)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_twelve_steps_are_six_and_six_to_the_bit(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    run(name, tmp_path / "run", 6)
    torch.randn(7)  # what happens in between is nobody's business
    outcome = run(name, tmp_path / "run", 12, resume=True)
    assert (outcome.step, outcome.total, outcome.made) == (12, 12, 6)
    assert bits(tmp_path / "run") == bits(whole[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_twice_and_another(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    run(name, tmp_path / "same", 12)
    assert bits(tmp_path / "same") == bits(whole[name])
    run(name, tmp_path / "other", 12, seed=1, cadence=NEVER)
    mine, theirs = weights(whole[name]), weights(tmp_path / "other")
    assert all(mine[file] != theirs[file] for file in mine if file.endswith(".safetensors"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cadence", [EVERY, NEVER], ids=["every", "never"])
def test_looking_changes_nothing(name: str, cadence: Cadence, whole: dict[str, Path], tmp_path: Path) -> None:
    """Neither logging nor pictures, scores and checkpoints change a bit of what is trained."""
    run(name, tmp_path / "run", 12, cadence=cadence)
    mine, theirs = weights(tmp_path / "run"), weights(whole[name])
    del mine["training.json"], theirs["training.json"]  # it holds the best score
    assert mine == theirs


def test_an_extractor_leaves_the_random_numbers_of_training_alone(whole: dict[str, Path], tmp_path: Path) -> None:
    scoring = Scoring(every=6, n_samples=8)
    run("odd", tmp_path / "run", 12, cadence=Cadence(scoring=scoring, progress=False))
    mine, theirs = weights(tmp_path / "run"), weights(whole["odd"])
    del mine["training.json"], theirs["training.json"]
    assert mine == theirs


@pytest.mark.parametrize("name", KNOWN)
def test_bfloat16_resumes_to_the_bit(name: str, tmp_path: Path) -> None:
    half = {"mixed_precision": "bf16"}
    run(name, tmp_path / "whole", 3, recipe=half)
    run(name, tmp_path / "parts", 1, recipe=half)
    run(name, tmp_path / "parts", 3, resume=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    run(name, tmp_path / "full", 3)
    assert weights(tmp_path / "full") != weights(tmp_path / "whole")


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_logged(name: str, whole: dict[str, Path]) -> None:
    lines = [line for line in log(whole[name]) if "epoch" in line]
    assert [line["step"] for line in lines] == list(range(1, 13))
    own = {"began": {"L(x)", "k", "M_global", "M_smoothed", "lr"}}.get(name, {"D(x)", "D(G(z))", "D(G(z)) after"})
    expected = {"step", "epoch", "Loss_D", "Loss_G", "grad_D", "grad_G", *own}
    assert all(set(line) == expected for line in lines)
    assert lines[-1]["epoch"] == pytest.approx(12 / (1797 // 16), abs=1e-4)
    assert [line["step"] for line in log(whole[name]) if "diversity" in line] == [6, 12]


def test_separate_processes_of_the_command_line(whole: dict[str, Path], tmp_path: Path) -> None:
    """With another seed of Python's hashes, the same bits as in this process."""
    command = [sys.executable, "-m", "reference_models", *options("dcgan"), "--out=run", "--log-every=1"]
    command += ["--grid-every=6", "--data=digits", "--quiet"]
    for extra in (["--max-steps=6"], ["--max-steps=12", "--resume"]):
        ran = subprocess.run([*command, *extra], cwd=tmp_path, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "run: step 12 of 12: done\n"
    assert bits(tmp_path / "run") == bits(whole["dcgan"])


def test_a_source_that_does_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded by two processes in every epoch: the same bits as from memory, resumed or not."""
    folder = write_folder(tmp_path / "images", digits(50))
    run("odd", tmp_path / "memory", 12, data=folder)
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    run("odd", tmp_path / "run", 5, data=folder, recipe={"workers": 2}, cadence=NEVER)
    run("odd", tmp_path / "run", 12, resume=True, cadence=NEVER)
    mine, theirs = weights(tmp_path / "run"), weights(tmp_path / "memory")
    about = [json.loads(files.pop("config.json"))["data"]["sha256"] for files in (mine, theirs)]
    assert about[0] == about[1]  # 50 images are their own probes
    assert mine == theirs


def digits(n: int) -> np.ndarray:
    from sklearn.datasets import load_digits

    return (load_digits().images[:n] * 255 / 16).astype("uint8")


# ---------------------------------------------------------------------------------- one step against plain PyTorch


def started(name: str, **recipe: object) -> Training:
    kind = VARIANTS[name].load()
    return Training(kind(kind.recipe_class.of({**TINY[name], "nc": 1, **recipe})), make_accelerator("cpu"), seed=3)


def cross_entropy(logits: torch.Tensor, label: float) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


LOGISTIC = (
    lambda real, fake: cross_entropy(real, 1.0) + cross_entropy(fake, 0.0),
    lambda fake: cross_entropy(fake, 1.0),
    torch.sigmoid,
)
PLAIN = {  # the losses by other means than reference_models.losses
    ("gan", "{}"): LOGISTIC,
    ("gan", '{"loss": "minimax"}'): (LOGISTIC[0], lambda fake: -cross_entropy(fake, 0.0), torch.sigmoid),
    ("dcgan", "{}"): LOGISTIC,
    ("lsgan", "{}"): (
        lambda real, fake: ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2,
        lambda fake: ((fake - 1) ** 2).mean() / 2,
        lambda logits: logits,
    ),
    ("lsgan", '{"coefficients": "-1,1,0"}'): (
        lambda real, fake: ((real - 1) ** 2).mean() / 2 + ((fake + 1) ** 2).mean() / 2,
        lambda fake: (fake**2).mean() / 2,
        lambda logits: logits,
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "recipe"), PLAIN)
def test_two_steps_are_plain_pytorch(name: str, recipe: str, dtype: torch.dtype) -> None:
    training = started(name, **json.loads(recipe), lr=1e-3)
    loss_d, loss_g, belief = PLAIN[name, recipe]
    networks = training.variant.networks()
    for key, network in networks.items():
        network.to(dtype).load_state_dict(training.networks[key].state_dict())
    G, D = networks["generator"], networks["discriminator"]
    adams = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999)) for net in (G, D)]
    random = torch.Generator().manual_seed(3)
    for _ in range(2):
        real = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8)
        measured = training.advance(real)
        fake = G(torch.randn(16, 8, generator=random).to(dtype))
        on_real, on_fake = D(real.to(dtype) / 127.5 - 1), D(fake.detach())
        adams[1].zero_grad()
        loss_d(on_real, on_fake).backward()
        grad_d = norm(D)
        adams[1].step()
        after = D(fake)
        adams[0].zero_grad()
        loss_g(after).backward()
        adams[0].step()
        expected = {"Loss_D": loss_d(on_real, on_fake), "Loss_G": loss_g(after), "grad_D": grad_d, "grad_G": norm(G)}
        expected |= {"D(x)": belief(on_real).mean(), "D(G(z))": belief(on_fake).mean()}
        expected["D(G(z)) after"] = belief(after).mean()
        wanted = {key: float(torch.as_tensor(value).detach()) for key, value in expected.items()}
        assert measured == pytest.approx(wanted, rel=2e-5, abs=1e-6)
    for key, network in networks.items() if dtype == torch.float32 else ():
        # Adam divides a gradient by its size: where it is rounding alone, as that of a bias before batch norm, any
        # other order of operations goes another way by up to lr; in float64 all of them do, so they are not compared.
        pair = (training.networks[key], network)
        mine, plain = (torch.cat([p.detach().flatten() for p in net.parameters()]) for net in pair)
        error = (mine - plain).abs()
        assert float((error <= 1e-6).float().mean()) > 0.996
        assert float(error.max()) < 2e-4


def norm(network: torch.nn.Module) -> float:
    return sum(float(p.grad.square().sum()) for p in network.parameters() if p.grad is not None) ** 0.5


# --------------------------------------------------------------------------------------------- the generator's average


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_the_average_against_float64(name: str, decay: float) -> None:
    training = started(name, ema_decay=decay)
    generator = training.networks["generator"]
    expected = {key: value.double() for key, value in generator.state_dict().items()}
    for t in range(4):
        training.advance(torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8))
        d = min(decay, (1 + t) / (10 + t))
        for key, value in generator.state_dict().items():
            expected[key] = d * expected[key] + (1 - d) * value.double() if value.is_floating_point() else value
    found = training.average.network.state_dict()
    assert set(found) == set(expected)
    for key, value in found.items():
        torch.testing.assert_close(value.double(), expected[key].double(), rtol=1e-6, atol=1e-7)
        if decay == 0:
            assert torch.equal(value, generator.state_dict()[key])


def test_the_average_forgets_at_the_asked_rate_in_the_end() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = Average(network, 0.9)
    torch.nn.init.ones_(network.weight)
    for t in range(100, 103):
        average.update(t)
    assert float(average.network.weight.detach()) == pytest.approx(1 - 0.9**3)


def test_a_checkpoint_is_what_was_trained(whole: dict[str, Path]) -> None:
    """`generator_ema` is another network than `generator`, and neither needs more than safetensors to be read."""
    for name in KNOWN:
        own, average = (load_file(whole[name] / f"last/{file}.safetensors") for file in ("generator", "generator_ema"))
        assert set(own) == set(average)
        assert any(not torch.equal(own[key], average[key]) for key in own)
