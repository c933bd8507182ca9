"""What a Parzen score is asked for in words: its command line, bandwidths and memory, and one line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.metrics.numerics.bandwidth import Rule
from ganmetrics.runtime.memory import parse_memory
from tests.conftest import write_folder
from tests.helpers.commands import Cli


def test_command_line(cli: Cli, tmp_path: Path, digits: np.ndarray) -> None:
    for name, part in (("s", digits[:300]), ("v", digits[300:400]), ("t", digits[400:500])):
        write_folder(tmp_path / name, part)
    folders = [str(tmp_path / name) for name in "svt"]
    ran = cli("parzen", *folders, "--json", "--plot", str(tmp_path / "curve.png"), "--seed", "3", "--quiet")
    assert ran.code == 0
    record = json.loads(ran.out)
    expected = gm.parzen_log_likelihood(digits[:300], digits[300:400], digits[400:500], layout="NHW")
    assert record["value"] == pytest.approx(expected.value, rel=1e-12)
    assert record["protocol"]["dim"] == 64
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    plain = cli("parzen", *folders, "--bandwidths", "0.1:0.3:5", "--max-samples", "50")
    assert plain.code == 0
    assert plain.out.startswith("parzen ")
    assert "50 samples, 100 validation, 100 test; pixels; float32; bandwidth" in plain.out
    assert "Theis, van den Oord & Bethge 2016" in plain.err


def mistakes(tmp_path: Path) -> dict[str, tuple[list[str], str]]:
    digits = ["digits[0:50]", "digits[50:90]", "digits[90:120]"]
    photo = np.random.default_rng(0).integers(0, 256, (4, 9, 9, 3), dtype=np.uint8)
    other = str(write_folder(tmp_path / "photo", photo))
    np.save(tmp_path / "nan.npy", np.array([[0.0, np.nan]]))
    np.save(tmp_path / "wide.npy", np.zeros((3, 7)))
    np.save(tmp_path / "empty.npy", np.zeros((0, 64)))
    (tmp_path / "nothing").mkdir()
    return {
        "unlike sizes": ([*digits[:2], other], "expected images of one size and one number of channels"),
        "unlike points": ([*digits[:2], str(tmp_path / "wide.npy")], "expected points of one dimension, got 64 (sam"),
        "empty set": ([str(tmp_path / "nothing"), *digits[1:]], "nothing"),
        "no points": ([str(tmp_path / "empty.npy"), *digits[1:]], "needs samples: expected at least one point, got 0"),
        "NaN": ([str(tmp_path / "nan.npy"), *digits[1:]], "samples: NaN or infinity among the points"),
        "zero bandwidth": ([*digits, "--bandwidths", "0"], "auto, a number from 1e-100 to 1e100, several"),
        "negative bandwidth": ([*digits, "--bandwidths", "0.1,-1"], "got '0.1,-1'"),
        "word": ([*digits, "--bandwidths", "silverman"], "got 'silverman'"),
        "bad range": ([*digits, "--bandwidths", "0.1:1"], "got '0.1:1'"),
        "memory": (
            [*digits, "--memory", "much"],
            "--memory: expected at least 1MB, such as 512MB or 2GiB, got 'much'",
        ),
        "same": ([digits[0], digits[1], digits[1]], "insist with --allow-same"),
        "no test": (digits[:2], "expected validation and test, got only one of them"),
        "alone": (digits[:1], "expected samples, validation and test, got samples alone"),
        "plot": ([*digits, "--plot", str(tmp_path / "x.jpg")], "expected a name that ends in .png"),
        "plot folder": ([*digits, "--plot", str(tmp_path / "no" / "x.png")], "its folder does not exist"),
        "plot fixed": ([*digits, "--plot", str(tmp_path / "x.png"), "--bandwidths", "0.2"], "no curve"),
        "few for k-means": ([*digits, "--baseline", "kmeans", "--max-samples", "60"], "k-means: expected at least 60"),
    }


def test_mistakes_are_one_clear_line(cli: Cli, tmp_path: Path) -> None:
    for case, (arguments, said) in mistakes(tmp_path).items():
        ran = cli("parzen", *arguments)
        assert ran.code == 1, case
        assert ran.out == "", case
        (line,) = ran.err.strip().splitlines()
        assert line.startswith("Error: "), case
        assert said in line, case


@pytest.mark.parametrize(
    ("given", "expected"),
    [("512MB", 512 * 10**6), ("2GiB", 2**31), ("1.5gb", 15 * 10**8), (2_000_000, 2_000_000), ("1 MiB", 2**20)],
)
def test_memory_strings(given: str | int, expected: int) -> None:
    assert parse_memory(given) == expected


@pytest.mark.parametrize("given", ["", "MB", "-1GB", "10", "1TBB", "nan", "1e9"])
def test_odd_memory_strings(given: str) -> None:
    with pytest.raises(OptionError, match="--memory: expected at least 1MB"):
        parse_memory(given)


def test_rules() -> None:
    assert Rule.parse(0.2) == Rule.parse("0.2") == Rule("fixed", (0.2,))
    assert Rule.parse("0.3,0.1,0.1").grid == (0.1, 0.3)
    np.testing.assert_allclose(Rule.parse("0.01:1:3").grid, (0.01, 0.1, 1.0))
    for bad in ("", "0", "inf", "nan", "a", "1:2", "0:1:5", "1:2:1", "1:2:0", [], [0.1, -0.1]):
        with pytest.raises(OptionError, match="--bandwidths: expected published, auto"):
            Rule.parse(bad)


def test_foreign_options_are_refused(digits: np.ndarray) -> None:
    with pytest.raises(OptionError, match="features: a Parzen window is over pixels or points"):
        gm.parzen_log_likelihood(digits[:5], digits[5:9], digits[9:12], features="inception")
    with pytest.raises(OptionError, match="parzen is over samples, validation, test"):
        gm.evaluate(digits, digits, ["parzen"])


def test_numbers_too_large_and_bandwidths_too_small(rng: np.random.Generator, cli: Cli, tmp_path: Path) -> None:
    sets = [rng.standard_normal((n, 3)) for n in (50, 40, 30)]
    with pytest.raises(StatisticsError, match="too large for float64"):
        gm.parzen_log_likelihood(*sets[:2], sets[2] * 1e200)
    for bandwidth in (1e-200, 1e200):
        with pytest.raises(OptionError, match="--bandwidths: expected"):
            gm.parzen_log_likelihood(*sets, bandwidths=bandwidth)
    np.save(tmp_path / "scalar.npy", np.array(3.0))
    ran = cli("parzen", "digits[0:50]", "digits[50:90]", str(tmp_path / "scalar.npy"))
    assert ran.code == 1
    assert "got a single number" in ran.err
