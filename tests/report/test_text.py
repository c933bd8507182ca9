"""Scores as text, Markdown, CSV and JSON: nothing lost, and what cannot be read in a table comes beside it."""

from __future__ import annotations

import csv
import io
import json

import pytest

import ganmetrics as gm
from ganmetrics.errors import OptionError
from ganmetrics.measurement.measurement import configured
from ganmetrics.measurement.settings import Settings
from ganmetrics.report.text import FORMATS
from ganmetrics.score import Score
from tests.helpers.commands import PIXELS, Cli

PROTOCOL = {"features": "pixels", "resize": None, "dtype": "float32"}
FID = Score("fid", 12.345678, "lower", n_real=600, n_fake=500, protocol=PROTOCOL)
KID = Score("kid", -0.00012345, "lower", spread=0.0002, interval=(-0.0005, 0.0003), n_real=600, n_fake=500,
            protocol=PROTOCOL)  # fmt: skip
IS = Score("is", 9.5, "higher", n_fake=500, protocol=PROTOCOL)


def test_one_score_is_a_line() -> None:
    assert FORMATS["text"]([FID]) == "fid 12.3457  (600 real, 500 fake; pixels; float32)"
    assert FORMATS["text"]([KID]).startswith("kid -0.000123 +- 0.000200 [-0.000500, 0.000300]  (")


def test_several_scores_are_a_table() -> None:
    head, fid, kid, how = FORMATS["text"]([FID, KID]).splitlines()
    assert head.split() == ["metric", "value", "+-", "95", "%", "interval", "better"]
    assert how == "(600 real, 500 fake; pixels; float32)"
    assert fid.index("12.3457") + len("12.3457") == kid.index("-0.000123") + len("-0.000123")
    assert kid.index("[") == head.index("95 %")
    assert fid.split() == ["fid", "12.3457", "lower"]


def test_scores_measured_in_unlike_ways_say_so_each() -> None:
    other = IS.with_(protocol={**PROTOCOL, "dtype": "float64"})
    head, *lines = FORMATS["text"]([FID, other]).splitlines()
    assert head.split() == ["metric", "value", "better", "images", "measured", "by"]
    assert [line[head.index("images") :].rstrip() for line in lines] == [
        "600 real, 500 fake  pixels; float32",
        "500 fake            pixels; float64",
    ]
    assert FORMATS["text"]([FID, IS]).splitlines()[-1] == "(pixels; float32)"


def test_markdown() -> None:
    lines = FORMATS["markdown"]([FID, KID]).splitlines()
    assert lines[:2] == ["| metric | value | +- | 95 % interval | better |", "| --- | ---: | ---: | --- | --- |"]
    assert {line.count("|") for line in lines[:4]} == {6}
    hostile = FORMATS["markdown"]([FID.with_(metric="a|b")])
    assert "a\\|b" in hostile


def test_csv_keeps_all_digits() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"]([FID, KID]))))
    assert [float(row["value"]) for row in rows] == [FID.value, KID.value]
    assert (float(rows[1]["low"]), float(rows[1]["high"])) == KID.interval
    assert [row["low"] for row in rows[:1]] == [""]
    assert rows[0]["features"] == "pixels"


def test_csv_says_all_of_the_protocol() -> None:
    """Of k, ddof, subsets and the seed there was nothing, and of lists no column would hold them."""
    about = {**PROTOCOL, "k": 5, "subsets": 100, "per_class": {"a, b": 0.5}, "protocol": "torchmetrics"}
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"]([KID.with_(protocol=about)])))
    assert list(row)[-1] == "protocol_json"
    assert json.loads(row["protocol_json"]) == about
    assert row["protocol"] == "torchmetrics"


def test_json_round_trips() -> None:
    lines = FORMATS["json"]([FID, KID]).splitlines()
    assert [Score.from_json(line).to_json() for line in lines] == lines
    assert Score.from_json(lines[1]).interval == KID.interval


@pytest.mark.parametrize(
    "metrics", [("-m", "fid", "-m", "fid@efficientnet-lite0"), ("-m", "fid,fid@efficientnet-lite0")]
)
def test_evaluate(cli: Cli, metrics: tuple[str, ...]) -> None:
    """Two extractors in one pass; the names of their scores tell them apart."""
    asked = ("evaluate", "digits[0:16]", "digits[16:32]", *metrics, "--features", "pixels", "--quiet")
    found = [json.loads(line) for line in cli(*asked, "--json").out.splitlines()]
    assert [score["metric"] for score in found] == ["fd-pixels", "fd-efficientnet-lite0"]
    for own, score in zip(("pixels", "efficientnet-lite0"), found, strict=True):
        (alone,) = cli("fid", "digits[0:16]", "digits[16:32]", "--features", own, "--json", "--quiet").scores
        assert score["value"] == pytest.approx(alone["value"], rel=1e-9)
        assert score["protocol"] == alone["protocol"]
    table = cli(*asked)
    assert table.out.splitlines()[0].startswith("metric")
    assert len(table.err.splitlines()) == len(set(table.err.splitlines()))


def test_evaluate_refuses(cli: Cli) -> None:
    for wrong, said in (
        (("-m", "nix"), "expected some of fid, "),
        (("-m", "fid@"), "expected an extractor behind 'fid@'"),
        (("-m", "parzen"), "got 'parzen'"),
        (("-m", "fid,kid,fid"), "Error: metrics: fid is asked for twice\n"),
        (("-m", "fid", "-m", "fid@pixels"), "Error: metrics: fid@pixels is asked for twice, as fid too\n"),
        (("-m", "fid,"), "got ''"),
        (("--format", "csv", "--json"), "--json and --format csv contradict each other; give one of them"),
        (("--json", "--format", "text"), "--json and --format text contradict each other; give one of them"),
    ):
        ran = cli("evaluate", "digits[0:40]", "digits[40:80]", *wrong, "--features", "pixels")
        assert ran.code in (1, 2)
        assert said in ran.err
        assert "Traceback" not in ran.err


def test_metrics_are_named_with_blanks_or_as_one_string(cli: Cli) -> None:
    asked = ("digits[0:40]", "digits[40:80]")
    ran = cli("evaluate", *asked, "-m", "fid, kid", *PIXELS, "--quiet", "--json", "--format", "json")
    assert [json.loads(line)["metric"] for line in ran.out.splitlines()] == ["fd-pixels", "kd-pixels"]
    assert list(gm.evaluate(*asked, "fid", features="pixels")) == ["fid"]
    assert list(gm.Evaluator("vendi", features="pixels").values) == ["vendi"]


def test_only_metrics_of_images_are_offered() -> None:
    for wrong in (["nix"], []):
        with pytest.raises(OptionError, match=r"^metrics: expected some of fid, ") as caught:
            gm.evaluate("digits[0:40]", "digits[40:80]", wrong, features="pixels")
        assert "parzen" not in str(caught.value)
        assert "reconstruction" not in str(caught.value)


def test_an_extractor_that_is_the_common_one_runs_once() -> None:
    common = Settings(features="pixels")
    one, other = configured(["fid", "kid@pixels"], common)
    assert one.settings.extractor is other.settings.extractor
