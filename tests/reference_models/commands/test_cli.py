"""`reference-models`: help at once, every recipe field an option, one line for a mistake, what each command prints."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reference_models import VARIANTS
from reference_models.checkpoints.checkpoint import Checkpoint
from tests.helpers.commands import Cli, Ran, cpu_seconds
from tests.helpers.runs import TINY, options, run

PROGRAM = [sys.executable, "-m", "reference_models"]
HELP = [("--help",), ("train", "--help"), ("train", "dcgan", "--help"), ("sample", "--help"), ("list",)]


@pytest.fixture
def cli(models_cli: Cli) -> Cli:
    return models_cli


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    run("dcgan", out, 6)
    return out


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_imports_no_torch(arguments: tuple[str, ...]) -> None:
    code = (
        f"import sys; sys.argv = ['reference-models', *{arguments!r}]\n"
        "from reference_models.cli import main\n"
        "try: main()\n"
        "finally: print({'torch', 'numpy', 'PIL', 'scipy', 'accelerate'} & set(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "set()\n")
    assert ran.stdout


@pytest.mark.parametrize("arguments", [*HELP, ("train", "supergan")], ids=" ".join)
def test_answers_in_a_fifth_of_a_second(arguments: tuple[str, ...]) -> None:
    assert min(cpu_seconds(*PROGRAM, *arguments) for _ in range(3)) < 0.2


@pytest.mark.parametrize("name", VARIANTS)
def test_every_recipe_field_is_an_option(name: str, cli: Cli) -> None:
    shown = cli("train", name, "--help")
    assert shown.code == 0
    recipe = VARIANTS[name].load().recipe_class()
    words = shown.out.replace("\n", " ")
    for field in dataclasses.fields(recipe):
        assert f" --{field.name.replace('_', '-')}" in words, field.name
        default = getattr(recipe, field.name)
        if default is not None:
            assert f"default: {str(default).lower() if isinstance(default, bool) else default}]" in words.replace(
                "  ", ""
            )


@pytest.mark.parametrize("name", VARIANTS)
def test_train_resume_and_finish(name: str, cli: Cli) -> None:
    train = [*options(name), "--data=digits", "--quiet", "--out=run"]
    assert cli(*train, "--max-steps=2", "--lr=0.001") == Ran(0, "run: step 2 of 2: done\n", "")
    assert Checkpoint("run/last").config["recipe"] == {
        **dataclasses.asdict(VARIANTS[name].load().recipe_class.of(TINY[name])), "lr": 0.001, "nc": 1,
    }  # fmt: skip
    again = [*options(name), "--quiet", "--out=run", "--resume"]
    assert cli(*again, "--max-steps=3") == Ran(0, "run: step 3 of 3: done\n", "")
    finished = "run: step 3 of 3: the run is finished; a larger --max-steps or --num-epochs goes on with it\n"
    assert cli(*again, "--max-steps=3") == Ran(0, finished, "")
    assert cli(*train, "--max-steps=9").error == (
        f"run: holds a run of {name} at step 3; --resume goes on with it, another --out leaves it alone"
    )


def test_list_names_all(cli: Cli) -> None:
    listed = cli("list")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()] == list(VARIANTS)
    assert all("http" in line for line in listed.out.splitlines())


def test_show(trained: Path, cli: Cli) -> None:
    shown = cli("show", trained, "--json")
    (found,) = shown.scores
    assert (found["variant"], found["step"], found["seed"], found["best"]) == ("dcgan", 6, 0, "no score was taken")
    assert found["recipe"]["ngf"] == 4
    assert found["data"]["name"] == "digits"
    assert found["last values"]["step"] == 6
    assert found["last grid"] == str(trained / "samples/000006.png")
    if found["curves"] != "not drawn: pip install 'ganmetrics[report]'":
        assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")
    text = cli("show", trained, "--quiet")
    assert (text.code, text.err) == (0, "")
    assert text.out.splitlines()[0].split() == ["variant", "dcgan"]
    assert "curves              not drawn" in text.out.splitlines()
    assert cli("show", "absent").error == ("absent: no such folder; expected the --out of a `reference-models train`")


def test_sample(trained: Path, cli: Cli) -> None:
    done = cli("sample", trained, "-n", "5", "--out", "fake", "--quiet")
    assert done == Ran(0, "fake: 5 images of dcgan at step 6\n", "")
    assert len(list(Path("fake").glob("*.png"))) == 5
    assert cli("sample", "absent", "-n", "5", "--out", "other").error.startswith("absent: no such folder")
    assert not Path("other").exists()


def test_the_best_score_is_told(cli: Cli) -> None:
    scored = ["--score-every=2", "--score-features=pixels", "--score-samples=64", "--max-steps=2"]
    ended = cli(*options("dcgan"), "--data=digits", "--quiet", "--out=run", *scored)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("run: step 2 of 2: done; best score ")
    assert ended.out.endswith(" in best/\n")


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["train"], 2, "Usage: reference-models train "),
        (["train", "supergan", "--out=run"], 2, f"unknown variant 'supergan'; expected one of {', '.join(VARIANTS)}"),
        (["train", "gan"], 2, "Missing option '--out'"),
        (["train", "gan", "--out=run", "--depth=3"], 2, "No such option"),
        (["train", "gan", "--out=run", "--lr=fast"], 2, "Invalid value for '--lr'"),
        (["train", "gan", "--out=run", "--loss=other"], 2, "Invalid value for '--loss'"),
        (["train", "gan", "--out=run", "--max-steps=-1"], 2, "Invalid value for '--max-steps'"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["train", "gan", "--out=run"], 1, "--data: expected a dataset, folder, zip or npz to train on, got nothing"),
        (["train", "gan", "--out=run", "--data=absent"], 1, "absent: no such file or folder"),
        (["train", "dcgan", "--out=run", "--data=digits", "--image-size=12"], 1, "image_size: expected a power of two"),
        (["train", "gan", "--out=run", "--data=digits", "--lr=0"], 1, "lr: expected a number above 0, got 0.0"),
        (["train", "gan", "--out=run", "--data=digits", "--batch-size=5000"], 1, "digits: has 1797 images, fewer than"),
        (["train", "gan", "--out=run", "--data=digits", "--resume"], 1, "run: nothing to resume there"),
        (["train", "gan", "--out=run", "--data=digits", "--tracker=x"], 1, "--tracker: Unsupported logging capability"),
        (["train", "gan", "--out=run", "--data=digits", "--score-metric=x"], 1, "--score-metric: expected one of fid"),
        (["train", "gan", "--out=run", "--data=digits", "--device=abacus"], 1, "abacus"),
    ],
)  # fmt: skip
def test_mistakes(arguments: list[str], code: int, expected: str, cli: Cli) -> None:
    ended = cli(*arguments)
    assert ended.code == code
    assert expected in ended.err + ended.out
    if code == 1:
        assert ended.error
    assert "Traceback" not in ended.err
    assert not Path("run").exists()


def test_without_accelerate(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    ended = cli(*options("gan"), "--data=digits", "--out=run")
    assert ended.error == "training needs accelerate: pip install 'ganmetrics[train]'"
    assert not Path("run").exists()


def test_damage_is_one_line(trained: Path, cli: Cli) -> None:
    import shutil

    shutil.copytree(trained, "run")
    os.truncate("run/last/generator_ema.safetensors", 100)
    for command in (["show", "run"], ["sample", "run", "-n", "1", "--out", "fake"],
                    [*options("dcgan"), "--out=run", "--resume"]):  # fmt: skip
        assert cli(*command).error.startswith(
            "run/last: damaged checkpoint: generator_ema.safetensors is not what was saved (SHA-256 "
        )
    assert not Path("fake").exists()


def test_a_full_disk_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    ended = cli(*options("gan"), "--data=digits", "--out=run", "--quiet", "--max-steps=1")
    assert ended.error == (
        "step 0: cannot write to run: No space left on device; no checkpoint is there; "
        "mend that and go on with --resume"
    )


def test_the_log_is_json_lines(trained: Path) -> None:
    for line in (trained / "log.jsonl").read_text().splitlines():
        assert "step" in json.loads(line)


def test_module_and_script_are_the_same() -> None:
    script = Path(sys.executable).with_name("reference-models")
    if not script.exists():
        pytest.skip("the package is not installed")
    one, other = (subprocess.run([*c, "--help"], capture_output=True, text=True) for c in ([script], PROGRAM))
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
