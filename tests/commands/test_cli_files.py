"""`stats`, `merge` and statistics files given to `fid`: equal to one pass, or one line that says why not."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganmetrics.images.pickles import refusal
from ganmetrics.statistics import files
from tests.conftest import write_folder
from tests.helpers.commands import PIXELS, Cli, Ran
from tests.helpers.spoiled import BYTES, spoil

NOT_OURS = "expected a statistics file (.npz with mu and sigma)"
SAME = "measure both with the same --features, --weights and --protocol"

pytestmark = pytest.mark.usefixtures("real_and_fake")


@pytest.fixture
def whole(cli: Cli) -> dict[str, Any]:
    """`real` as `whole.npz` and in two unlike parts, `a.npz` of 9 images (fewer than dimensions) and `b.npz` of 61."""
    names = sorted(os.listdir("real"))
    for part, members in (("a", names[:9]), ("b", names[9:])):
        Path(part).mkdir()
        for name in members:
            shutil.copy(f"real/{name}", part)
    for source, file, count in (("real", "whole", 70), ("a", "a", 9), ("b", "b", 61)):
        assert cli("stats", source, "-o", f"{file}.npz", *PIXELS) == Ran(
            0, f"{file}.npz: {count} images, 12 dimensions, pixels\n", ""
        )
    return dict(np.load("whole.npz"))


def rewritten(name: str, arrays: dict[str, Any], **changes: Any) -> str:
    np.savez(name, **{**arrays, **changes})
    return name


def test_parts_merged_are_the_whole(cli: Cli, whole: dict[str, Any]):
    assert cli("merge", "a.npz", "b.npz", "-o", "merged.npz") == Ran(0, "merged.npz: 70 images from 2 files\n", "")
    assert cli("merge", "b.npz", "a.npz", "-o", "swapped.npz").code == 0
    for name in ("merged.npz", "swapped.npz"):
        merged = np.load(name)
        assert merged["count"] == 70
        np.testing.assert_allclose(merged["mu"], whole["mu"], rtol=1e-10)
        np.testing.assert_allclose(merged["sigma"], whole["sigma"], rtol=1e-10, atol=1e-12)
    values = [
        cli("fid", name, "fake", *PIXELS, "--json").scores[0]["value"]
        for name in ("real", "whole.npz", "merged.npz", "swapped.npz")
    ]
    assert values == pytest.approx([values[0]] * 4, rel=1e-10)
    (nothing,) = cli("fid", "whole.npz", "merged.npz", "--json").scores
    assert nothing["value"] < 1e-10
    assert (nothing["metric"], nothing["n_real"], nothing["n_fake"], nothing["warnings"]) == ("fd-pixels", 70, 70, [])


def test_a_file_as_real_carries_its_protocol(cli: Cli, whole: dict[str, Any]):
    (of_file,) = cli("fid", "whole.npz", "fake", *PIXELS, "--json").scores
    (of_folder,) = cli("fid", "real", "fake", *PIXELS, "--json").scores
    assert of_file | {"seconds": 0} == of_folder | {"seconds": 0}


def test_skipped_and_odd_images_are_told_at_once_and_stay_with_the_file(cli: Cli):
    """Once `stats --on-error skip` said nothing, and notes about the images were lost on the way into a file."""
    reasons = spoil(Path("fake"), Path("fake/00000.png").read_bytes())
    write_folder(Path("fake/wide"), np.full((2, 2, 2, 4), 7, np.uint8))  # RGBA, not opaque
    remark = "2 of 62 images: alpha ignored, as PIL's convert('RGB') does; some pixels are not opaque"
    listed = "".join(f"Skipped: {image}: {reason}\n" for image, reason in reasons.items())
    assert cli("stats", "fake", "-o", "fake.npz", *PIXELS, "--on-error", "skip") == Ran(
        0, "fake.npz: 62 images, 12 dimensions, pixels\n", f"Warning: {remark}\n{listed}"
    )
    assert cli("merge", "fake.npz", "-o", "again.npz").err == f"Warning: {remark}\n{listed}"
    (score,) = cli("fid", "real", "again.npz", *PIXELS, "--json").scores
    assert score["skipped"] == [{"image": image, "reason": reason} for image, reason in reasons.items()]
    assert score["warnings"] == [
        f"fake (again.npz): {remark}",
        "8 fake images were skipped; the score lists them",
    ]


def test_unlike_protocols_are_not_compared(cli: Cli, whole: dict[str, Any]):
    assert cli("stats", "digits[0:2]", "-o", "lite.npz", "--features", "efficientnet-lite0").code == 0
    assert cli("fid", "whole.npz", "lite.npz").error == (
        f"real (whole.npz) and fake (lite.npz) were measured differently: features is pixels and "
        f"efficientnet-lite0; {SAME}"
    )
    assert cli("merge", "whole.npz", "lite.npz", "-o", "new.npz").error == (
        f"whole.npz and lite.npz were measured differently: features is pixels and efficientnet-lite0; {SAME}"
    )
    protocol = {**json.loads(str(whole["protocol"])), "dtype": "bfloat16"}
    rewritten("half.npz", whole, protocol=json.dumps(protocol))
    assert cli("merge", "whole.npz", "half.npz", "-o", "new.npz").error == (
        "whole.npz and half.npz were measured differently: dtype is float32 and bfloat16; measure both with the "
        "same --dtype (and --allow-tf32)"
    )
    (score,) = cli("fid", "whole.npz", "half.npz", "--json").scores
    assert "the two sides were measured with different dtypes: bfloat16 and float32" in score["warnings"]
    assert not Path("new.npz").exists()


def test_unlike_protocols_are_told_before_any_image_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    assert cli("stats", "digits[0:2]", "-o", "lite.npz", "--features", "efficientnet-lite0").code == 0
    monkeypatch.setattr("ganmetrics.measurement.shared_reading.extract", None)
    assert cli("fid", "lite.npz", "fake", *PIXELS).error == (
        f"real (lite.npz) and fake were measured differently: features is efficientnet-lite0 and pixels; {SAME}"
    )


def test_a_file_of_another_tool_is_compared_with_a_warning_and_never_merged(cli: Cli, whole: dict[str, Any]):
    np.savez("ttur.npz", mu=whole["mu"], sigma=whole["sigma"])
    (score,) = cli("fid", "ttur.npz", "fake", *PIXELS, "--json").scores
    (known,) = cli("fid", "whole.npz", "fake", *PIXELS, "--json").scores
    assert score["value"] == pytest.approx(known["value"], rel=1e-9)
    assert (score["n_real"], score["n_fake"]) == (None, 60)
    assert score["warnings"] == [
        "real: ttur.npz does not say how it was measured, nor over how many images; make sure that it was with the "
        "same features, weights and resize"
    ]
    printed = cli("fid", "ttur.npz", "ttur.npz").out  # 0, or what rounding makes of it
    assert re.fullmatch(r"fd-unknown (0\.0+|\d\.\d+e-1\d)  \(counts unknown; features unknown\)\n", printed)
    assert cli("merge", "whole.npz", "ttur.npz", "-o", "new.npz").error == (
        "ttur.npz: does not say over how many images it was taken; measure them instead"
    )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"mu": np.zeros(11)}, "expected mu (D,) and sigma (D, D) in floating point, got (11,) float64 and (12, 12) "
         "float64"),
        ({"mu": np.full(12, np.nan)}, "NaN or infinity in mu or sigma; the file was made from bad features"),
        ({"mu": np.array([None] * 12)}, refusal("bad.npz").removeprefix("bad.npz: ")),
        ({"sigma": -np.eye(12)}, "sigma is no covariance matrix (not symmetric, or a negative variance)"),
        ({"sigma": np.triu(np.ones((12, 12)))}, "sigma is no covariance matrix (not symmetric, or a negative "
         "variance)"),
        ({"count": "many"}, "expected a whole number of images as its count, got 'many'"),
        ({"count": -5}, "expected a whole number of images as its count, got -5"),
        ({"count": 69.5}, "expected a whole number of images as its count, got 69.5"),
        ({"count": [1, 2]}, "expected a whole number of images as its count, got [1, 2]"),
        ({"protocol": "{"}, "its protocol entry is no JSON (Expecting property name enclosed in double quotes: "
         "line 1 column 2 (char 1))"),
        ({"protocol": "[1]"}, "expected a JSON object as its protocol entry, got '[1]'"),
        ({"rows": np.zeros((3, 12))}, "expected 70 rows of 12, got (3, 12)"),
    ],
)  # fmt: skip
def test_statistics_that_do_not_fit_themselves(changes: dict[str, Any], error: str, cli: Cli, whole: dict[str, Any]):
    rewritten("bad.npz", whole, **changes)
    assert cli("fid", "bad.npz", "fake", *PIXELS).error == f"bad.npz: {error}"
    assert cli("fid", "real", "bad.npz", *PIXELS).error == f"bad.npz: {error}"
    assert cli("merge", "a.npz", "bad.npz", "-o", "new.npz").error == f"bad.npz: {error}"
    assert not Path("new.npz").exists()


def test_merge_of_files_that_are_no_statistics(cli: Cli, whole: dict[str, Any]):
    Path("text.npz").write_text("text")
    Path("empty.npz").touch()
    content = Path("whole.npz").read_bytes()
    Path("cut.npz").write_bytes(content[: len(content) // 2])
    Path("flipped.npz").write_bytes(content.replace(whole["mu"].tobytes(), bytes(12 * 8)))
    np.save("array.npy", np.zeros(3))
    np.savez("images.npz", np.zeros((2, 2, 2, 3), np.uint8))
    damaged = f"{NOT_OURS}: it is no .npz archive, or a damaged one"
    errors = {
        "nope.npz": f"{NOT_OURS}: No such file or directory",
        "real": f"{NOT_OURS}: Is a directory",
        "real/00000.png": damaged,
        "array.npy": damaged,
        "text.npz": damaged,
        "empty.npz": damaged,
        "cut.npz": damaged,
        "flipped.npz": damaged,
        "images.npz": "expected a statistics file with mu and sigma, it holds arr_0",
    }
    for name, error in errors.items():
        assert cli("merge", "whole.npz", name, "-o", "new.npz").error == f"{name}: {error}"
    assert cli("merge", "-o", "new.npz").err.endswith("\n\nError: Missing argument 'FILES...'.\n")


def test_a_file_merged_twice_would_count_twice(cli: Cli, whole: dict[str, Any]):
    os.symlink("a.npz", "link.npz")
    for twice in ("a.npz", "./a.npz", "link.npz"):
        assert cli("merge", "a.npz", "b.npz", twice, "-o", "new.npz").error == (
            "a.npz: is named twice; its images would count twice"
        )


def test_an_infinite_distance_is_no_score(cli: Cli):
    np.savez("huge.npz", mu=np.full(12, 1e200), sigma=np.eye(12))
    for options in ((), ("--json",)):
        assert cli("fid", "huge.npz", "fake", *PIXELS, *options).error == (
            "the Fréchet distance of features as far apart as 8e+199 is beyond float64; scale all features"
        )


def test_statistics_are_no_images(cli: Cli, whole: dict[str, Any]):
    assert cli("is", "whole.npz", "--features", "efficientnet-lite0").error == (
        "is: needs the fake images themselves, and whole.npz holds statistics without them; "
        "give the images, or statistics made with ganmetrics stats -m is"
    )


def test_statistics_of_statistics_are_the_same(cli: Cli, whole: dict[str, Any]):
    assert cli("stats", "whole.npz", "-o", "new.npz", *PIXELS).out == "new.npz: 70 images, 12 dimensions, pixels\n"
    assert Path("new.npz").read_bytes() == Path("whole.npz").read_bytes()


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ("whole.npz", "exists already; choose another name or give --overwrite"),
        ("folder.npz", "is a folder; choose another name"),
        ("statistics", "expected a name that ends in .npz"),
        ("no/new.npz", "its folder does not exist or cannot be written to"),
        ("real/00000.png/new.npz", "its folder does not exist or cannot be written to"),
        ("locked/new.npz", "its folder does not exist or cannot be written to"),
    ],
)
def test_output_that_cannot_be(
    output: str, error: str, cli: Cli, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """Told before anything slow begins: not one image is read."""
    Path("folder.npz").mkdir()
    Path("locked").mkdir()
    monkeypatch.setattr(files.os, "access", lambda path, mode: Path(path) != Path("locked"))  # root may write anywhere
    monkeypatch.setattr("ganmetrics.measurement.shared_reading.extract", None)
    before = Path("whole.npz").read_bytes()
    assert cli("stats", "real", "-o", output, *PIXELS).error == f"{output}: {error}"
    assert cli("merge", "a.npz", "b.npz", "-o", output).error == f"{output}: {error}"
    assert Path("whole.npz").read_bytes() == before
    assert cli("stats", "nope", "-o", "folder.npz", "--overwrite", *PIXELS).error == (
        "folder.npz: is a folder; choose another name"
    )


def test_overwrite(cli: Cli, whole: dict[str, Any]):
    assert cli("stats", "fake", "-o", "whole.npz", "--overwrite", *PIXELS) == Ran(
        0, "whole.npz: 60 images, 12 dimensions, pixels\n", ""
    )
    assert cli("merge", "a.npz", "-o", "whole.npz", "--overwrite").code == 0
    assert np.load("whole.npz")["count"] == 9


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (OSError(28, "No space left on device"), 1, "Error: whole.npz: cannot be written (No space left on device)\n"),
        (KeyboardInterrupt(), 130, "Interrupted: nothing was written.\n"),
    ],
)
def test_a_write_that_ends_half_way_leaves_the_old_file(
    failure: BaseException, code: int, line: str, cli: Cli, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    def half(file: Any, *_: Any, **__: Any) -> None:
        file.write(b"PK half")
        raise failure

    before = sorted(os.listdir()), Path("whole.npz").read_bytes()
    monkeypatch.setattr(np.lib.format, "write_array", half)
    assert cli("stats", "fake", "-o", "whole.npz", "--overwrite", *PIXELS) == Ran(code, "", line)
    assert (sorted(os.listdir()), Path("whole.npz").read_bytes()) == before


def test_names_of_any_bytes(cli: Cli, whole: dict[str, Any]):
    name, shown = f"{BYTES}\nx.npz", r"caf\xe9\nx.npz"
    made = cli("stats", "a", "-o", name, *PIXELS)
    assert made == Ran(0, f"{shown}: 9 images, 12 dimensions, pixels\n", "")
    again = cli("stats", "a", "-o", name, *PIXELS)
    assert again.error == f"{shown}: exists already; choose another name or give --overwrite"
    assert cli("merge", name, "b.npz", "-o", f"m{name}") == Ran(0, f"m{shown}: 70 images from 2 files\n", "")
    (score,) = cli("fid", f"m{name}", "fake", *PIXELS, "--json").scores
    assert score["n_real"] == 70
    rewritten(name, whole, count=-1)
    assert cli("fid", name, "fake", *PIXELS).error.startswith(f"{shown}: expected a whole number")
    np.savez(name, mu=whole["mu"], sigma=whole["sigma"])
    assert cli("fid", name, "fake", *PIXELS).err.startswith(f"Warning: real: {shown} does not say how")
    assert cli("fid", f"no{name}", "fake", *PIXELS).error.startswith(f"no{shown}: no such file")


def test_a_statistics_file_under_the_home_folder(
    whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """No shell expands it in Python; images under `~` were found already."""
    import ganmetrics

    monkeypatch.setenv("HOME", str(tmp_path))
    assert ganmetrics.fid("~/whole.npz", "~/real", features="pixels").value < 1e-10
