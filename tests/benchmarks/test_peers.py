"""The peers' drivers: each runs on tiny folders, and they stand in the relation their preprocessing implies."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image

from benchmarks import process, synthetic_inception
from benchmarks.peers import fid as fid_peers
from benchmarks.peers import tools as peers
from tests.helpers.few_images import quick_roots

for package in ("pytorch_fid", "torch_fidelity", "torchmetrics", "cleanfid"):
    pytest.importorskip(package, reason="a peer; pip install 'ganmetrics[peers]'")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two times six images that are 299 px wide already, so that no tool resizes anything."""
    rng = torch.Generator().manual_seed(3)
    images = synthetic_inception.varied_images(12, generator=rng).mul(127.5).add(128).clamp(0, 255).byte()
    root = tmp_path_factory.mktemp("images")
    for i, image in enumerate(images):
        folder = root / ("real" if i < 6 else "fake")
        folder.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i}.png")
    return root / "real", root / "fake"


def test_synthetic_weights_have_the_official_layout(synthetic_weights: Path):
    from pytorch_fid.inception import _inception_v3

    state = torch.load(synthetic_weights)
    reference = _inception_v3(num_classes=1008, aux_logits=False, weights=None).state_dict()
    assert len(state) == 566
    assert [(name, value.shape, value.dtype) for name, value in state.items()] == [
        (name, value.shape, value.dtype) for name, value in reference.items()
    ]


def test_peers_agree_where_they_resize_nothing(folders: tuple[Path, Path], synthetic_weights: Path):
    with quick_roots():
        values = {tool: value(*folders, synthetic_weights, batch_size=4) for tool, value in peers.PEERS.items()}
        in_float64 = peers.torch_fidelity_value(*folders, synthetic_weights, float64=True)
    exact = values["torchmetrics-float64"]
    assert exact > 1
    assert values.pop("pytorch-fid") == pytest.approx(
        exact, rel=2e-2
    )  # it scales to x / 127.5 - 1, not (x - 128) / 128
    assert values == pytest.approx(dict.fromkeys(values, exact), rel=1e-5)
    assert in_float64 == pytest.approx(exact, rel=5e-6)  # it hands its vectors out in float32


def test_inception_scores_of_peers(folders: tuple[Path, Path], synthetic_weights: Path):
    mean, spread = peers.torch_fidelity_inception_score(folders[0], synthetic_weights, splits=2)
    assert 1.5 < mean < 1008
    other, other_spread = peers.torchmetrics_inception_score(folders[0], synthetic_weights, splits=1)
    whole, _ = peers.torch_fidelity_inception_score(folders[0], synthetic_weights, splits=1)
    assert other == pytest.approx(whole, rel=1e-4)
    assert spread > 0
    assert np.isnan(other_spread)  # ddof 1 of a single split


def test_sqrtm_shim_gives_the_removed_argument_back(monkeypatch: pytest.MonkeyPatch):
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
    root = scipy.linalg.sqrtm(matrix)
    monkeypatch.setattr(scipy.linalg, "sqrtm", lambda matrix: root)
    with peers.sqrtm_with_disp():
        np.testing.assert_array_equal(scipy.linalg.sqrtm(matrix, disp=False)[0], root)
        np.testing.assert_array_equal(scipy.linalg.sqrtm(matrix), root)
    with pytest.raises(TypeError):
        scipy.linalg.sqrtm(matrix, disp=False)


def test_benchmark_images_are_real_content_and_repeatable(tmp_path: Path):
    (tmp_path / "again").mkdir()
    folders = fid_peers.synthetic_folders(tmp_path, 3, 32, ".png")
    again = fid_peers.synthetic_folders(tmp_path / "again", 3, 32, ".png")
    assert [fid_peers.count_images(folder) for folder in folders] == [3, 3]
    for folder, other in zip(folders, again, strict=True):
        for batch, same in zip(peers.batches(folder, 3), peers.batches(other, 3), strict=True):
            assert batch.shape == (3, 3, 32, 32)
            assert torch.equal(batch, same)
            assert batch.float().std() > 20


def test_benchmark_survives_a_tool_that_fails():
    failing = [sys.executable, "-c", "raise SystemExit('cannot read /some/folder/file.pth: gone')"]
    done = fid_peers.measure("pytorch-fid", failing, n_images=6)
    assert (done.value, done.images_per_s, done.error) == (None, None, "cannot read file.pth: gone")
    assert "failed" in fid_peers.table([done])


def test_benchmark_measures_a_process():
    script = "import json; data = bytearray(300_000_000); print(json.dumps({'value': 2.5}))"
    done = fid_peers.measure("clean-fid", [sys.executable, "-c", script], n_images=6)
    assert done.value == 2.5
    assert done.images_per_s == pytest.approx(6 / done.wall_s)
    assert done.peak_mb > 280


def test_benchmark_table_sets_ours_against_the_matching_peer():
    results = {"pytorch-fid": (10.0, 4.0), "ganmetrics:pytorch-fid": (10.001, 1.0), "torchmetrics-float64": (7.0, 8.0)}
    rows = [fid_peers.Measurement(tool, 1, value, wall, 12 / wall, 500) for tool, (value, wall) in results.items()]
    assert fid_peers.table(rows).splitlines() == [
        "tool                        value  difference  images/s  wall s  peak MB  x pytorch-fid",
        "pytorch-fid             10.000000                   3.0     4.0      500           1.00",
        "ganmetrics:pytorch-fid  10.001000     1.0e-04      12.0     1.0      500           4.00",
        "torchmetrics-float64     7.000000                   1.5     8.0      500           0.50",
    ]


def test_benchmark_records_name_no_place(synthetic_weights: Path):
    options = fid_peers.parse(["--weights", str(synthetic_weights), "--synthetic", "4"])
    record = json.dumps(fid_peers.setting(options, 8))
    assert str(process.ROOT) not in record
    assert str(synthetic_weights.parent) not in record
    assert json.loads(record)["versions"]["torch-fidelity"]


@pytest.mark.parametrize("extra", [[], ["--real", "a"], ["--synthetic", "3", "--tools", "fid"]])
def test_benchmark_wrong_usage(extra: list[str], synthetic_weights: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        fid_peers.parse(["--weights", str(synthetic_weights), *extra])
    assert "error: " in capsys.readouterr().err
