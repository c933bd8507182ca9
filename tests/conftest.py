"""Shared inputs: real images wherever scikit-learn is, and synthetic weights with the official file's layout."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.commands import Cli, Ran

if TYPE_CHECKING:
    from tests.helpers.runs import Processes

REPOSITORY = Path(__file__).parent.parent


def peer(module: str) -> Any:
    """A module of a tool that we compare with; where that is not installed, the test is skipped."""
    return pytest.importorskip(module, reason="a peer; pip install 'ganmetrics[peers]'")


LONGEST = (
    "test_parity.py",
    "docs/test_readme.py",
    "runtime/test_distributed.py",
    "benchmarks/test_peers.py",
    "metrics/inversion/test_inverter.py",
    "benchmarks/test_cpu.py",
    "reference_models/variants/test_variants.py",
    "test_streaming.py",
    "commands/test_cli_process.py",
)  # files of tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first: begun last by one worker, they would leave the others waiting."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Inputs drawn afresh for every test, the same in every run; GANMETRICS_TEST_SEED tries others."""
    seed = int(os.environ.get("GANMETRICS_TEST_SEED", "0"))
    return np.random.default_rng([seed, *request.node.name.encode()])  # the same wherever the file lies


@pytest.fixture
def seeded(rng: np.random.Generator) -> None:
    """Torch's own random numbers, drawn afresh likewise."""
    torch.manual_seed(int(rng.integers(2**31)))


@pytest.fixture(scope="session")
def photo_patches() -> Callable[[int, int, int], np.ndarray]:
    """`(n, size, seed) -> (n, size, size, 3)` uint8 patches of scikit-learn's two photographs."""
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images

    def patches(n: int, size: int, seed: int) -> np.ndarray:
        draw = np.random.default_rng(seed)
        out = np.empty((n, size, size, 3), np.uint8)
        for i in range(n):
            photo = photos[draw.integers(len(photos))]
            top, left = (draw.integers(limit - size) for limit in photo.shape[:2])
            out[i] = photo[top : top + size, left : left + size]
        return out

    return patches


@pytest.fixture(scope="session")
def images(photo_patches: Callable[..., np.ndarray]) -> torch.Tensor:
    """Nine 48-px patches of the photographs, uint8 `(9, 3, 48, 48)`."""
    return torch.from_numpy(photo_patches(9, 48, 5)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """Scikit-learn's scans, uint8 `(1797, 8, 8)`."""
    from sklearn.datasets import load_digits

    return np.rint(load_digits().images * 255 / 16).astype(np.uint8)


def write_folder(folder: Path, images: np.ndarray, extension: str = "png") -> Path:
    """Images `(N, H, W, 3)` or `(N, H, W)` as numbered files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:05}.{extension}")
    return folder


@pytest.fixture(scope="session")
def synthetic_weights(request: pytest.FixtureRequest) -> Path:
    """A random, calibrated Inception state dict in the official layout, made once and kept with pytest's cache."""
    from benchmarks import synthetic_inception

    source = Path(synthetic_inception.__file__).read_bytes()
    import hashlib

    folder = Path(request.config.cache.mkdir("synthetic-inception"))
    path = folder / f"{hashlib.sha256(source).hexdigest()[:12]}-{torch.__version__}.pth"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}")
        torch.save(synthetic_inception.make(0), temporary)
        os.replace(temporary, path)
    return path


@pytest.fixture
def refused_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Downloads from it fail at once: its port is taken as long as the test runs, and nobody listens there."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("ganmetrics.features.download.PAUSE", 0.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{silent.getsockname()[1]}/file"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Cli]:
    """`in_process(main, name)`: a command line that is run in this process."""

    def program(main: Callable[[], None], name: str) -> Cli:
        def run(*arguments: str | Path) -> Ran:
            monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
            with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
                main()
            return Ran(ended.value.code, *capsys.readouterr())

        return run

    return program


@pytest.fixture
def cli(in_process: Callable[..., Cli], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """`cli("fid", "real", "fake")` in this process, in an empty working directory, with empty caches."""
    from ganmetrics.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANMETRICS_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / ".torch"))
    for name in ("GANMETRICS_WEIGHTS", "GANMETRICS_DATA"):
        monkeypatch.delenv(name, raising=False)
    return in_process(main, "ganmetrics")


@pytest.fixture
def models_cli(in_process: Callable[..., Cli], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """`models_cli("train", "gan")` in this process, in an empty working directory."""
    from reference_models.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANMETRICS_DATA", raising=False)
    return in_process(main, "reference-models")


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Processes of `reference-models`, one parent a module."""
    from tests.helpers.runs import processes

    with processes(tmp_path_factory.mktemp("processes")) as found:
        yield found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dcgan of three steps, to be read."""
    from tests.helpers.runs import run

    out = tmp_path_factory.mktemp("trained") / "run"
    run("dcgan", out, 3)
    return out


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """`trained`, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def real_and_fake(rng: np.random.Generator, tmp_path: Path) -> dict[str, np.ndarray]:
    """Folders `real` and `fake` of 70 and 60 RGB images of 2x2: enough for 12 dimensions, so nothing to warn about."""
    found = {name: rng.integers(0, 256, (n, 2, 2, 3), dtype=np.uint8) for name, n in (("real", 70), ("fake", 60))}
    for name, pixels in found.items():
        write_folder(tmp_path / name, pixels)
    return found


@pytest.fixture
def statistics_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics of reference images are kept, in an empty cache of the usual limit."""
    from ganmetrics.measurement import cache_files as entries

    monkeypatch.setenv("GANMETRICS_CACHE", str(tmp_path / ".cache"))
    monkeypatch.delenv("GANMETRICS_CACHE_LIMIT")
    entries.warn_once.cache_clear()


@pytest.fixture
def sides_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sides that images were read of, each as often as it was."""
    from ganmetrics.measurement import shared_reading

    found: list[str] = []
    extract = shared_reading.extract

    def recording(source: Any, feeds: Any, **options: Any) -> Any:
        found.append(options["label"])
        return extract(source, feeds, **options)

    monkeypatch.setattr(shared_reading, "extract", recording)
    return found


@pytest.fixture
def class_folders(rng: np.random.Generator, tmp_path: Path) -> tuple[Path, Path]:
    """`real` and `fake`, 70 and 60 images of 4x4 in two classes each."""
    for side, n in (("real", 70), ("fake", 60)):
        for part in "ab":
            pixels = rng.integers(0, 256, (n // 2, 4, 4, 3), dtype=np.uint8)
            write_folder(tmp_path / side / part, pixels, "bmp")
    return tmp_path / "real", tmp_path / "fake"
