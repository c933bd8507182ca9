"""docs/wngan-began.md: its commands and options exist, and the numbers it names are the defaults."""

from __future__ import annotations

import shlex

from ganmetrics.commands.reconstruction import reconstruction
from reference_models import VARIANTS
from reference_models.networks.began_control import FALL, IGNORED, SMOOTHING
from tests.conftest import REPOSITORY
from tests.docs.test_reference_models import help_of

PAGE = (REPOSITORY / "docs" / "wngan-began.md").read_text()


def test_commands_and_options_exist() -> None:
    lines = [line for block in PAGE.split("```sh\n")[1:] for line in block.split("```")[0].splitlines()]
    for words in (shlex.split(line, comments=True) for line in lines):
        if words[0] == "ganmetrics":
            listed = " ".join(option for parameter in reconstruction.params for option in parameter.opts)
        else:
            listed = help_of(words[1:])
        assert all(word in listed for word in words if word.startswith("--")), words
    assert len(lines) == 8


def test_numbers() -> None:
    wngan, began = (VARIANTS[name].load().recipe_class() for name in ("wngan", "began"))
    assert (wngan.nz, wngan.batch_size, wngan.lr, wngan.alpha) == (128, 32, 1e-4, 0.9)
    assert (began.nz, began.batch_size, began.lr, began.gamma, began.lambda_k) == (64, 16, 1e-4, 0.5, 0.001)
    assert (began.patience, FALL, SMOOTHING, IGNORED) == (10_000, 0.01, 0.99, 1000)
    for said in (
        "by 1 % below its lowest for 10,000 steps",
        "0.99 a step",
        "0 for 1,000 steps",
        "lambda 0.001",
        "1e-4",
    ):
        assert said in " ".join(PAGE.split())
