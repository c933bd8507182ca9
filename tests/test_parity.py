"""Our numbers against the tools people quote, run here on the same images and the same weights.

float32 against the tool itself, 1e-4; float64 against an independent reference in float64, 1e-7.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import ganmetrics as gm
from benchmarks.peers import tools as peers
from tests.conftest import peer, write_folder
from tests.helpers.few_images import quick_roots

for package in ("pytorch_fid", "torchmetrics"):
    peer(package)
build_resizer = peer("cleanfid.resize").build_resizer
interpolate_bilinear_2d_like_tensorflow1x = peer(
    "torch_fidelity.interpolate_compat_tensorflow"
).interpolate_bilinear_2d_like_tensorflow1x
Folders = tuple[Path, Path]
PEER = {
    "tensorflow": peers.torch_fidelity_value,
    "pytorch-fid": peers.pytorch_fid_value,
    "torch-fidelity": peers.torch_fidelity_value,
    "clean-fid": peers.clean_fid_value,
    "torchmetrics": peers.torchmetrics_value,
}
OPTIONS = {"device": "cpu", "progress": False}
N = 14


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, photo_patches: Callable[..., np.ndarray]) -> Folders:
    root = tmp_path_factory.mktemp("parity")
    real, fake = photo_patches(N, 40, 1), photo_patches(N, 40, 2)
    return write_folder(root / "real", real), write_folder(root / "fake", mirrored(fake))


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory, photo_patches: Callable[..., np.ndarray]) -> Path:
    """More, so that ten splits hold some."""
    return write_folder(tmp_path_factory.mktemp("fakes"), mirrored(photo_patches(24, 40, 2)))


def mirrored(images: np.ndarray) -> np.ndarray:
    return (images // 2 + images[:, ::-1] // 2).astype(np.uint8)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, photo_patches: Callable[..., np.ndarray]) -> Folders:
    """Fewer, because float64 takes its time; not square."""
    root = tmp_path_factory.mktemp("parity64")
    return write_folder(root / "real", photo_patches(4, 50, 3)[:, :37]), write_folder(
        root / "fake", photo_patches(5, 50, 4)[:, :37]
    )


@pytest.fixture(scope="module")
def peer_values(folders: Folders, synthetic_weights: Path) -> dict[Callable, float]:
    with quick_roots():
        return {value: value(*folders, synthetic_weights, batch_size=7) for value in set(PEER.values())}


@pytest.mark.parametrize("protocol", PEER)
def test_fid_equals_the_tool(
    folders: Folders, synthetic_weights: Path, peer_values: dict[Callable, float], protocol: str
) -> None:
    score = gm.fid(*folders, weights=synthetic_weights, protocol=protocol, **OPTIONS)
    assert score.metric == "fid"
    assert score.value == pytest.approx(peer_values[PEER[protocol]], rel=1e-4)
    assert score.protocol["protocol"] == protocol
    assert (score.n_real, score.n_fake) == (N, N)


@pytest.mark.slow
@pytest.mark.parametrize("value", sorted(set(PEER.values()), key=lambda value: value.__name__))
def test_roots_that_the_tools_take_themselves(
    folders: Folders, synthetic_weights: Path, peer_values: dict[Callable, float], value: Callable[..., float]
) -> None:
    """Of SciPy, numpy and torch, which the other tests do not wait for."""
    assert value(*folders, synthetic_weights, batch_size=7) == pytest.approx(peer_values[value], rel=1e-4)


def test_the_protocols_differ(peer_values: dict[Callable, float]) -> None:
    """The parity above means something only because the tools disagree by more than its tolerance."""
    values = sorted(peer_values.values())
    assert all(high / low - 1 > 5e-4 for low, high in itertools.pairwise(values))


def images_of(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def tf1(image: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    return (interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False) - 128) / 128


def pytorch(image: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    return 2 * F.interpolate(x, (299, 299), mode="bilinear", align_corners=False) - 1


def antialiased(image: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    return (F.interpolate(x, (299, 299), mode="bilinear", align_corners=False, antialias=True) - 128) / 128


def pillow(image: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(build_resizer("clean")(image)).permute(2, 0, 1)[None].double() - 128) / 128


def reference_fid(folders: Folders, weights: Path, prepare: Callable[[np.ndarray], torch.Tensor]) -> float:
    """pytorch-fid's network in float64 without its preprocessing; the distance in numpy from the samples."""
    from pytorch_fid.inception import InceptionV3

    with peers._pytorch_fid_weights(weights):
        network = InceptionV3([3], resize_input=False, normalize_input=False).double().eval()
    sides = []
    for folder in folders:
        with torch.no_grad():
            batches = [network(prepare(image))[0].flatten(1) for image in images_of(folder)]
        sides.append(torch.cat(batches).numpy())
    a, b = ((side - side.mean(0)) / np.sqrt(len(side) - 1) for side in sides)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return ((sides[0].mean(0) - sides[1].mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * cross


@pytest.mark.parametrize(
    ("protocol", "prepare"),
    [("tensorflow", tf1), ("pytorch-fid", pytorch), ("clean-fid", pillow), ("torchmetrics", antialiased)],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_float64_equals_a_float64_reference(
    few: Folders, synthetic_weights: Path, protocol: str, prepare: Callable[[np.ndarray], torch.Tensor]
) -> None:
    options = {**OPTIONS, "weights": synthetic_weights, "protocol": protocol}
    score = gm.fid(*few, dtype="float64", **options)
    expected = reference_fid(few, synthetic_weights, prepare)
    # Pillow itself rounds to float32 after each pass, so its reference carries 1e-7 of its own.
    assert score.value == pytest.approx(expected, rel=1e-7 if prepare is not pillow else 1e-6)
    assert gm.fid(*few, **options).value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("splits", [1, 4, 10])
def test_inception_score_equals_torch_fidelity(fakes: Path, synthetic_weights: Path, splits: int) -> None:
    mean, std = peers.torch_fidelity_inception_score(fakes, synthetic_weights, splits=splits)
    score = gm.inception_score(fakes, weights=synthetic_weights, protocol="torch-fidelity", splits=splits, **OPTIONS)
    assert score.metric == "is"
    assert score.value == pytest.approx(mean, rel=1e-4)
    assert score.spread == pytest.approx(std, rel=1e-3, abs=1e-9)
    assert score.value > 1.2


@pytest.mark.parametrize("seed", [0, 3])
def test_inception_score_equals_torchmetrics(fakes: Path, synthetic_weights: Path, seed: int) -> None:
    mean, std = peers.torchmetrics_inception_score(fakes, synthetic_weights, splits=5, seed=seed)
    score = gm.inception_score(
        fakes, weights=synthetic_weights, protocol="torchmetrics", splits=5, seed=seed, **OPTIONS
    )
    assert score.value == pytest.approx(mean, rel=1e-4)
    assert score.spread == pytest.approx(std, rel=1e-3)


def test_lower_taps_equal_pytorch_fid(folders: Folders, synthetic_weights: Path) -> None:
    for dims in (64, 192, 768):
        with quick_roots():
            theirs = peers.pytorch_fid_value(*folders, synthetic_weights, batch_size=7, dims=dims)
        score = gm.fid(
            *folders, features=f"inception:{dims}", weights=synthetic_weights, protocol="pytorch-fid", **OPTIONS
        )
        assert score.metric == f"fd-inception-{dims}"
        assert score.value == pytest.approx(theirs, rel=1e-4)


def test_float_batches_are_quantised_like_torchmetrics(synthetic_weights: Path, rng: np.random.Generator) -> None:
    """Torchmetrics with normalize=True truncates (x * 255).byte(); a rounded image gives another value."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    real, fake = (torch.from_numpy(rng.random((6, 3, 30, 30))).float() * scale for scale in (1, 0.7))
    theirs = FrechetInceptionDistance(
        64, normalize=True, feature_extractor_weights_path=str(synthetic_weights)
    ).set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    ours = {
        protocol: gm.fid(
            real, fake, features="inception:64", weights=synthetic_weights, protocol=protocol,
            value_range=(0, 1), dtype="float64", **OPTIONS,
        ).value
        for protocol in ("torchmetrics", "tensorflow")
    }  # fmt: skip
    assert ours["torchmetrics"] == pytest.approx(float(theirs.compute()), rel=1e-7)
    assert ours["tensorflow"] != pytest.approx(ours["torchmetrics"], rel=1e-4)
