"""The benchmark of the CPU: its counts and sums are exact, its tables add up, and every part of it runs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import process
from benchmarks.cpu import __main__ as cpu
from benchmarks.cpu import network as cpu_network
from benchmarks.cpu import processes as cpu_processes
from benchmarks.cpu import profile as cpu_profile
from benchmarks.cpu import steps as cpu_steps
from benchmarks.cpu import tables as cpu_tables
from benchmarks.peers import fid as fid_peers
from ganmetrics.features.extractor import CPU_BATCH
from ganmetrics.features.inception_network import SIZE, InceptionV3
from ganmetrics.metrics import METRICS


@pytest.fixture
def smoke(synthetic_weights: Path) -> argparse.Namespace:
    options = cpu.parse(["--weights", str(synthetic_weights), "--smoke"])
    options.weights = str(synthetic_weights)
    return options


def test_gflop_are_those_that_torch_counts() -> None:
    with torch.device("meta"):
        network = InceptionV3()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, SIZE, SIZE))
    counted = sum(n for name, n in counter.get_flop_counts()["Global"].items() if "convolution" in str(name))
    assert cpu_network.gflop_of_an_image() * 1e9 == pytest.approx(counted, rel=1e-12)
    assert len(cpu_network.convolutions(InceptionV3(), 2)) == 94


def test_gflop_of_one_convolution_by_hand() -> None:
    conv = nn.Conv2d(4, 6, (3, 1), stride=2, padding=(1, 0))
    assert cpu_network.gflop((conv, (2, 4, 9, 7))) == 2 * 2 * 6 * 5 * 4 * (4 * 3 * 1) / 1e9


def test_a_single_convolution_is_the_networks_own() -> None:
    conv = nn.Conv2d(5, 7, 3, padding=1).requires_grad_(False)
    torch.manual_seed(0)
    out = cpu_network.alone((conv, (2, 5, 8, 9)))()
    torch.manual_seed(0)
    expected = conv(torch.randn(2, 5, 8, 9)).relu()
    assert out.shape == expected.shape
    assert float((out - expected).abs().max()) < 1e-5


def test_rates_of_a_round_are_compared_within_it(smoke: argparse.Namespace) -> None:
    rows = list(cpu_network.measure_network(smoke))
    names = [row["what"] for row in rows]
    assert names == [
        "best convolution", "its convolutions alone", "the package's network", "folded, channels-last",
        "plain, NCHW", "extraction, end to end",
    ]  # fmt: skip
    for row in rows:
        assert row["gflop_s"] == pytest.approx(row["images_s"] * row["gflop_an_image"])
    assert rows[0]["batch"] == CPU_BATCH
    drifting = [
        {"what": what, "round": turn, "gflop_s": clock * rate, "images_s": clock * rate / 2}
        for turn, clock in enumerate((1.0, 3.0, 9.0))
        for what, rate in (("best convolution", 100.0), ("its convolutions alone", 50.0), ("net", 40.0))
    ]
    first = {"gflop_an_image": 2.0, "convs": 94, "batch": 6, "threads": 2}
    text = cpu_tables.network([{**row, **first} for row in drifting])
    assert text.splitlines()[-1].split() == ["net", "120", "60.0", "40", "%", "80", "%"]


def test_nested_parts_count_each_second_once() -> None:
    watch = cpu_profile.Stopwatch()
    start = time.perf_counter()
    with watch.part("outer"):
        time.sleep(0.02)
        with watch.part("inner"):
            time.sleep(0.03)
            with watch.part("outer"):
                time.sleep(0.01)
    passed = time.perf_counter() - start
    assert sum(watch.spent.values()) == pytest.approx(passed, abs=2e-3)
    assert watch.spent["inner"] >= 0.03
    assert watch.spent["outer"] >= 0.03
    assert watch.spent["inner"] < passed - 0.029


def test_profile_adds_up(smoke: argparse.Namespace) -> None:
    start = time.perf_counter()
    rows = list(cpu_profile.measure_profile(smoke))
    passed = time.perf_counter() - start
    seconds = {row["what"]: row["seconds"] for row in rows}
    assert list(seconds) == list(cpu_profile.ORDER)
    assert 0.5 * passed < sum(seconds.values()) < passed + 0.05  # what is not in it: writing the images
    for part in ("import torch", "network: load, fold, pack", "convolutions", "pooling", "resize and scale", "exit"):
        assert seconds[part] > 0, part
    assert seconds["convolutions"] > seconds["pooling"]


def test_steps_beside_extraction(smoke: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    smoke.metrics = None
    monkeypatch.setattr(cpu_steps, "extraction_rate", lambda extractor, images: 30.0)
    rows = list(cpu_steps.measure_steps(smoke))
    assert {row["what"] for row in rows} - {"extraction"} == set(cpu_steps.available())
    assert {"fid", "is", "kid", "prdc"} <= set(cpu_steps.available()) < set(METRICS)
    for row in rows:
        if row["what"] != "extraction":
            assert (row["n"], row["sides"]) == (60, len(METRICS[row["what"]].sides))
            assert row["keep_s"] > 0
            assert row["score_s"] > 0
    made = [
        {"what": "extraction", "images_s": 40.0},
        {"what": "kid", "n": 400, "dim": 2048, "sides": 2, "keep_s": 0.5, "score_s": 1.5},
        {"what": "is", "n": 400, "dim": 1008, "sides": 1, "keep_s": 0.1, "score_s": 0.1},
    ]
    kid, inception_score = cpu_tables.steps(made).splitlines()[-2:]
    assert kid.split()[-1] == "10.0"  # 2 s beside 800 images
    assert inception_score.split()[-1] == "2.0"  # 0.2 s beside 400


def test_vectors_are_the_same_for_every_metric() -> None:
    first, again, fake = (torch.cat(list(cpu_steps.vectors("features", side, 50))) for side in ("real", "real", "fake"))
    assert first.shape == (50, 2048)
    assert torch.equal(first, again)
    assert not torch.equal(first, fake)
    assert float(first.min()) > 0


def test_startup_runs_until_the_first_batch(smoke: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_one(argv: Sequence[str], **options: Any) -> process.Ran:
        return process.run(argv) if cpu_processes.FIRST_BATCH in argv else process.Ran(0, "", "", 0.25, 100.0, 0.2)

    monkeypatch.setattr(cpu_processes, "finished", of_one)
    rows = list(cpu_processes.measure_startup(smoke))
    seconds = {row["what"]: row["seconds"] for row in rows}
    assert seconds.pop("ganmetrics fid, to the first batch of features") > 0.5
    assert set(seconds.values()) == {0.25}
    goals = {row["what"]: row["goal"] for row in rows if row["goal"]}
    assert goals == {"ganmetrics --help": 0.2, "ganmetrics fid, to the first batch of features": 3.0}


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such command"):
        cpu_processes.finished([sys.executable, "-c", "raise SystemExit('no such command')"])


def test_many_images_are_few_files(tmp_path: Path) -> None:
    folder = cpu_processes.many(tmp_path, 450)
    files = sorted(folder.iterdir())
    assert len(files) == 450
    assert len({file.stat().st_ino for file in files}) == cpu_processes.CORPUS
    assert cpu_processes.many(tmp_path, 450) == folder


def test_table_of_processes() -> None:
    made = [
        {"what": what, "round": turn, "wall_s": wall * turn, "seconds": score * turn, "value": value, "images": 8}
        for turn in (1, 3)
        for what, wall, score, value in (("one", 10.0, 8.0, 2.0), ("two", 6.0, 4.0, 2.0 + 4e-12))
    ]
    one, two = cpu_tables.ranks([{**row, "cores": 2} for row in made]).splitlines()[-2:]
    assert one.split()[1:] == ["20.0", "16.0", "1.00", "1.00", "0.0e+00"]
    assert two.split()[1:] == ["12.0", "8.0", "1.67", "2.00", "2.0e-12"]


@pytest.mark.slow
def test_processes_of_a_launcher_agree(smoke: argparse.Namespace) -> None:
    rows = list(cpu_processes.measure_ranks(smoke))
    assert len({row["what"] for row in rows}) == 3
    assert all(row["images"] == 4 for row in rows)
    assert rows[1]["value"] == pytest.approx(rows[0]["value"], rel=1e-10)
    assert "1.00" in cpu_tables.ranks(rows)


def test_a_part_that_fails_leaves_the_others(
    smoke: argparse.Namespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.jsonl"
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"no weights")
    code = cpu.main(["--weights", str(bad), "--smoke", "--parts", "network,memory", "--out", str(out)])
    printed = capfd.readouterr()
    assert code == 1
    assert "network: failed, as said above; the other parts go on" in printed.err
    rows = cpu.load(out)
    assert {row["part"] for row in rows} == {"memory"}
    assert [row["images"] for row in rows] == [4, 8]  # `stats` of one side, `fid` of two
    assert all(100 < row["peak_mb"] < 1200 for row in rows)
    assert rows[0]["machine"]["cores"]
    assert rows[0]["versions"]["torch"]
    assert printed.out.strip() == cpu.report(rows)
    assert str(tmp_path) not in out.read_text()


def test_of_a_part_measured_twice_the_last_run_counts(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    rows = [("memory", "1", 700), ("startup", "1", 0), ("memory", "2", 650), ("memory", "2", 660)]
    path.write_text("".join(json.dumps({"part": p, "date": d, "peak_mb": mb}) + "\n" for p, d, mb in rows))
    assert [row["peak_mb"] for row in cpu.load(path)] == [0, 650, 660]


@pytest.mark.parametrize(
    "extra", [["--parts", "speed"], ["--metrics", "parzen"], ["--memory", "inception"], ["--weights", "nowhere.pth"]]
)
def test_wrong_usage(extra: list[str], synthetic_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cpu.parse(["--weights", str(synthetic_weights), *extra])
    assert "error: " in capsys.readouterr().err


def test_floor_of_the_table_against_the_peers() -> None:
    rows = [
        fid_peers.Measurement(tool, turn, 7.0, 1.0, speed * clock, 500, None, 100.0 * clock, 10.0)
        for turn, clock in enumerate((1.0, 2.0, 1.5), 1)
        for tool, speed in (("pytorch-fid", 2.0), ("ganmetrics:pytorch-fid", 6.0))
    ]
    assert fid_peers.table(rows).splitlines()[-2:] == [
        "floor: 10.00 GFLOP an image at oneDNN's convolution rate, 15.0 images/s",
        "reached by ganmetrics, start-up and all: pytorch-fid 60 %",
    ]
    assert "floor" not in fid_peers.table([fid_peers.Measurement("pytorch-fid", 1, 7.0, 1.0, 2.0, 500)])
