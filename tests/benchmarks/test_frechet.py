"""The benchmark of the Frechet step runs every case, at a small dimension."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import frechet


@pytest.mark.parametrize("name", frechet.CASES)
def test_the_ways_agree(name: str) -> None:
    row = frechet.measure(name, 32, rounds=1, with_square_root=True)
    tolerance = 1e-8 * row["traces"]
    assert row["ours"]["value"] == pytest.approx(row["svd"]["value"], abs=tolerance)
    if name == "5,000 + 5,000":  # a square root of a singular matrix is what it is
        assert row["ours"]["value"] == pytest.approx(row["sqrtm"]["value"], abs=tolerance)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = "600 + 600 images"
    monkeypatch.setattr(frechet, "CASES", {name: frechet.CASES[name]})
    frechet.main(["--dim=24", "--rounds=1", "--threads=1", f"--out={tmp_path / 'frechet.jsonl'}"])
    (row,) = [json.loads(line) for line in (tmp_path / "frechet.jsonl").read_text().splitlines()]
    assert row["case"] == name
    assert row["versions"]["torch"]
    assert name in capsys.readouterr().out
