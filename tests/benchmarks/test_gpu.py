"""`benchmarks.gpu` on the CPU, tiny: its figures mean nothing there, and everything but CUDA's own calls runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ganmetrics as gm
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import network as gpu_network
from benchmarks.peers import fid as fid_peers
from ganmetrics.errors import StatisticsError
from ganmetrics.features.extractor import CPU
from ganmetrics.metrics import METRICS


def ran(weights: Path, out: Path, *more: str) -> tuple[int, list[dict[str, Any]]]:
    code = gpu.main(["--weights", str(weights), "--device", "cpu", "--smoke", "--out", str(out), *more])
    return code, [json.loads(line) for line in out.read_text().splitlines()]


def test_agreement_is_over_every_metric_of_images(
    synthetic_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu.SMOKE, "features", ["pixels"])
    code, rows = ran(synthetic_weights, tmp_path / "out.jsonl", "--parts", "agreement")
    assert code == 0
    measured = {row["metric"] for row in rows if "metric" in row}
    options = gpu.parse(["--weights", str(synthetic_weights), "--device", "cpu", "--smoke"])
    for name in gpu.measurable("pixels", 6, options):
        assert set(METRICS[name].values) <= measured, name
    assert {"parzen", "reconstruction"} <= measured
    for row in (row for row in rows if "not_measured" in row):
        assert set(row["not_measured"]) <= {"fid-infinity", "sfid", "is", "ms-ssim"}
    assert all(row["right"] and row["commit"] and row["machine"] and row["smoke"] for row in rows)


def test_a_value_that_is_off_or_missing_ends_with_1(
    synthetic_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score = gm.Score("fid", 100.0, "lower", n_real=50, n_fake=40)
    near, far = score.with_(value=100.09), score.with_(value=100.11)
    assert gpu.compared("fid", score, near)["right"]
    assert not gpu.compared("fid", score, far)["right"]
    assert not gpu.compared("fid", score, None)["right"]
    share = score.with_(value=0.5)
    assert gpu.compared("recall", share, share.with_(value=0.54))["right"]  # two of 50 images
    assert not gpu.compared("recall", share, share.with_(value=0.55))["right"]
    monkeypatch.setitem(gpu.PARTS, "agreement", lambda options: iter([gpu.compared("fid", score, far)]))
    code, _ = ran(synthetic_weights, tmp_path / "out.jsonl", "--parts", "agreement")
    assert code == 1
    assert "WRONG: 1 values on cpu are not those on the CPU" in capsys.readouterr().err


def test_a_metric_or_a_part_that_fails_is_told_and_leaves_the_others(
    synthetic_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any) -> None:
        raise StatisticsError("no kernel today")

    monkeypatch.setattr(METRICS["kid"].load(), "compute", broken)
    monkeypatch.setitem(gpu.SMOKE, "features", ["pixels"])
    monkeypatch.setitem(gpu.PARTS, "network", lambda options: (row for row in [{}] if 1 / 0))
    code, rows = ran(synthetic_weights, tmp_path / "out.jsonl", "--parts", "network,agreement")
    assert code == 1
    said = [row["error"] for row in rows if row.get("right") is False]
    assert said[0] == "ZeroDivisionError: division by zero"
    assert any("no kernel today" in error for error in said)
    assert {"parzen", "reconstruction", "precision"} <= {row["metric"] for row in rows if "metric" in row}


def test_steps_and_precision(synthetic_weights: Path, tmp_path: Path) -> None:
    code, rows = ran(synthetic_weights, tmp_path / "out.jsonl", "--parts", "steps,precision")
    assert code == 0
    assert {row["metric"] for row in rows if "score_s" in row} == {"fid", "is", "kid", "prdc", "vendi"}
    assert {row["step"] for row in rows if "step" in row} == {"cholesky", "eigvalsh", "svdvals", "product"}
    errors = {row["choice"]: row["relative"] for row in rows if "relative" in row}
    assert 0 < abs(errors["bfloat16"]) < 0.2
    assert abs(errors["jpeg decoder"]) < 1e-2


def test_network(synthetic_weights: Path, tmp_path: Path) -> None:
    code, rows = ran(synthetic_weights, tmp_path / "out.jsonl", "--parts", "network")
    assert code == 0
    assert {row["what"] for row in rows} == {"device rate", "plain", "cudnn.benchmark"}
    for rate, plain in zip(rows[::3], rows[1::3], strict=True):
        share = plain["images_s"] * gpu_network.GFLOP / 1000 / rate["matrix_tflops"]
        assert plain["share_of_matrix_rate"] == pytest.approx(share)
    calls = []
    assert gpu_network.seconds(lambda: calls.append(1), CPU, 0.0) < 0.01
    assert len(calls) == 3 + 4


def test_peers_in_turns_and_the_ratio(synthetic_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measure(tool: str, argv: list[str], *, n_images: int, round_: int) -> fid_peers.Measurement:
        asked.append(tool)
        assert "cpu" in argv
        rate = 60.0 if tool.startswith("ganmetrics") else 10.0
        return fid_peers.Measurement(tool, round_, 7.0, n_images / rate, rate, 500)

    monkeypatch.setattr(fid_peers, "measure", measure)
    monkeypatch.setitem(gpu.SMOKE, "rounds", 2)
    _, rows = ran(synthetic_weights, tmp_path / "out.jsonl", "--parts", "peers")
    ours, theirs = "ganmetrics:torch-fidelity", "torch-fidelity"
    assert asked == [theirs, ours, ours, theirs]
    assert (rows[-1]["ratio"], rows[-1]["goal"]) == (6.0, 5.0)


def test_every_round_of_the_peers_measures_both_folders() -> None:
    """Statistics of the real side kept from one round would be given out in the next."""
    argv = fid_peers.command("ganmetrics:tensorflow", Path("a"), Path("b"), Path("w"), device="cuda")
    assert "--no-cache" in argv
    assert argv[argv.index("--device") + 1] == "cuda"
    assert fid_peers.command("pytorch-fid", Path("a"), Path("b"), Path("w"), device="cuda")[-1] == "cuda"
