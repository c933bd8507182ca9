"""The README is executed: its commands give its output, its Python runs, its tables are the indexes."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from ganmetrics.features import EXTRACTORS
from ganmetrics.metrics import METRICS
from ganmetrics.protocols import PROTOCOLS
from reference_models.index import VARIANTS
from tests.conftest import REPOSITORY
from tests.docs.test_reference_models import help_of
from tests.helpers.commands import run_cli

README = (REPOSITORY / "README.md").read_text()
NUMBER = re.compile(r"\d+\.\d+")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def table(name: str, page: str = README) -> str:
    return page.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0].strip()


def sessions() -> list[tuple[str, str]]:
    """(command, what the README says it prints) of every terminal block."""
    found = []
    for block in blocks("console"):
        for part in block.split("$ ")[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output.strip()))
    return found


def alike(printed: str, written: str) -> bool:
    """Equal, with numbers to four digits: another processor rounds otherwise."""
    if NUMBER.sub("N", printed) != NUMBER.sub("N", written):
        return False
    return [float(x) for x in NUMBER.findall(printed)] == pytest.approx(
        [float(x) for x in NUMBER.findall(written)], rel=1e-3
    )


def test_there_is_something_to_run() -> None:
    assert sessions()
    assert len(blocks("python")) == 2


@pytest.mark.parametrize(("command", "output"), sessions())
def test_terminal_blocks(command: str, output: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "ganmetrics"
    result = run_cli(*arguments)
    printed = (result.stdout + result.stderr).strip()
    assert alike(printed, output), f"the README says\n{output}\nand it prints\n{printed}"


def test_python_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    namespace = {
        "torch": torch,
        "generator": torch.nn.Sequential(
            torch.nn.Linear(128, 3 * 64), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 8, 8))
        ),
    }
    out = io.StringIO()
    with redirect_stdout(out):
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), namespace)
    assert out.getvalue().count("fd-efficientnet-lite0") == 2
    assert namespace["value"] == float(namespace["score"])


def test_shell_blocks_name_commands_that_exist() -> None:
    helps = run_cli("--help").stdout
    for line in "\n".join(blocks("sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "reference-models":
            listed = help_of(words[1:])
            assert all(word in listed for word in words if word.startswith("--")), line
        if words and words[0] == "ganmetrics":
            assert re.search(rf"^  {words[1]} ", helps, flags=re.MULTILINE), line
            listed = run_cli(words[1], "--help").stdout
            assert all(word in listed for word in words if word.startswith("-")), line


def metrics_table() -> str:
    rows = ["| metric | command | better | best | paper |", "|---|---|---|---|---|"]
    for entry in METRICS.values():
        sides = " ".join(side.upper() for side in entry.sides)
        rows.append(
            f"| {entry.title} | `ganmetrics {entry.name} {sides}` | {entry.better} | {entry.best} | {entry.paper} |"
        )
    return "\n".join(rows)


def features_table() -> str:
    rows = ["| `--features` | what it is |", "|---|---|"]
    rows += [f"| `{name}` | {what} |" for name, (_, what) in EXTRACTORS.items()]
    return "\n".join([*rows, "| `module:attribute` | a callable of your own: uint8 RGB `(N, 3, H, W)` to `(N, D)` |"])


def test_tables_are_the_indexes() -> None:
    assert table("metrics") == metrics_table()
    assert table("features", (REPOSITORY / "docs" / "features.md").read_text()) == features_table()
    assert table("variants", (REPOSITORY / "docs" / "reference_models.md").read_text()) == variants_table()


def variants_table() -> str:
    rows = ["| variant | what it is | paper |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{entry.name}` | {entry.title} | {entry.paper} |" for entry in VARIANTS.values())])


def test_the_benchmark_is_what_was_measured() -> None:
    from benchmarks import frechet, inversion, modes, one_pass, parzen
    from benchmarks.cpu import __main__ as cpu
    from benchmarks.peers import fid as fid_peers
    from benchmarks.peers import metrics as metric_peers
    from benchmarks.zoo import report as zoo_report

    measured = fid_peers.load(REPOSITORY / "benchmarks" / "results" / "fid_peers.jsonl")
    assert table("benchmark") == f"```text\n{fid_peers.brief(measured)}\n```"
    page = (REPOSITORY / "benchmarks" / "README.md").read_text()
    for kept in (REPOSITORY / "benchmarks" / "results").glob("fid_peers*.jsonl"):
        assert f"```text\n{fid_peers.table(fid_peers.load(kept))}\n```" in page
    page = (REPOSITORY / "docs" / "speed.md").read_text()
    rows = cpu.load(REPOSITORY / "benchmarks" / "results" / "cpu.jsonl")
    assert f"```text\n{cpu.report(rows)}\n```" == table("cpu", page)
    assert f"```text\n{frechet.table(frechet.load())}\n```" == table("frechet", page)
    trained = zoo_report.load(REPOSITORY / "benchmarks" / "results" / "zoo.jsonl")
    page = (REPOSITORY / "docs" / "reference_models.md").read_text()
    assert f"```text\n{zoo_report.table(trained)}\n```" == table("zoo", page)
    page = (REPOSITORY / "docs" / "wngan-began.md").read_text()
    assert f"```text\n{zoo_report.tracked_table(trained)}\n```" == table("tracked", page)
    page = (REPOSITORY / "docs" / "reference_models.md").read_text()
    counted = modes.load(REPOSITORY / "benchmarks" / "results" / "modes.jsonl")
    assert f"```text\n{modes.table(counted)}\n```" == table("modes", page)
    rows = parzen.load_results(REPOSITORY / "benchmarks" / "results" / "parzen.jsonl")
    page = (REPOSITORY / "docs" / "parzen.md").read_text()
    assert f"```text\n{parzen.report(rows)}\n```" in page
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    assert f"```text\n{metric_peers.table(metric_peers.load())}\n```" == table("peers", page)
    assert f"```text\n{one_pass.table(one_pass.load())}\n```" == table("one-pass", page)
    page = (REPOSITORY / "docs" / "reconstruction.md").read_text()
    assert f"```text\n{inversion.report(inversion.load())}\n```" in table("benchmark", page)


def test_protocols_are_all_named() -> None:
    page = (REPOSITORY / "docs" / "protocols.md").read_text()
    for name, protocol in PROTOCOLS.items():
        assert f"`{name}`" in README
        assert re.search(rf"^\| `{name}`.*`{protocol.resize}`", page, flags=re.MULTILINE)


def test_every_test_that_is_named_exists() -> None:
    source = "".join(path.read_text() for path in Path(REPOSITORY / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", README)
    assert len(named) >= 8
    assert [name for name in named if f"def {name}(" not in source] == []


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_about_a_page_or_two() -> None:
    assert 60 < len(README.splitlines()) <= 150
