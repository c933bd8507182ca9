"""Samples on disk: three forms of the same images, whole or not there at all."""

from __future__ import annotations

import errno
import json
import os
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reference_models
from ganmetrics.errors import GanMetricsError, OptionError
from ganmetrics.images import open_images, read_batches
from reference_models.sampling import output
from reference_models.sampling.output import require_writable, write_samples
from reference_models.sampling.sampler import Model

FORMS = ("fake", "fake.zip", "fake.npz")
N = 70  # more than two blocks of 32


def trained(out: Path, data: Any) -> Model:
    recipe = {"image_size": 8, "ngf": 4, "ndf": 4, "batch_size": 16}
    cadence = reference_models.Cadence(progress=False)
    reference_models.train("dcgan", data, out, recipe=recipe, max_steps=2, device="cpu", cadence=cadence)
    return reference_models.load(out, device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return trained(tmp_path_factory.mktemp("output") / "run", "digits")


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Model:
    draw = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), np.uint8)
    return trained(tmp_path_factory.mktemp("output") / "coloured", draw)


def read(path: Path) -> torch.Tensor:
    return torch.cat([part for batch in read_batches(open_images(path), batch_size=16) for part in batch])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [*FORMS, "fake.NPZ"])
def test_images_are_read_back_to_the_bit(model: Model, coloured: Model, tmp_path: Path, name: str) -> None:
    for number, each in enumerate((model, coloured)):
        (tmp_path / str(number)).mkdir()
        out = tmp_path / str(number) / name
        assert write_samples(each, out, N, seed=3, progress=False) == out
        assert torch.equal(read(out), each.sample(N, seed=3))
        assert len(list(out.parent.iterdir())) == 2  # and the record; nothing hidden is left


def test_grey_stays_grey_and_the_layout_is_adms(model: Model, coloured: Model, tmp_path: Path) -> None:
    for each, shape, mode in ((model, (3, 8, 8, 1), "L"), (coloured, (3, 8, 8, 3), "RGB")):
        write_samples(each, tmp_path / "a.npz", 3, overwrite=True, progress=False)
        with np.load(tmp_path / "a.npz") as archive:
            assert archive.files == ["arr_0"]
            assert archive["arr_0"].shape == shape
            assert archive["arr_0"].dtype == np.uint8
            assert np.array_equal(archive["arr_0"], each.sample(3).permute(0, 2, 3, 1))
        write_samples(each, tmp_path / "b", 3, overwrite=True, progress=False)
        with Image.open(tmp_path / "b" / "000002.png") as image:
            assert image.mode == mode


def test_a_zip_holds_the_folders_files_uncompressed(model: Model, tmp_path: Path) -> None:
    for out in ("fake", "other.zip"):
        write_samples(model, tmp_path / out, 5, start=38, progress=False)
    with zipfile.ZipFile(tmp_path / "other.zip") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert packed == contents(tmp_path / "fake")
    assert list(packed) == [f"{i:06}.png" for i in range(38, 43)]
    assert torch.equal(read(tmp_path / "fake"), model.sample(43)[38:])


def test_names_are_in_the_order_of_the_samples_past_a_million(model: Model, tmp_path: Path) -> None:
    write_samples(model, tmp_path / "fake", 3, start=999_998, progress=False)
    assert sorted(os.listdir(tmp_path / "fake")) == ["0999998.png", "0999999.png", "1000000.png"]


@pytest.mark.parametrize("name", FORMS)
def test_the_same_samples_are_the_same_bytes_whatever_the_batch(model: Model, tmp_path: Path, name: str) -> None:
    for folder, batch_size in (("a", None), ("b", 7)):
        (tmp_path / folder).mkdir()
        write_samples(model, tmp_path / folder / name, N, batch_size=batch_size, progress=False)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("name", [*FORMS, "v1.5"])
def test_the_record_beside_says_how_they_were_made(model: Model, tmp_path: Path, name: str) -> None:
    write_samples(model, tmp_path / name, 2, seed=4, ema=False, start=1, progress=False)
    record = tmp_path / ("v1.5.json" if name == "v1.5" else "fake.json")
    assert json.loads(record.read_text()) == model.record(2, seed=4, ema=False, start=1)
    weights = json.loads((model.checkpoint.path / "manifest.json").read_text())["sha256"]
    assert json.loads(record.read_text())["sha256"] == weights["generator.safetensors"]


class Interrupted(Model):
    """A model whose second batch never comes."""

    def __init__(self, model: Model, error: BaseException):
        super().__init__(model.checkpoint, device="cpu")
        self.error = error

    def batches(self, n: int, **options: Any) -> Iterator[torch.Tensor]:
        yield next(iter(super().batches(n, **{**options, "batch_size": 16})))
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
@pytest.mark.parametrize("name", FORMS)
def test_what_is_broken_off_leaves_nothing(model: Model, tmp_path: Path, name: str, error: BaseException) -> None:
    broken = Interrupted(model, error)
    with pytest.raises(type(error)):
        write_samples(broken, tmp_path / name, N, progress=False)
    assert os.listdir(tmp_path) == []
    write_samples(model, tmp_path / name, 3, progress=False)
    before = contents(tmp_path)
    with pytest.raises(type(error)):
        write_samples(broken, tmp_path / name, N, overwrite=True, progress=False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", FORMS)
def test_a_failed_move_brings_back_what_was_there(model: Model, tmp_path: Path, name: str, monkeypatch) -> None:
    write_samples(model, tmp_path / name, 3, progress=False)
    before, replace = contents(tmp_path), os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(source).name == "record":
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(output.os, "replace", failing)
    with pytest.raises(GanMetricsError):
        write_samples(model, tmp_path / name, 5, overwrite=True, progress=False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", FORMS)
def test_a_full_disk_is_one_line(model: Model, tmp_path: Path, name: str, monkeypatch) -> None:
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    if name == "fake":  # whose files are smaller than any limit
        monkeypatch.setattr(output, "_png", lambda image: (_ for _ in ()).throw(OSError(errno.EFBIG, "File too large")))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, kept[1]))
        with pytest.raises(GanMetricsError) as caught:
            write_samples(model, tmp_path / name, N, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    expected = "cannot be written (File too large); nothing was kept, what was there is as it was"
    assert str(caught.value) == f"{tmp_path / name}: {expected}"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", FORMS)
def test_what_is_there_is_replaced_only_when_asked(model: Model, tmp_path: Path, name: str) -> None:
    write_samples(model, tmp_path / name, 5, progress=False)
    before = contents(tmp_path)
    with pytest.raises(OptionError) as caught:
        write_samples(Interrupted(model, AssertionError("sampled first")), tmp_path / name, 3, progress=False)
    assert str(caught.value) == f"{tmp_path / name}: exists already; choose another name or give --overwrite"
    assert contents(tmp_path) == before
    write_samples(model, tmp_path / name, 3, seed=1, overwrite=True, progress=False)
    assert torch.equal(read(tmp_path / name), model.sample(3, seed=1))
    assert json.loads((tmp_path / "fake.json").read_text())["n_samples"] == 3


def test_an_empty_folder_is_free_and_a_link_is_followed(model: Model, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_samples(model, tmp_path / "link", 2, progress=False)
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path / "real")) == ["000000.png", "000001.png"]


def test_a_folder_of_anything_else_is_never_taken_away(tmp_path: Path) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "thesis.tex").touch()
    with pytest.raises(OptionError) as caught:
        require_writable(tmp_path / "fake", overwrite=True)
    assert str(caught.value) == f"{tmp_path}/fake: holds thesis.tex, which is no sample; choose another name"


def test_a_foreign_record_is_kept(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(OptionError) as caught:
        require_writable(tmp_path / "package.zip")
    expected = "its record package.json exists; choose another name or give --overwrite"
    assert str(caught.value) == f"{tmp_path}/package.zip: {expected}"
    assert require_writable(tmp_path / "package.zip", overwrite=True) == (tmp_path / "package.zip").resolve()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent/fake", "its parent folder does not exist; make it first or choose another name"),
        ("file/fake", "its parent folder does not exist; make it first or choose another name"),
        ("file", "is a file, expected the name of a folder, .npz or .zip; choose another name"),
        ("folder.npz", "is a folder, expected the name of a file; choose another name"),
        ("a.npz", "its record a.json is a folder; choose another name"),
        ("fake.npy", "expected a name ending .npz or .zip, or one without an ending for a folder of PNG"),
    ],
)
def test_a_name_that_cannot_be_used_is_told(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    for folder in ("folder.npz", "a.json"):
        (tmp_path / folder).mkdir()
    for overwrite in (False, True):
        with pytest.raises(OptionError) as caught:
            require_writable(tmp_path / name, overwrite=overwrite)
        assert str(caught.value) == f"{tmp_path / name}: {message}"


def test_a_folder_without_permission_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(output.os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(OptionError) as caught:
        require_writable(tmp_path / "fake")
    assert str(caught.value) == f"{tmp_path}/fake: its parent folder cannot be written to; choose another name"


def test_the_current_folder_is_no_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError) as caught:
        require_writable(".")
    assert str(caught.value) == ".: expected a name for the samples; give one inside, such as ./fake"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n: expected a whole number of at least 1, got 0"),
        ({"n": 2.5}, "n: expected a whole number of at least 1, got 2.5"),
        ({"start": -1}, "start: expected a whole number of at least 0, got -1"),
        ({"seed": -1}, "--seed: expected a whole number from 0 to below 2^31, got -1"),
        ({"batch_size": -1}, "batch_size: expected a whole number of at least 1, got -1"),
    ],
)
def test_numbers_that_mean_nothing_leave_nothing(model: Model, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        write_samples(model, tmp_path / "fake.npz", **{"n": 2, **options}, progress=False)
    assert str(caught.value) == message
    assert os.listdir(tmp_path) == []
