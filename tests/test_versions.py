"""The lowest versions that `make test-oldest` installs."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import REPOSITORY


def test_every_requirement_but_the_peers_has_a_lowest_version() -> None:
    printed = subprocess.run([sys.executable, REPOSITORY / ".ci" / "oldest.py"], capture_output=True, text=True)
    assert (printed.returncode, printed.stderr) == (0, "")
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    asked = re.search(r"\ndependencies = .*?(?=\n\[project.scripts])", pyproject, re.DOTALL)[0]
    names = re.findall(r'"([\w.-]+)>=', re.sub(r"\npeers = .*", "", asked))
    assert [line.split("==")[0] for line in printed.stdout.splitlines()] == names
    assert {"torch", "pytest", "matplotlib"} <= set(names)
