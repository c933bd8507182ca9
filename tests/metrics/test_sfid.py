"""sFID: its vectors against torch-fidelity's network on the same weights, its value against pytorch-fid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ganmetrics as gm
from benchmarks.peers.tools import sqrtm_with_disp
from ganmetrics.errors import OptionError, StatisticsError
from ganmetrics.features import load_extractor
from ganmetrics.features.extractor import Options
from ganmetrics.features.inception_network import InceptionV3
from ganmetrics.metrics.sfid import SpatialFrechetDistance
from ganmetrics.runtime.arithmetic import exact_arithmetic
from ganmetrics.statistics.loading import load
from tests.conftest import peer

CPU = torch.device("cpu")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_spatial_vectors_are_the_first_branch_of_mixed_6d(synthetic_weights: Path, images: torch.Tensor) -> None:
    """TensorFlow's `mixed_6/conv` is Mixed_6d.branch1x1 here; `[..., :7]` of NHWC is guided-diffusion's slice."""
    extractor = peer("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    theirs = extractor("x", ["2048"], feature_extractor_weights_path=str(synthetic_weights))
    theirs.double().feature_extractor_internal_dtype = torch.float64
    seen = []
    theirs.Mixed_6d.branch1x1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    ours = load_extractor("inception", Options(weights=synthetic_weights, dtype=torch.float64))
    with exact_arithmetic(CPU):
        theirs(images[:2])
        got = ours([images[:2]], ["spatial"])
    (branch,) = seen
    assert branch.shape == (2, 192, 17, 17)
    expected = branch.permute(0, 2, 3, 1)[..., :7].reshape(2, -1)
    assert list(got) == ["spatial"]
    torch.testing.assert_close(got["spatial"], expected, rtol=1e-9, atol=1e-9)
    assert float(got["spatial"].min()) == 0.0  # behind the ReLU
    assert len(got["spatial"].unique()) > 1000


def test_the_network_runs_no_deeper_than_the_spatial_tap(synthetic_weights: Path) -> None:
    network = InceptionV3().eval()
    network.load_state_dict(torch.load(synthetic_weights))
    network.Mixed_6e.register_forward_hook(lambda *_: pytest.fail("ran deeper than asked"))
    with torch.no_grad():
        assert list(network(torch.randn(1, 3, 299, 299), ["spatial"])) == ["spatial"]


def test_agrees_with_pytorch_fid_on_the_same_vectors(rng: np.random.Generator) -> None:
    frechet = peer("pytorch_fid.fid_score").calculate_frechet_distance
    x, y = rng.standard_normal((400, 28)) + 0.3, rng.standard_normal((300, 28)) * 2
    metric = SpatialFrechetDistance()
    metric.update(torch.from_numpy(x), "real")
    metric.update(torch.from_numpy(y), "fake")
    with sqrtm_with_disp():
        theirs = frechet(x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    assert metric.compute().value == pytest.approx(theirs, rel=1e-9)


def test_beside_fid_it_changes_nothing(synthetic_weights: Path, images: torch.Tensor) -> None:
    fake = images[:4].flip(2)
    options = {"weights": synthetic_weights, "progress": False}
    together = gm.evaluate(images[4:8], fake, ["fid", "sfid"], **options)
    assert together["sfid"].metric == "sfid"
    assert (together["sfid"].protocol["features"], together["sfid"].protocol["tap"]) == ("inception", "spatial")
    alone = gm.evaluate(images[4:8], fake, ["fid"], **options)["fid"]
    assert together["fid"].value == alone.value


def test_an_extractor_without_places() -> None:
    pixels = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    message = r"^--features pixels: the Spatial .* over features at every place, .* use --features inception$"
    with pytest.raises(OptionError, match=message):
        gm.evaluate(pixels, pixels, ["sfid"], features="pixels")


def test_statistics_of_pooled_features_are_refused(tmp_path: Path, images: torch.Tensor) -> None:
    np.savez(tmp_path / "pooled.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    with pytest.raises(StatisticsError, match=r"^sfid: needs the real images themselves, and .* holds statistics"):
        gm.evaluate(tmp_path / "pooled.npz", images, ["sfid"])
    held = load(tmp_path / "pooled.npz")
    for statistics in (held, held.moments):
        with pytest.raises(StatisticsError) as raised:
            gm.evaluate(statistics, images, ["fid", "sfid"])
        assert "sfid: needs the real images themselves, and " in str(raised.value)
