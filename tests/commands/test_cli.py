"""The command line as a user meets it: scores, JSON, usage, weights. Sources, statistics files and processes have files
of their own (`test_cli_*.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics
from ganmetrics.features import weights
from tests.helpers.commands import PIXELS, Cli, Ran

LITE = ("--features", "efficientnet-lite0")
KEYS = [
    "metric", "value", "spread", "better", "n_real", "n_fake", "protocol", "warnings", "skipped", "raw", "interval",
    "seconds", "version",
]  # fmt: skip


@pytest.fixture
def closed_url(refused_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Inception weights are nowhere, and downloading them fails at once."""
    entry = replace(weights.INCEPTION, url=refused_url)
    monkeypatch.setattr(weights, "INCEPTION", entry)
    monkeypatch.setitem(weights.WEIGHTS, "inception", entry)
    return refused_url


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Independently of our own: numpy's covariance and the eigenvalues of the product."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) / 255 for x in (one, other))
    product = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).astype(complex)
    between = np.square(a.mean(0) - b.mean(0)).sum()
    return float(between + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * np.sqrt(product).sum().real)


def test_fid_prints_one_line_and_says_how(cli: Cli, real_and_fake: dict[str, np.ndarray]):
    value = frechet(real_and_fake["real"], real_and_fake["fake"])
    assert cli("fid", "real", "fake", *PIXELS) == Ran(
        0, f"fd-pixels {value:.4f}  (70 real, 60 fake; pixels; float32)\n", ""
    )


def test_json_has_the_documented_keys_in_order(cli: Cli, real_and_fake: dict[str, np.ndarray]):
    (score,) = cli("fid", "real", "fake", *PIXELS, "--json").scores
    assert list(score) == KEYS
    assert score["value"] == pytest.approx(frechet(real_and_fake["real"], real_and_fake["fake"]), rel=1e-6)
    assert score["raw"] == score["value"]
    assert score.pop("seconds") > 0
    assert score | {"value": None, "raw": None, "protocol": None} == {
        "metric": "fd-pixels", "value": None, "raw": None, "spread": None, "interval": None, "better": "lower",
        "n_real": 70,
        "n_fake": 60, "protocol": None, "warnings": [], "skipped": [], "version": ganmetrics.__version__,
    }  # fmt: skip
    assert score["protocol"] == {
        "protocol": None, "features": "pixels", "tap": "features", "weights_sha256": None, "resize": None,
        "size": None, "dtype": "float32", "quantize": "round", "device": score["protocol"]["device"],
        "torch": torch.__version__, "ddof": 1,
    }  # fmt: skip


def test_ddof_reaches_the_covariance(cli: Cli, real_and_fake: dict[str, np.ndarray]):
    (one,) = cli("fid", "real", "fake", *PIXELS, "--json").scores
    (other,) = cli("fid", "real", "fake", *PIXELS, "--json", "--ddof", "0").scores
    assert (one["protocol"]["ddof"], other["protocol"]["ddof"]) == (1, 0)
    assert one["value"] != other["value"]


def test_the_embedded_network_scores_without_download(cli: Cli, closed_url: str):
    """Both metrics on real scans; warnings go to stderr, or into the JSON and nowhere else."""
    asked = ("is", "digits[0:8]", *LITE, "--splits", "2")
    plain = cli(*asked)
    remark = (
        "8 images make splits of 4 at most: the score is biased downward and cannot exceed 4; "
        "published scores use 5000 a split"
    )
    assert re.fullmatch(
        r"is-efficientnet-lite0 \d\.\d{4} \+- \d\.\d{4}  "
        r"\(8 fake; efficientnet-lite0 [0-9a-f]{8}; pil-bicubic; float32\)\n",
        plain.out,
    )
    assert (plain.code, plain.err) == (0, f"Warning: {remark}\n")
    (score,) = cli(*asked, "--json").scores
    assert list(score) == KEYS
    assert score["warnings"] == [remark]
    assert (score["n_real"], score["n_fake"], score["better"]) == (None, 8, "higher")
    assert plain.out.startswith(f"is-efficientnet-lite0 {score['value']:.4f} +- {score['spread']:.4f}  (")
    assert score["protocol"]["splits"] == 2
    (distance,) = cli("fid", "digits[0:4]", "digits[4:8]", *LITE, "--json").scores
    assert distance["metric"] == "fd-efficientnet-lite0"
    assert distance["protocol"]["weights_sha256"] == score["protocol"]["weights_sha256"]


def test_unofficial_inception_weights_are_a_warning_in_every_score(cli: Cli, synthetic_weights: Path):
    sha256 = hashlib.sha256(synthetic_weights.read_bytes()).hexdigest()
    warning = (
        f"weights {sha256[:8]} are not the official Inception file (6726825d): "
        "values compare only with others on the same weights"
    )
    named = ("--weights", synthetic_weights)
    kept = cli("stats", "digits[0:3]", "-o", "kept.npz", *named)
    assert kept == Ran(0, "kept.npz: 3 images, 2048 dimensions, inception\n", f"Warning: {warning}\n")
    (score,) = cli("fid", "kept.npz", "digits[3:6]", *named, "--json").scores
    assert score["metric"] == "fid"
    assert score["protocol"]["weights_sha256"] == sha256
    assert score["warnings"][:2] == [f"real (kept.npz): {warning}", warning]
    (from_files,) = cli("fid", "kept.npz", "kept.npz", "--json").scores
    assert f"real (kept.npz): {warning}" in from_files["warnings"]
    other = cli("fid", "kept.npz", "digits[3:6]", *named, "--protocol", "clean-fid")
    assert other.error == (
        "real (kept.npz) and fake were measured differently: resize is tf1-bilinear and pil-bicubic; "
        "measure both with the same --features, --weights and --protocol"
    )


def test_the_same_source_twice_warns(cli: Cli, real_and_fake: dict[str, np.ndarray]):
    warning = "real and fake are the same source: the distance of a set to itself says nothing"
    assert cli("fid", "real", "./fake/../real", *PIXELS) == Ran(
        0, "fd-pixels 0.0000  (70 real, 70 fake; pixels; float32)\n", f"Warning: {warning}\n"
    )
    (score,) = cli("fid", "real", "real", *PIXELS, "--json").scores
    assert score["warnings"] == [warning]


USAGE = "Usage: ganmetrics fid [OPTIONS] REAL FAKE\nTry 'ganmetrics fid --help' for help.\n\nError: "


@pytest.mark.parametrize(
    ("arguments", "err"),
    [
        (("fid",), USAGE + "Missing argument 'REAL'.\n"),
        (("fid", "a"), USAGE + "Missing argument 'FAKE'.\n"),
        (("fid", "a", "b", "c"), USAGE + "Got unexpected extra argument (c)\n"),
        (
            ("fid", "a", "b", "--protocol", "tensorfow"),
            USAGE + "Invalid value for '--protocol': 'tensorfow' is not one of 'tensorflow', 'adm', 'pytorch-fid', "
            "'torch-fidelity', 'clean-fid', 'torchmetrics'.\n",
        ),
        (
            ("fid", "a", "b", "--batch-size", "0"),
            USAGE + "Invalid value for '--batch-size': 0 is not in the range x>=1.\n",
        ),
    ],
)  # fmt: skip
def test_wrong_usage(arguments: tuple[str, ...], err: str, cli: Cli):
    assert cli(*arguments) == Ran(2, "", err)


@pytest.mark.parametrize("group", [(), ("cache",), ("weights",)], ids=" ".join)
def test_a_group_alone_is_wrong_usage_and_shows_its_help(group: tuple[str, ...], cli: Cli):
    ran = cli(*group)
    assert ran == Ran(2, "", cli(*group, "--help").out)


def test_an_option_of_another_metric_is_wrong_usage(cli: Cli):
    ran = cli("fid", "a", "b", "--splits", "2")
    assert (ran.code, ran.out) == (2, "")
    assert "No such option" in ran.err


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (KeyboardInterrupt(), "Interrupted: nothing was written.\n", 130),
        (
            MemoryError(),
            "Error: not enough memory; use a smaller --batch-size, a smaller network or fewer workers\n",
            1,
        ),
        (OSError(28, "No space left on device"), "Error: No space left on device\n", 1),
        (PermissionError(13, "Permission denied", "/a\nb"), "Error: /a\\nb: Permission denied\n", 1),
        (ganmetrics.GanMetricsError("two\nlines \x1b[31m\udce9"), "Error: two lines \\x1b[31m\\xe9\n", 1),
    ],
)
def test_whatever_ends_a_run_is_one_line(
    error: BaseException, line: str, code: int, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    def fails(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("ganmetrics.evaluation.evaluate", fails)
    assert cli("fid", "a", "b") == Ran(code, "", line)


def test_a_mistake_of_our_own_keeps_its_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ganmetrics.evaluation.evaluate", lambda *arguments, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("fid", "a", "b")


# weights


def nowhere(tmp_path: Path) -> str:
    name = "inception-2015-12-05-6726825d.pth"
    places = [
        f".cache/weights/pt_{name}",
        f".torch/hub/checkpoints/pt_{name}",
        f".torch/hub/checkpoints/weights-{name}",
    ]
    absent = ", ".join(f"{tmp_path}/{place} (absent)" for place in places)
    return (
        f"Looked at GANMETRICS_WEIGHTS (not set), {absent}. Download it elsewhere and name it with --weights PATH or "
        f"put it at {tmp_path}/{places[0]}, or use --features efficientnet-lite0, whose weights are installed already"
    )


def test_absent_weights_offline(cli: Cli, closed_url: str, real_and_fake: dict[str, np.ndarray], tmp_path: Path):
    refused = "Connection refused (3 tries; behind a proxy, name it in https_proxy)"
    failed = f"inception weights: cannot download {closed_url}: {refused}. {nowhere(tmp_path)}"
    assert cli("fid", "real", "fake").error == failed
    assert cli("is", "fake", "--json").error == failed
    assert cli("weights", "fetch").error == failed
    off = f"inception weights: not on this machine, and downloading {closed_url} is switched off. {nowhere(tmp_path)}"
    assert cli("weights", "path").error == off
    assert cli("weights", "verify").error == off
    assert cli("weights", "list") == Ran(
        0,
        "inception  pt_inception-2015-12-05-6726825d.pth  Apache-2.0  not here; "
        "`ganmetrics weights fetch inception` downloads it\n"
        f"efficientnet-lite0  {weights.embedded_efficientnet_lite0().name}  embedded, no download\n",
        "",
    )


def test_weights_that_are_here(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = b"stands for the weights"
    origin = tmp_path / "origin.pth"
    origin.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    entry = replace(weights.INCEPTION, url=origin.as_uri(), sha256=sha256, size=len(content))
    monkeypatch.setitem(weights.WEIGHTS, "inception", entry)
    path = tmp_path / ".cache/weights" / entry.filename
    assert cli("weights", "fetch") == Ran(0, f"{path} (downloaded, SHA-256 verified)\n", "")
    assert path.read_bytes() == content
    assert cli("weights", "fetch", "inception") == Ran(0, f"{path} (cache, SHA-256 verified)\n", "")
    assert cli("weights", "path") == Ran(0, f"{path}\n", "")
    assert cli("weights", "list").out.startswith(
        f"inception  {entry.filename}  Apache-2.0  {path} (cache, SHA-256 verified)\n"
    )
    assert cli("weights", "verify") == Ran(0, f"{path}: SHA-256 {sha256}, the official inception file\n", "")
    path.write_bytes(content[::-1])
    wrong = hashlib.sha256(content[::-1]).hexdigest()
    assert cli("weights", "verify", path).error == f"{path}: expected SHA-256 {sha256} (inception), got {wrong}"
    assert cli("weights", "path").error.startswith("inception weights: not on this machine")


def test_weights_list_does_not_hide_a_wrong_environment_file(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`fetch` would not help here, so the list must not send anybody there."""
    (tmp_path / "other.pth").write_bytes(b"other")
    monkeypatch.setenv("GANMETRICS_WEIGHTS", "other.pth")
    ran = cli("weights", "list")
    assert ran.code == 0
    assert "GANMETRICS_WEIGHTS names other.pth, expected SHA-256 6726825d" in ran.out.splitlines()[0]
    assert cli("weights", "fetch").error.endswith("to use another file on purpose give --weights other.pth")


@pytest.mark.parametrize("command", ["path", "fetch"])
def test_unknown_name_of_weights(command: str, cli: Cli):
    assert cli("weights", command, "resnet").error == (
        "expected the name of downloadable weights, one of inception, got 'resnet'"
    )


def test_weights_files_that_do_not_fit(cli: Cli, real_and_fake: dict[str, np.ndarray], tmp_path: Path):
    absent = cli("fid", "real", "fake", "--weights", "no\nsuch.pth")
    assert absent.error == "inception weights: no such.pth cannot be read: No such file or directory"
    (tmp_path / "page.pth").write_text("<html>404</html>")
    page = cli("fid", "real", "fake", "--weights", "page.pth")
    assert page.error == "page.pth: corrupt, or neither a torch nor a safetensors file; fetch or save it again"
    torch.save({"fc.weight": torch.zeros(1000, 2048), "AuxLogits.fc.bias": torch.zeros(1000)}, "torchvision.pth")
    missing = cli("fid", "real", "fake", "--weights", "torchvision.pth")
    assert missing.error == (
        "torchvision.pth: expected the FID Inception of 2015-12-05 (1008 classes, no auxiliary head); the file lacks "
        "Conv2d_1a_3x3.conv.weight (471 such), has an unknown AuxLogits.fc.bias (1 such), "
        "has another shape for fc.weight (1 such)"
    )
    assert cli("fid", "real", "fake", *PIXELS, "--weights", "page.pth").error == (
        "--features pixels has no weights: leave out --weights"
    )


def test_every_score_line_is_json(cli: Cli, real_and_fake: dict[str, np.ndarray]):
    ran = cli("fid", "real", "fake", *PIXELS, "--json")
    assert ran.out.count("\n") == 1
    assert json.loads(ran.out)["metric"] == "fd-pixels"
    assert ganmetrics.Score.from_json(ran.out).to_json() == ran.out.rstrip("\n")
