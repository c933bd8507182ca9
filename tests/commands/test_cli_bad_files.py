"""Bad files on the command line: what `--on-error` names, lists and leaves out, in folders, zips and under any name."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.helpers.commands import PIXELS, Cli, Ran
from tests.helpers.spoiled import BYTES, spoil

pytestmark = pytest.mark.usefixtures("real_and_fake")


def test_skip_lists_every_bad_file_and_changes_nothing_else(cli: Cli):
    (clean,) = cli("fid", "real", "fake", *PIXELS, "--json").scores
    reasons = spoil(Path("fake"), Path("fake/00000.png").read_bytes())
    asked = ("fid", "real", "fake", *PIXELS, "--on-error", "skip")
    (score,) = cli(*asked, "--json").scores
    assert score["skipped"] == [{"image": image, "reason": reason} for image, reason in reasons.items()]
    assert score["warnings"] == ["8 fake images were skipped; the score lists them"]
    assert (score["value"], score["n_fake"]) == (clean["value"], 60)
    assert cli(*asked) == Ran(
        0,
        f"fd-pixels {clean['value']:.4f}  (70 real, 60 fake; pixels; float32)\n",
        "Warning: 8 fake images were skipped; the score lists them\n"
        + "".join(f"Skipped: {image}: {reason}\n" for image, reason in reasons.items()),
    )


def test_fail_names_the_first_bad_file(cli: Cli):
    """In the order of their names, whatever thread meets one first: each in turn becomes the first."""
    reasons = spoil(Path("fake"), Path("fake/00000.png").read_bytes())
    for image, reason in reasons.items():
        assert cli("fid", "real", "fake", *PIXELS).error == f"{image}: {reason}"
        os.unlink(os.fsdecode(image.encode("latin-1").decode("unicode_escape").encode("latin-1")))
    assert cli("fid", "real", "fake", *PIXELS).code == 0


def test_skip_where_nothing_is_left(cli: Cli):
    Path("bad").mkdir()
    for name in ("bad/a.png", "bad/b.png"):
        Path(name).touch()
    assert cli("fid", "bad", "fake", *PIXELS, "--on-error", "skip").error == (
        "bad: none of its 2 images can be read; the first is bad/a.png: empty file (0 bytes)"
    )


def test_zip_is_its_folder(cli: Cli):
    (folder,) = cli("fid", "real", "fake", *PIXELS, "--json").scores
    with zipfile.ZipFile("fake.zip", "w") as archive:
        for path in Path("fake").iterdir():
            archive.write(path, path.name)
        archive.writestr("../up.png", b"")
        archive.writestr("empty.png", b"")
    assert cli("fid", "real", "fake.zip", *PIXELS).error == (
        "fake.zip/../up.png: its path leaves the zip archive (absolute, or with ..): refused"
    )
    (score,) = cli("fid", "real", "fake.zip", *PIXELS, "--on-error", "skip", "--json").scores
    assert score["value"] == folder["value"]
    assert [entry["image"] for entry in score["skipped"]] == ["fake.zip/../up.png", "fake.zip/empty.png"]


def test_names_of_any_bytes_are_read(cli: Cli):
    """Folder and files: the score is that of the same images under plain names."""
    (plain,) = cli("fid", "real", "fake", *PIXELS, "--json").scores
    odd = Path(f"{BYTES}\nfolder")
    odd.mkdir()
    for path in Path("fake").iterdir():
        shutil.copy(path, odd / f"{path.stem}{BYTES}\n\x1b[31m.png")
    (score,) = cli("fid", "real", str(odd), *PIXELS, "--json").scores
    assert (score["value"], score["n_fake"]) == (plain["value"], 60)
