"""Statistics of reference images, kept: found again bit by bit while every byte is the same, and never otherwise."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import ganmetrics as gm
from ganmetrics import parts, sides
from ganmetrics.comparison import Side
from ganmetrics.errors import ImageError, OptionError, StatisticsError
from ganmetrics.images import open_images
from ganmetrics.measurement import configured
from ganmetrics.memory import size
from ganmetrics.metrics.index import METRICS, TWO
from ganmetrics.reference_cache import ReferenceCache, key_of
from ganmetrics.settings import Settings
from ganmetrics.statistics import cache as entries
from tests.conftest import PIXELS, Cli, run_cli, write_folder

OPTIONS: dict[str, Any] = {"features": "pixels", "device": "cpu", "progress": False}
OF_IMAGES = [name for name, entry in METRICS.items() if entry.sides == TWO]


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANMETRICS_CACHE", str(tmp_path / ".cache"))
    monkeypatch.delenv("GANMETRICS_CACHE_LIMIT")
    entries.tell.cache_clear()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sides that images were read of, with how many extractors they went through."""
    found: list[str] = []
    extract = parts.extract

    def recording(source: Any, feeds: Any, **options: Any) -> Any:
        found.append(options["label"])
        return extract(source, feeds, **options)

    monkeypatch.setattr(parts, "extract", recording)
    return found


@pytest.fixture
def folders(rng: np.random.Generator, tmp_path: Path) -> tuple[Path, Path]:
    """`real` and `fake`, 70 and 60 images of 4x4 in two classes each."""
    for side, n in (("real", 70), ("fake", 60)):
        for part in "ab":
            pixels = rng.integers(0, 256, (n // 2, 4, 4, 3), dtype=np.uint8)
            write_folder(tmp_path / side / part, pixels, "bmp")
    return tmp_path / "real", tmp_path / "fake"


def fid(real: Any, fake: Any, **options: Any) -> gm.Score:
    return gm.fid(real, fake, **{**OPTIONS, **options})


def stored() -> list[Path]:
    return sorted(entries.folder().glob("*")) if entries.folder().is_dir() else []


def without_origin(score: gm.Score) -> dict[str, Any]:
    fields = json.loads(score.to_json())
    del fields["seconds"]
    fields["protocol"].pop("cached", None)
    return fields


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("name", OF_IMAGES)
def test_every_metric_is_the_same_from_the_cache(
    name: str, confidence: bool, folders: tuple[Path, Path], read: list[str]
) -> None:
    if METRICS[name].load().kind == "spatial":
        pytest.skip("pixels have no spatial vectors; the statistics are those of fid")
    options = {**OPTIONS, "confidence": confidence, "resamples": 100, "batch_size": 7}
    plain, first, second = (gm.evaluate(*folders, [name], cache=cache, **options) for cache in (False, True, True))
    assert read == ["real", "fake", "real", "fake", "fake"]
    for value in plain:
        assert without_origin(plain[value]) == without_origin(first[value]) == without_origin(second[value])
        assert "cached" not in first[value].protocol
        assert second[value].protocol["cached"] == ["real"]


def test_the_network_sees_no_real_image_again(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from ganmetrics.features.extractor import NetworkExtractor

    seen = []
    extract = NetworkExtractor.extract
    monkeypatch.setattr(
        NetworkExtractor,
        "extract",
        lambda own, stacks, taps: seen.append(sum(map(len, stacks))) or extract(own, stacks, taps),
    )
    options = {**OPTIONS, "features": "efficientnet-lite0"}
    real, fake = (sorted(map(str, (folder / "a").iterdir()))[:n] for folder, n in zip(folders, (7, 5), strict=True))
    one, two = (gm.fid(real, fake, **options) for _ in range(2))
    assert sum(seen) == 7 + 5 + 5
    assert (one.value, one.warnings) == (two.value, two.warnings)


def test_what_is_missing_alone_is_measured(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """FID's moments are there, the vectors themselves are not."""
    plain = gm.evaluate(*folders, ["fid"], **OPTIONS, cache=False)["fid"]
    fid(*folders)
    fed = []
    feeds = sides.feeds
    monkeypatch.setattr(
        sides, "feeds", lambda side, own: fed.append((side, [one.metric.name for one in own])) or feeds(side, own)
    )
    settings = Settings(**OPTIONS)
    mixed = [*configured(["fid"], settings), *configured(["fid"], Settings(**OPTIONS, confidence=True))]
    side = Side("real", folders[0])
    sides.fill(side, mixed, settings)
    assert fed == [("real", ["fid"])]
    assert len(side.cached) == 1
    assert mixed[0].metric.statistics["real"].count == mixed[1].metric.statistics["real"].count == 70
    assert len(stored()) == 2
    assert plain.n_real == 70


@pytest.mark.parametrize("n", [1, 30, 50, 600, 2000])
def test_moments_come_back_bit_by_bit(n: int, rng: np.random.Generator, tmp_path: Path) -> None:
    """Rows alone, a scatter alone, and both; and what is added afterwards is added in the same way."""
    images, more = (rng.integers(0, 256, (k, 4, 4, 3), dtype=np.uint8) for k in (n, 100))
    kept = []
    for _ in range(2):
        side, settings = Side("real", images), Settings(**OPTIONS, layout="NHWC", batch_size=64)
        own = configured(["fid"], settings)
        sides.fill(side, own, settings)
        statistic = own[0].metric.statistics["real"]
        kept.append((side, statistic))
    (first, one), (second, two) = kept
    assert (len(first.cached), len(second.cached)) == (0, 1)
    for _ in range(2):
        assert (one.count, one.folded, one.arrays().keys()) == (two.count, two.folded, two.arrays().keys())
        assert all(torch.equal(held, two.arrays()[name]) for name, held in one.arrays().items())
        for statistic in (one, two):
            statistic.update(torch.from_numpy(more.reshape(100, 48)).float() / 255)


def test_samples_stay_in_the_file_and_can_be_added_to(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = rng.integers(0, 256, (5000, 4, 4, 3), dtype=np.uint8)
    settings = Settings(**OPTIONS, layout="NHWC", confidence=True)
    found = []
    for _ in range(2):
        own = configured(["fid"], settings)
        sides.fill(Side("real", images), own, settings)
        found.append(own[0].metric.statistics["real"])
    one, two = found
    assert not two._blocks
    shutil.rmtree(entries.folder())  # another process clears the cache: what is open stays readable
    for rows in (7, 4096):
        assert [len(block) for block in one.blocks(rows)] == [len(block) for block in two.blocks(rows)]
        assert all(torch.equal(a, b) for a, b in zip(one.blocks(rows), two.blocks(rows), strict=True))
    inner = [torch.equal(outer, next(iter(two.blocks(100)))) for outer in two.blocks(100)]
    assert inner == [True] + [False] * 49  # a pass within a pass
    for store in found:
        store._limit = 1000
        store.update(torch.ones(9, 48))
        store.update(torch.zeros(2, 48))
    assert torch.equal(torch.cat(list(one.blocks())), torch.cat(list(two.blocks())))
    assert two.count == 5011


def test_a_file_replaced_with_the_same_name_size_and_date(folders: tuple[Path, Path], read: list[str]) -> None:
    real, fake = folders
    before = fid(real, fake)
    victim = real / "b" / "00007.bmp"
    status, content = victim.stat(), bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (victim.stat().st_size, victim.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    read.clear()
    after = fid(real, fake)
    assert read == ["real", "fake"]
    assert after.value != before.value
    assert after.value == fid(real, fake, cache=False).value


def test_files_added_removed_and_renamed(folders: tuple[Path, Path], read: list[str]) -> None:
    real, fake = folders

    def is_read() -> bool:
        read.clear()
        score = fid(real, fake)
        assert score.value == fid(real, fake, cache=False).value
        return read[0] == "real"

    assert is_read()
    shutil.copy(real / "a/00000.bmp", real / "a/00099.bmp")
    assert is_read()
    (real / "a/00099.bmp").unlink()
    assert not is_read()
    (real / "a/00000.bmp").rename(real / "a/00000-renamed.bmp")  # still the first
    assert not is_read()
    (real / "a/00000-renamed.bmp").rename(real / "c.bmp")  # now the last: vectors are kept in order
    assert is_read()
    assert not is_read()
    (real / "b/00001.bmp").write_bytes((real / "b/00002.bmp").read_bytes())
    assert is_read()
    (real / "notes.txt").write_text("no image")
    assert not is_read()


def test_the_same_images_from_elsewhere(folders: tuple[Path, Path], tmp_path: Path, read: list[str]) -> None:
    real, fake = folders
    value = fid(real, fake).value
    (tmp_path / "link").symlink_to(real)
    shutil.copytree(real, tmp_path / "copy")
    files = sorted(real.rglob("*.bmp"))
    with zipfile.ZipFile(tmp_path / "real.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(real))
    read.clear()
    for place in (tmp_path / "link", tmp_path / "copy", tmp_path / "real.zip", list(map(str, files))):
        assert fid(place, fake).value == value
    assert read == ["fake"] * 4
    assert len(stored()) == 1


def test_arrays_count_with_what_was_stated_of_them(rng: np.random.Generator, read: list[str]) -> None:
    """By bytes, whatever object holds them; a range, a rounding, an order of axes or a type makes other images."""
    real, fake = (rng.integers(0, 256, (40, 3, 3, 3), dtype=np.uint8) for _ in range(2))
    floats = torch.from_numpy(real).float() / 512

    def is_read(images: Any, **stated: Any) -> bool:
        read.clear()
        assert gm.fid(images, fake, **OPTIONS, **{"layout": "NCHW", **stated}).n_real == 40
        return read[0] == "real"

    assert is_read(real)
    assert not is_read(torch.from_numpy(real.copy()))
    assert not is_read(np.asfortranarray(real))
    assert is_read(real.transpose(0, 2, 3, 1))
    assert is_read(real, layout="NHWC")
    assert is_read(floats, value_range=(0, 1))
    assert not is_read(floats.clone(), value_range=(0, 1))
    assert is_read(floats, value_range=(-1, 1))
    assert is_read(floats.double(), value_range=(0, 1))
    assert is_read(floats.bfloat16(), value_range=(0, 1))


def test_what_may_differ_next_time_is_never_kept(folders: tuple[Path, Path], rng: np.random.Generator) -> None:
    """Streams, datasets with code of their own, extractors with code of their own (the code has no checksum)."""
    real, fake = (rng.integers(0, 256, (40, 3, 3, 3), dtype=np.uint8) for _ in range(2))
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(real))
    gm.fid(iter([torch.from_numpy(real)]), fake, **OPTIONS, layout="NCHW")
    gm.fid(dataset, fake, **OPTIONS, layout="NCHW")
    gm.fid(lambda n: torch.from_numpy(real[:n]), fake, **OPTIONS, layout="NCHW", n_samples=40)
    for own in (lambda images: images.flatten(1).float(), torch.nn.Sequential(Float(), torch.nn.Linear(48, 5))):
        gm.fid(*folders, **{**OPTIONS, "features": own})
    gm.inception_score(folders[1], **{**OPTIONS, "features": "efficientnet-lite0"}, splits=2)  # has no real side
    gm.stats(folders[1], **OPTIONS)
    fid(*folders, cache=False)
    assert stored() == []


class Float(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).float()


def test_the_key_holds_all_that_decides_a_vector(synthetic_weights: Path, tmp_path: Path) -> None:
    state = torch.load(synthetic_weights, weights_only=True)
    state["fc.bias"] = state["fc.bias"] + 1
    torch.save(state, tmp_path / "other.pth")

    def key(name: str = "fid", fingerprint: str = "0", **options: Any) -> str:
        settings = Settings(**{"device": "cpu", "weights": synthetic_weights, **options})
        (own,) = configured([name], settings)
        return key_of(own, "real", fingerprint)

    first = key()
    others = [
        key(fingerprint="1"),
        key(confidence=True),  # keeps the vectors themselves
        key(weights=tmp_path / "other.pth"),
        key(dtype="float64"),
        key(dtype="bfloat16"),
        key(features="inception:768"),
        *(key(protocol=name) for name in ("clean-fid", "torchmetrics")),
        key(features="pixels", weights=None),
        key(features="efficientnet-lite0", weights=None),
    ]
    assert key() == first
    assert key(batch_size=3, num_workers=0, ddof=0, cache=False) == first
    assert len({first, *others}) == 1 + len(others)
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        assert key(features="pixels", weights=None) not in others
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def test_skipped_images_belong_to_the_entry(folders: tuple[Path, Path], tmp_path: Path, read: list[str]) -> None:
    real, fake = folders
    (real / "a/00003.bmp").write_bytes(b"no image")
    (real / "b/00003.bmp").unlink()
    (real / "b/00003.bmp").symlink_to("nowhere")
    plain, first, second = (fid(real, fake, on_error="skip", cache=cache) for cache in (False, True, True))
    assert read == ["real", "fake", "real", "fake", "fake"]
    assert without_origin(plain) == without_origin(first) == without_origin(second)
    assert [Path(entry["image"]).name for entry in second.skipped] == ["00003.bmp"] * 2
    with pytest.raises(ImageError, match=r"00003\.bmp: not an image"):
        fid(real, fake)
    shutil.copytree(real, tmp_path / "copy", symlinks=True)
    third = fid(tmp_path / "copy", fake, on_error="skip")
    assert third.protocol["cached"] == ["real"]
    assert third.skipped[0]["image"] == f"{tmp_path}/copy/a/00003.bmp"


def test_an_entry_without_skipped_images_serves_both(folders: tuple[Path, Path], read: list[str]) -> None:
    fid(*folders, on_error="skip")
    fid(*folders, on_error="fail")
    assert read == ["real", "fake", "fake"]


def test_classes_and_remarks_are_those_of_today(folders: tuple[Path, Path]) -> None:
    real, _ = folders
    (real / "a/00003.bmp").write_bytes(b"no image")
    settings = Settings(**OPTIONS, on_error="skip")
    for renamed in (False, True):
        if renamed:
            (real / "b").rename(real / "cats")
            (real / "odd.jfif").write_bytes(b"left out")
        side = Side("real", real, opened=settings.open(real))
        side.opened.labels = [name.split("/")[0] for name in (entry.name for entry in side.opened.entries)]
        sides.fill(side, configured(["fid"], settings), settings)
        assert side.labels == ["a"] * 34 + ["cats" if renamed else "b"] * 35
        assert side.summary.remarks == (["1 .jfif left out: not among the extensions that are read"] if renamed else [])
    assert side.cached


def test_images_that_change_while_they_are_read_are_not_kept(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fake = folders
    extract = parts.extract

    def disturbed(source: Any, feeds: Any, **options: Any) -> Any:
        found = extract(source, feeds, **options)
        shutil.copy(real / "a/00001.bmp", real / "a/00000.bmp")
        return found

    monkeypatch.setattr(parts, "extract", disturbed)
    fid(real, fake)
    assert stored() == []


def test_pixels_of_another_shape_are_refused_as_without(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """8x2 pixels make as many numbers as 4x4."""
    write_folder(tmp_path / "wide", np.zeros((9, 2, 8, 3), np.uint8))
    messages = []
    for cache in (False, True, True):
        with pytest.raises(StatisticsError) as caught:
            fid(folders[0], tmp_path / "wide", cache=cache)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] == messages[2]
    assert "came 4x4 RGB and 8x2 RGB" in messages[0]


def test_in_a_training_loop(folders: tuple[Path, Path], read: list[str]) -> None:
    batch = torch.randint(0, 256, (60, 3, 4, 4), dtype=torch.uint8)
    values = []
    for cache in (False, True, True):
        with torch.inference_mode():
            metric = gm.FID(real=folders[0], **OPTIONS, cache=cache, layout="NCHW")
        metric.update(batch)
        metric.update(batch, side="real")
        values.append(metric.compute().value)
    assert read == ["real", "real"]
    assert values[0] == values[1] == values[2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_moments_come_back_to_the_device(rng: np.random.Generator) -> None:
    real = rng.integers(0, 256, (200, 3, 4, 4), dtype=np.uint8)
    batch = torch.from_numpy(rng.integers(0, 256, (60, 3, 4, 4), dtype=np.uint8)).cuda()
    values = []
    for _ in range(2):
        metric = gm.FID(real=real, **{**OPTIONS, "device": "cuda"}, layout="NCHW")
        for side in ("real", "fake"):
            metric.update(batch, side=side, layout="NCHW")
        values.append(metric.compute().value)
    assert values[0] == values[1]


def test_watchers_still_see_every_image(folders: tuple[Path, Path]) -> None:
    settings = Settings(**OPTIONS)
    for _ in range(2):
        seen: list[int] = []
        side = Side("real", folders[0])
        sides.fill(side, configured(["fid"], settings), settings, [lambda stack, to=seen: to.append(len(stack))])
        assert sum(seen) == 70
    assert side.cached


DAMAGES = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
    "a bit in the header": lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
    "a bit in the numbers": lambda content: content[:-2000] + bytes([content[-2000] ^ 1]) + content[-1999:],
    "a bit in the checksum": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "zeros": lambda content: bytes(len(content)),
    "a pickle": lambda content: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_dropped_and_measured_again(
    damage: str, folders: tuple[Path, Path], read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = fid(*folders)
    (path,) = stored()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = fid(*folders)
    assert without_origin(again) == without_origin(plain)
    assert read == ["real", "fake"] * 2
    said = f"Warning: {path}: an entry of the cache was damaged; it was dropped, and the images are measured again\n"
    assert capsys.readouterr().err == said
    assert fid(*folders).protocol["cached"] == ["real"]


def test_an_entry_under_the_name_of_another(folders: tuple[Path, Path], read: list[str]) -> None:
    fid(*folders)
    fid(folders[1], folders[0])
    one, other = stored()
    shutil.copy(one, other)
    read.clear()
    fid(*folders)
    fid(folders[1], folders[0])
    assert sorted(read) == ["fake", "fake", "real"]


@pytest.mark.parametrize("place", ["a file", "no disk space", "no home"])
def test_a_cache_that_cannot_be_written(
    place: str, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The score is the same, and one line says so, once."""
    plain = fid(*folders, cache=False)
    (tmp_path / "file").write_text("")
    if place == "a file":
        monkeypatch.setenv("GANMETRICS_CACHE", str(tmp_path / "file"))
        where, reason = tmp_path / "file/statistics", "Not a directory"
    elif place == "no home":
        monkeypatch.setattr(entries, "cache_dir", lambda: Path("~/.cache/ganmetrics"))
        where, reason = "the home directory", "this user has no home directory; set GANMETRICS_CACHE"
    else:
        monkeypatch.setattr(os, "fsync", full)
        where, reason = tmp_path / ".cache/statistics", "No space left on device"
    for _ in range(2):
        assert without_origin(fid(*folders)) == without_origin(plain)
    said = f"Warning: the cache in {where} cannot be used ({reason}); going on without it\n"
    assert capsys.readouterr().err == said
    monkeypatch.undo()
    assert [path for path in tmp_path.rglob("*") if path.suffix in (entries.SUFFIX, entries.UNFINISHED)] == []
    assert not Path("~").exists()


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_least_recently_used_go_first(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five entries of 0.19 MB fit in 1 MB."""
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "1MB")
    sets = [rng.integers(0, 256, (30, 3, 16, 16), dtype=np.uint8) for _ in range(6)]
    paths: list[Path] = []
    for i, images in enumerate(sets[:5]):
        fid(images, sets[0])
        (path,) = set(stored()) - set(paths)
        os.utime(path, (1000 + i, 1000 + i))
        paths.append(path)
    assert fid(sets[0], sets[1]).protocol["cached"] == ["real"]  # used now
    fid(sets[5], sets[0])
    assert sum(path.stat().st_size for path in stored()) <= 10**6
    assert set(paths) - set(stored()) == {paths[1]}


def test_an_entry_that_takes_more_than_its_share(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "1MB")
    images = rng.integers(0, 256, (70, 3, 16, 16), dtype=np.uint8)
    for _ in range(2):
        assert "cached" not in fid(images, images).protocol
    assert stored() == []
    assert capsys.readouterr().err == (
        "Warning: array of shape (70, 3, 16, 16): its statistics are not kept: 430.7 kB are more than a quarter of the "
        "cache's 1.0 MB; set GANMETRICS_CACHE_LIMIT to 1.7 MB or more to keep them\n"
    )


def test_the_limit_as_it_is_written(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert entries.limit() == 4 * 10**9
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "0")
    fid(*folders)
    assert stored() == []
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "plenty")
    with pytest.raises(OptionError) as caught:
        fid(*folders)
    assert str(caught.value) == (
        "GANMETRICS_CACHE_LIMIT: expected at least 1MB, such as 500MB or 4GB, or 0 for no cache, came 'plenty'"
    )


ENTRY = "entries.Array('float64', (3,), [np.arange(3.0)])"
KILLED = f"""
import os, signal, numpy as np
from ganmetrics.statistics import cache as entries
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
entries.write("k" * 64, {{}}, {{"rows": {ENTRY}}})
"""


def test_killed_while_writing() -> None:
    """Nothing is there to be read; what was left behind goes with the next entry that comes ten minutes later."""
    assert subprocess.run([sys.executable, "-c", KILLED]).returncode == -9
    (left,) = stored()
    assert left.suffix == entries.UNFINISHED
    assert entries.read("k" * 64) is None
    assert entries.listed() == []
    entries.make_room(10**9)
    assert left.exists()  # it may be of a process that is writing
    os.utime(left, (1, 1))
    entries.make_room(10**9)
    assert stored() == []


SHARED = """
import random, sys, numpy as np
from ganmetrics.statistics import cache as entries
found = set()
for turn in range(60):
    i = random.randrange(8)
    entry = entries.read(f"{i}")
    if entry is None:
        rows = np.full(20_000, float(i))
        entries.write(f"{i}", {"i": i}, {"rows": entries.Array("float64", (20_000,), [rows[:9], rows[9:]])})
        found.add("written")
    else:
        with entry.file as file:
            file.seek(entry.arrays["rows"].start)
            assert (np.fromfile(file, float, 20_000) == i).all() and entry.about == {"i": i}
            found.add("read")
    if sys.argv[1] == "clears" and turn % 20 == 19:
        entries.clear()
print(sorted(found))
"""


def test_processes_that_write_read_and_clear_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight entries of 160 kB, of which 1 MB holds six: they are written, read, evicted and cleared."""
    monkeypatch.setenv("GANMETRICS_CACHE_LIMIT", "1MB")
    asked = ("writes", "writes", "clears")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for what in asked
    ]
    ended = [process.communicate(timeout=60) for process in running]
    assert [err for _, err in ended] == ["", "", ""]
    assert [out for out, _ in ended] == ["['read', 'written']\n"] * 3
    assert not list(entries.folder().glob(f"*{entries.UNFINISHED}"))


def test_two_measurements_at_once(folders: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "ganmetrics", "fid", *map(str, folders), *PIXELS, "--device", "cpu", "--json"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in running]
    assert [err for _, err in ended] == ["", ""]
    values = {json.loads(out)["value"] for out, _ in ended}
    assert len(stored()) == 1
    third = fid(*folders)
    assert (values, third.protocol["cached"]) == ({third.value}, ["real"])


def test_on_the_command_line(cli: Cli, folders: tuple[Path, Path]) -> None:
    """`cli` empties the caches."""
    assert cli("cache", "list").out == f"0 entries, 0 B of at most 4.0 GB, in {entries.folder()}\n"
    measure = ("fid", *folders, *PIXELS, "--device", "cpu", "--json")
    assert "cached" not in cli(*measure).scores[0]["protocol"]
    assert cli(*measure).scores[0]["protocol"]["cached"] == ["real"]
    assert "cached" not in cli(*measure, "--no-cache").scores[0]["protocol"]
    os.utime(*stored(), (0, 0))
    head, row, total = cli("cache", "list").out.splitlines()
    assert head.split("  ")[0] == "source"
    assert row.startswith(f"{folders[0]}  pixels    moments      70  ")
    assert [head.index(name) for name in ("features", "kept")] == [row.index(name) for name in ("pixels", "moments")]
    assert total.startswith("1 entry, ")
    assert cli("cache", "clear", "--older-than", "40000").out.startswith("removed 0 entries, 0 B, from ")
    (path,) = stored()
    expected = f"removed 1 entry, {size(path.stat().st_size)}, from {entries.folder()}\n"
    assert cli("cache", "clear", "--older-than", "30").out == expected
    assert stored() == []


def test_a_listing_says_what_cannot_be_read(cli: Cli, folders: tuple[Path, Path]) -> None:
    fid(*folders)
    stored()[0].write_bytes(b"x" * 1234)
    row = cli("cache", "list").out.splitlines()[1]
    assert row.split("  ")[0] == "cannot be read"
    assert "1.2 kB" in row


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['ganmetrics', 'cache', 'list']\n"
        "from ganmetrics.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "False\n")


def test_help_names_the_option() -> None:
    assert "--cache / --no-cache" in run_cli("fid", "--help").stdout


def test_one_line_where_progress_is_shown(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fid(*folders)
    for progress, terminal in ((False, True), (True, False), (True, True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda shown=terminal: shown, raising=False)
        settings = Settings(**OPTIONS)
        side = Side("real", folders[0], opened=settings.open(folders[0]))
        ReferenceCache(side, configured(["fid"], settings), wanted=True, skip=False, progress=progress)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("real: 70 images from the cache (compared in ")


def test_fingerprints_of_odd_sources(tmp_path: Path) -> None:
    """What cannot be opened has one too, and a pipe is not waited for."""
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with_pipe = open_images(tmp_path).fingerprint()
    (tmp_path / "b.png").unlink()
    assert with_pipe not in (None, open_images(tmp_path).fingerprint())
    assert open_images(iter([1])).fingerprint() is None
