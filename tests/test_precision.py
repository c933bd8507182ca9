"""Stated choices that trade exactness for speed: what the network runs in, and what decodes JPEG files.

What only a CUDA device does is in `test_gpu.py`; here is what surrounds it, with a stand-in for the device.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganmetrics as gm
from ganmetrics import reference_cache, runtime, settings
from ganmetrics.commands.options import EXTRACTING
from ganmetrics.errors import ImageError, OptionError, StatisticsError
from ganmetrics.features import extract as extraction
from ganmetrics.features.extractor import Extractor, Finite, NetworkExtractor
from ganmetrics.features.extractor import Options as ExtractorOptions
from ganmetrics.images import open_images, read_batches
from ganmetrics.images.decode import CMYK, ROTATED, decode
from ganmetrics.images.jpeg import JpegDecoder, is_plain
from ganmetrics.measurement import configured
from ganmetrics.protocols import DTYPES
from ganmetrics.statistics import files
from ganmetrics.statistics.moments import Moments
from tests.conftest import run_cli, write_folder

CPU = torch.device("cpu")
LITE = {"features": "efficientnet-lite0", "device": "cpu", "progress": False}


class Pooled(torch.nn.Module):
    """A convolution, a ReLU and a mean; notes how float32 may be rounded while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.seen: list[Any] = []

    def forward(self, x: torch.Tensor, taps: Any) -> dict[str, torch.Tensor]:
        return {"features": self.conv(x).relu().mean((2, 3))}


def small(network: Any, **options: Any) -> NetworkExtractor:
    return NetworkExtractor(
        "small", network, taps=("features",), features_tap="features", logits_tap=None, default_taps=("features",),
        size=16, resize="bilinear", mean=[128.0], std=[128.0], weights_sha256="0" * 64,
        options=ExtractorOptions(**options),
    )  # fmt: skip


def test_one_list_of_dtypes() -> None:
    (choice,) = (p.type for o in EXTRACTING for p in o(lambda: None).__click_params__ if p.name == "dtype")
    assert tuple(choice.choices) == DTYPES
    assert [runtime.resolve_dtype(name) for name in DTYPES] == [getattr(torch, name) for name in DTYPES]
    with pytest.raises(OptionError, match="--dtype: expected one of float32, float64, bfloat16, float16, came 'half'"):
        runtime.resolve_dtype("half")


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_is_near_float64(name: str, images: torch.Tensor) -> None:
    """Off by a few roundings of the dtype, and not by none: it did run in it."""
    dtype = getattr(torch, name)
    torch.manual_seed(0)
    network = Pooled()
    found = {
        d: small(copy.deepcopy(network).to(d), dtype=d)([images], ["features"])["features"]
        for d in (torch.float64, dtype)
    }
    off = (found[dtype].double() - found[torch.float64]).abs().max() / found[torch.float64].abs().max()
    assert found[dtype].dtype == dtype
    assert 0 < off < 4 * torch.finfo(dtype).eps
    assert small(network, dtype=dtype).describe("features")["dtype"] == name


def test_float16_in_a_score(images: torch.Tensor) -> None:
    other = (images.float() * 0.6).byte()
    network = Pooled()
    by_dtype = [small(copy.deepcopy(network).to(dtype), dtype=dtype) for dtype in (torch.float32, torch.float16)]
    exact, short = (gm.fid(images, other, features=extractor, progress=False) for extractor in by_dtype)
    assert short.protocol["dtype"] == "float16"
    assert short.value != exact.value
    assert short.value == pytest.approx(exact.value, rel=0.01)


def test_float16_that_overflows_is_an_error(images: torch.Tensor) -> None:
    network = Pooled()
    torch.nn.init.constant_(network.conv.weight, 60000.0)
    bright = torch.full_like(images, 255)
    with pytest.raises(StatisticsError, match="features small: NaN or infinity in the features vectors"):
        small(network.half(), dtype=torch.float16)([bright], ["features"])


def test_an_operator_that_a_dtype_lacks_is_an_error_of_one_line(images: torch.Tensor) -> None:
    def network(x: torch.Tensor, taps: Any) -> dict[str, torch.Tensor]:
        raise NotImplementedError("\"max_pool2d\" not implemented for 'Half'\nmore")

    expected = r"^--dtype float16: torch \S+ cannot run small in it on cpu \(.*'Half'\); use --dtype float32$"
    with pytest.raises(OptionError, match=expected):
        small(network, dtype=torch.float16)([images], ["features"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_parzen_takes_no_half_precision(dtype: str, images: torch.Tensor) -> None:
    with pytest.raises(OptionError, match=f"expected float32 or float64, of a Parzen window's .*, came {dtype}"):
        gm.Parzen(images[:3], images[3:6], dtype=dtype)


# TF32


@pytest.fixture
def cuda_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks for a device is told CUDA, and the networks run on the CPU: only then is a name of it stated."""
    monkeypatch.setattr(settings, "resolve_device", lambda device: CPU)
    monkeypatch.setattr(settings, "require_tf32", lambda device, dtype: None)


def knobs() -> list[Any]:
    return [getattr(owner, name) for owner, name, _ in runtime._fp32_knobs(torch.device("cuda"), tf32=False)]


def test_tf32_is_on_within_and_off_again() -> None:
    cuda, before = torch.device("cuda"), knobs()
    with runtime.exact_arithmetic(cuda):
        exact = knobs()
        with runtime.exact_arithmetic(cuda, tf32=True):
            shortened = knobs()
        assert knobs() == exact
    assert knobs() == before
    assert set(exact) <= {"ieee", False}
    assert set(shortened) <= {"tf32", True}


def test_tf32_reaches_the_network_alone(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    real = runtime.exact_arithmetic
    monkeypatch.setattr(
        "ganmetrics.features.extractor.exact_arithmetic",
        lambda device, *, tf32=False: (asked.append(("in", tf32)), real(device, tf32=tf32))[1],
    )
    network = Pooled()
    shortened = small(lambda x, taps: (asked.append(("network", True)), network(x, taps))[1], tf32=True)
    shortened.prepare([images])
    assert asked == []
    vectors = shortened([images], ["features"])
    assert asked == [("in", True), ("network", True)]
    assert torch.equal(vectors["features"], small(network)([images], ["features"])["features"])  # a CPU has none
    assert shortened.describe("features")["dtype"] == "tf32"


def test_tf32_where_there_is_none_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"^--allow-tf32: expected a CUDA device, which alone has TF32, came cpu; "):
        gm.Settings(allow_tf32=True, device="cpu")
    for dtype in set(DTYPES) - {"float32"}:
        with pytest.raises(OptionError, match=f"expected --dtype float32, whose products it shortens, came {dtype}"):
            runtime.require_tf32(torch.device("cuda"), getattr(torch, dtype))
    found = run_cli("fid", "digits[0:5]", "digits[5:9]", "--allow-tf32", "--device", "cpu", check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("Error: --allow-tf32: expected a CUDA device")


@pytest.mark.usefixtures("cuda_on_paper")
@pytest.mark.parametrize("features", ["pixels", lambda x: x.float().mean((2, 3))])
def test_tf32_is_for_networks(features: Any) -> None:
    with pytest.raises(OptionError, match="is no network that --dtype applies to; leave it out"):
        _ = gm.Settings(features=features, allow_tf32=True).extractor


@pytest.mark.usefixtures("cuda_on_paper")
def test_tf32_is_told_apart_everywhere(images: torch.Tensor, tmp_path: Path) -> None:
    """Score, statistics file and its merge, warning of unlike sides, stream and cache: all by the protocol's dtype."""
    images, kept = images[:3], {}
    for name, tf32 in (("exact", False), ("short", True)):
        kept[name] = tmp_path / f"{name}.npz"
        files.write(kept[name], gm.stats(images, allow_tf32=tf32, **LITE))
    score = gm.fid(kept["exact"], images, allow_tf32=True, **LITE)
    assert "the two sides were measured in unlike dtypes: float32 and tf32" in score.warnings
    assert gm.fid(images, kept["short"], allow_tf32=True, **LITE).protocol["dtype"] == "tf32"
    with pytest.raises(StatisticsError, match="unlike ways: dtype is float32 and tf32"):
        gm.merge(list(kept.values()))
    exact, short = (gm.FID(real=images, allow_tf32=tf32, **LITE) for tf32 in (False, True))
    with pytest.raises(StatisticsError, match="unlike ways: dtype is float32 and tf32"):
        exact.merge(short)
    keys = {
        reference_cache.key_of(configured(["fid"], gm.Settings(allow_tf32=tf32, **LITE))[0], "real", "0")
        for tf32 in (False, True)
    }
    assert len(keys) == 2


# Finite


def test_finite_is_noted_and_asked_of_the_device_later(monkeypatch: pytest.MonkeyPatch) -> None:
    finite = Finite()
    finite.note("small", "features", torch.ones(3, 2))
    with pytest.raises(StatisticsError, match="features small: NaN or infinity in the logits vectors"):
        finite.note("small", "logits", torch.tensor([[1.0, torch.inf]]))
    later = Finite()
    monkeypatch.setattr(Finite, "_waits_for", staticmethod(lambda device: True))
    for bad in (False, True, False):
        later.note("small", "logits", torch.tensor([[1.0, torch.nan if bad else 2.0]]))
        later.note("small", "features", torch.ones(1, 2))
    with pytest.raises(StatisticsError, match="features small: NaN or infinity in the logits vectors"):
        later.check()


class Ill(Extractor):
    """Gives NaN for black images."""

    name, taps, features_tap, default_taps, batch_size = "ill", ("features",), "features", ("features",), 2

    def extract(self, stacks: Any, taps: Any) -> dict[str, torch.Tensor]:
        found = torch.cat([stack.float().mean((2, 3)) for stack in stacks])
        return {"features": found.masked_fill(found == 0, torch.nan)}

    def describe(self, tap: str) -> dict[str, Any]:
        return {"features": "ill", "tap": tap, "weights_sha256": None, "resize": None, "size": None, "dtype": "own"}


@pytest.mark.parametrize("ask", [1, 100])
@pytest.mark.parametrize("ill", [0, 3, 8])
def test_no_score_of_vectors_that_are_not_finite(
    ask: int, ill: int, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Finite, "_waits_for", staticmethod(lambda device: True))
    monkeypatch.setattr(extraction, "ASK", ask)
    broken = images.clone()
    broken[ill] = 0
    with pytest.raises(StatisticsError, match="features ill: NaN or infinity in the features vectors"):
        gm.fid(images, broken, features=Ill(), progress=False)
    stream = gm.FID(real=images, features=Ill(), progress=False)
    stream.update(images)
    with pytest.raises(StatisticsError, match="features ill: NaN or infinity in the features vectors"):
        stream.update(broken)
    assert stream.compute().n_fake == len(images)


# One batch ahead


def test_one_ahead_keeps_order_and_asks_for_the_next_first() -> None:
    events: list[str] = []

    def source() -> Iterator[int]:
        for i in range(4):
            events.append(f"read {i}")
            yield i

    for i in extraction.one_ahead(source()):
        events.append(f"use {i}")
    assert events == ["read 0", "read 1", "use 0", "read 2", "use 1", "read 3", "use 2", "use 3"]
    assert list(extraction.one_ahead([])) == []


class Post:
    """In the place of a Courier: what it sends arrives when it is received, and not before."""

    def __init__(self, device: torch.device):
        self.sent: list[list[torch.Tensor]] = []

    def send(self, batch: list[torch.Tensor]) -> Any:
        return [stack.clone() for stack in batch]

    def receive(self, sent: Any) -> list[torch.Tensor]:
        return sent


def test_batches_by_courier_give_the_same(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit, from a source that gives the same memory every time, and with watchers."""
    network, memory = small(Pooled()), torch.empty_like(images[:3])

    def shared() -> Iterator[torch.Tensor]:
        for start in (0, 3, 6):
            yield memory.copy_(images[start : start + 3])

    def moments() -> tuple[Moments, list[torch.Tensor]]:
        found, seen = Moments(), []
        extraction.extract(
            open_images(shared()), {network: {"features": [found.update]}}, batch_size=3, progress=False,
            watchers=[lambda stack: seen.append(stack.clone())],
        )  # fmt: skip
        return found, seen

    plain, seen = moments()
    monkeypatch.setattr(extraction, "Courier", Post)
    monkeypatch.setattr(extraction, "_is_cuda", lambda devices: True)
    couriered, seen_too = moments()
    assert torch.equal(plain.covariance(), couriered.covariance())
    assert torch.equal(torch.cat(seen), images)
    assert torch.equal(torch.cat(seen_too), images)


class Stream:
    """Notes what CUDA would be told."""

    def __init__(self, told: list[str], name: str):
        self.told, self.name = told, name

    def record_event(self) -> str:
        self.told.append(f"{self.name} records")
        return "the copy's event"

    def wait_event(self, event: str) -> None:
        self.told.append(f"{self.name} waits for {event}")


def test_what_a_courier_tells_cuda(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned and copied within the side stream, whose event the computing one waits for before it takes the memory."""
    told: list[str] = []

    @contextmanager
    def within(stream: Stream) -> Iterator[None]:
        told.append(f"into {stream.name}")
        yield
        told.append(f"out of {stream.name}")

    def pinned(stack: torch.Tensor) -> torch.Tensor:
        told.append("pin")
        return stack.clone()

    monkeypatch.setattr(extraction, "numbered", lambda device: CPU)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(told, "side"))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(told, "computing"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda stack, stream: told.append(f"used by {stream.name}"))
    courier = extraction.Courier(torch.device("cuda"))
    sent = courier.send([images[:4], images[4:]])
    assert told == ["into side", "pin", "pin", "side records", "out of side"]
    told.clear()
    assert torch.equal(torch.cat(courier.receive(sent)), images)
    assert told == ["computing waits for the copy's event", "used by computing", "used by computing"]


def test_a_full_device_is_told_with_the_option(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def extract(self: NetworkExtractor, stacks: Any, taps: Any) -> dict[str, torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(NetworkExtractor, "extract", extract)
    with pytest.raises(OptionError, match="--batch-size: 9 images at once do not fit on cpu; use a smaller one"):
        extraction.feed(small(Pooled()), [images[:4], images[4:]], {"features": []})


# JPEG


def jpeg(picture: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photo(photo_patches: Callable[..., np.ndarray]) -> np.ndarray:
    return photo_patches(1, 97, 3)[0]


ROTATION = Image.Exif()
ROTATION[0x0112] = 6
KINDS: dict[str, tuple[dict[str, Any], bool, tuple[str, ...]]] = {
    "plain": ({}, True, ()),
    "fine": ({"quality": 95, "subsampling": 0}, True, ()),
    "coarse": ({"quality": 30, "subsampling": 2}, True, ()),
    "grey": ({"mode": "L"}, True, ()),
    "with exif": ({"exif": Image.Exif()}, True, ()),
    "progressive": ({"progressive": True}, False, ()),
    "rotated": ({"exif": ROTATION}, False, (ROTATED,)),
    "cmyk": ({"mode": "CMYK"}, False, (CMYK,)),
    "rgb without colour transform": ({"keep_rgb": True, "subsampling": 0}, False, ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_torchvision_reads_plain_files_and_leaves_the_others_to_pillow(
    kind: str, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU both are libjpeg-turbo, and give the same but for what their versions differ in."""
    options, by_torchvision, notes = KINDS[kind]
    decoder, read = JpegDecoder(CPU), []
    decoded = decoder._decoded
    monkeypatch.setattr(decoder, "_decoded", lambda *given: (read.append(1), decoded(*given))[1])
    file = jpeg(photo, **options)
    expected, found = decode(io.BytesIO(file)), decode(io.BytesIO(file), decoder)
    assert bool(read) == by_torchvision
    assert (found.notes, found.format) == (expected.notes, "JPEG")
    assert found.notes == notes
    assert found.pixels.shape == expected.pixels.shape
    assert int((found.pixels.int() - expected.pixels.int()).abs().max()) <= 2


@pytest.mark.parametrize("damage", ["half", "no end", "empty", "text"])
def test_damaged_files_are_the_errors_of_pillow(damage: str, photo: np.ndarray, tmp_path: Path) -> None:
    whole = jpeg(photo)
    file = {"half": whole[: len(whole) // 2], "no end": whole[:-60], "empty": b"", "text": b"no image"}[damage]
    (tmp_path / "a.jpg").write_bytes(file)
    errors = []
    for decoder in (None, JpegDecoder(CPU)):
        with pytest.raises(ImageError) as caught:
            open_images(tmp_path, jpeg_decoder=decoder).read(0)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_what_torchvision_cannot_decode_goes_to_pillow(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, file = JpegDecoder(CPU), jpeg(photo)
    expected = decode(io.BytesIO(file))

    def fails(*given: Any) -> torch.Tensor:
        raise RuntimeError("nvjpegDecode failed: 3")

    for broken in (fails, lambda *given: torch.zeros(3, 5, 5, dtype=torch.uint8)):
        monkeypatch.setattr(decoder, "_decoded", broken)
        assert torch.equal(decode(io.BytesIO(file), decoder).pixels, expected.pixels)


def test_a_decoder_that_gives_another_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = JpegDecoder._decoded
    monkeypatch.setattr(JpegDecoder, "_decoded", lambda self, *given: decoded(self, *given).flip(0))
    with pytest.raises(OptionError, match="--jpeg-decoder torchvision: on cpu it gives another picture than Pillow"):
        JpegDecoder(CPU)

    def none(self: JpegDecoder, *given: Any) -> torch.Tensor:
        raise RuntimeError("not compiled with nvjpeg")

    monkeypatch.setattr(JpegDecoder, "_decoded", none)
    with pytest.raises(OptionError, match=r"cannot decode on cpu \(not compiled with nvjpeg\); leave it out"):
        JpegDecoder(CPU)


def test_plain_is_told_by_the_header_and_the_end(photo: np.ndarray) -> None:
    file = jpeg(photo)
    with Image.open(io.BytesIO(file)) as image:
        assert is_plain(file, image)
        assert not is_plain(file + b"more", image)
        at = file.index(b"\xff\xc0")
        for marker in b"\xc1\xc2\xc9\xca":
            assert not is_plain(file[: at + 1] + bytes([marker]) + file[at + 2 :], image)
    png = io.BytesIO()
    Image.fromarray(photo).save(png, "PNG")
    with Image.open(png) as image:
        assert not is_plain(file, image)


def test_a_score_says_who_decoded(photo_patches: Callable[..., np.ndarray], tmp_path: Path) -> None:
    real, fake = (write_folder(tmp_path / name, photo_patches(12, 60, i), "jpg") for i, name in enumerate("ab"))
    plain, other = (gm.fid(real, fake, jpeg_decoder=name, **LITE) for name in ("pillow", "torchvision"))
    assert other.value == pytest.approx(plain.value, rel=1e-3)
    assert "jpeg_decoder" not in plain.protocol
    assert other.protocol["jpeg_decoder"] == "torchvision-cpu"
    assert [text for text in other.warnings if text not in plain.warnings] == [JpegDecoder(CPU).warning]
    asked = {name: configured(["fid"], gm.Settings(jpeg_decoder=name, **LITE))[0] for name in ("pillow", "torchvision")}
    assert len({reference_cache.key_of(one, "real", "0") for one in asked.values()}) == 2
    kept = tmp_path / "plain.npz"
    files.write(kept, gm.stats(real, **LITE))
    score = gm.fid(kept, fake, jpeg_decoder="torchvision", **LITE)
    assert "the two sides were measured in unlike jpeg decoders: pillow and torchvision-cpu" in score.warnings


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archives_are_decoded_by_it_too(suffix: str, photo: np.ndarray, tmp_path: Path) -> None:
    import shutil

    folder = write_folder(tmp_path / "a", photo[None], "jpg")
    archive = shutil.make_archive(str(tmp_path / "packed"), suffix[1:], folder)
    read = []

    class Noted(JpegDecoder):
        def pixels(self, *given: Any) -> torch.Tensor | None:
            read.append(1)
            return super().pixels(*given)

    for source in (folder, archive, [folder / "00000.jpg"]):
        list(read_batches(open_images(source, jpeg_decoder=Noted(CPU)), 4))
    assert len(read) == 3


def test_an_unknown_decoder_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"^--jpeg-decoder: expected pillow or torchvision, came 'turbo'$"):
        gm.Settings(jpeg_decoder="turbo")
