"""The Python of docs/reconstruction.md runs, on scanned digits and fewer steps."""

from __future__ import annotations

import re

import pytest

import ganmetrics as gm
from tests.conftest import REPOSITORY
from tests.helpers.generators import Conv

SMALLER = {
    '"mnist:test"': '"digits"', "n_running=200": "n_running=8", "n_final=2000": "n_final=8", "100_000": "1001",
    "steps=50": "steps=2",
}  # fmt: skip


def test_the_loop_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = (REPOSITORY / "docs" / "reconstruction.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    for written, small in SMALLER.items():
        assert written in block
        block = block.replace(written, small)
    namespace = {"gm": gm, "generator": Conv(), "best": float("inf")}
    exec(compile(block, "reconstruction.md", "exec"), namespace)
    assert namespace["best"] < float("inf")
    assert capsys.readouterr().out.startswith("reconstruction ")
