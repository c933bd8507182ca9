"""The FID Inception: the official file's layout, torch-fidelity's vectors at every tap, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganmetrics.errors import WeightsError
from ganmetrics.features import load_extractor
from ganmetrics.features.extractor import Options
from ganmetrics.features.inception_network import TAPS, InceptionV3
from ganmetrics.runtime.arithmetic import exact_arithmetic
from tests.conftest import peer

CPU = torch.device("cpu")


def test_the_official_layout_is_ours(synthetic_weights: Path) -> None:
    state = torch.load(synthetic_weights)
    own = InceptionV3().state_dict()
    assert len(own) == 566
    assert {name: value.shape for name, value in own.items()} == {name: v.shape for name, v in state.items()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_tap_equals_torch_fidelity_in_float64(synthetic_weights: Path, images: torch.Tensor) -> None:
    extractor = peer("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    taps = [tap for tap in TAPS if tap != "spatial"]  # which that tool does not have; see test_sfid.py
    names = [tap.replace("-", "_") for tap in taps]
    theirs = extractor("x", names, feature_extractor_weights_path=str(synthetic_weights))
    theirs.double().feature_extractor_internal_dtype = torch.float64
    ours = load_extractor("inception", Options(weights=synthetic_weights, dtype=torch.float64))
    with exact_arithmetic(CPU):
        expected = dict(zip(taps, theirs(images[:3]), strict=True))
        got = ours([images[:3]], tuple(TAPS))
    assert {tap: tuple(vectors.shape) for tap, vectors in got.items()} == {tap: (3, n) for tap, n in TAPS.items()}
    for tap in taps:
        # torch-fidelity hands its vectors out in float32
        torch.testing.assert_close(got[tap].float(), expected[tap].float(), rtol=3e-7, atol=1e-7)
    assert not torch.allclose(got["logits"], got["logits-unbiased"])


def test_folding_batch_norm_changes_nothing(synthetic_weights: Path, images: torch.Tensor) -> None:
    plain = InceptionV3()
    plain.load_state_dict(torch.load(synthetic_weights))
    plain.eval().double()
    x = torch.randn(2, 3, 299, 299, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        before = plain(x, tuple(TAPS))
        after = plain.fold_batch_norm(torch.float64)(x, tuple(TAPS))
    for tap in TAPS:
        torch.testing.assert_close(after[tap], before[tap], rtol=1e-10, atol=1e-10)


def test_float32_is_close_to_float64(synthetic_weights: Path, images: torch.Tensor) -> None:
    vectors = {}
    for dtype in (torch.float32, torch.float64):
        extractor = load_extractor("inception", Options(weights=synthetic_weights, dtype=dtype))
        with exact_arithmetic(CPU):
            vectors[dtype] = extractor([images[:4]], ["2048"])["2048"].double()
    error = (vectors[torch.float32] - vectors[torch.float64]).norm() / vectors[torch.float64].norm()
    assert error < 5e-5


def test_old_files_without_batch_counters(synthetic_weights: Path, tmp_path: Path, images: torch.Tensor) -> None:
    state = {k: v for k, v in torch.load(synthetic_weights).items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    vectors = []
    for path in (synthetic_weights, tmp_path / "old.pth"):
        with exact_arithmetic(CPU):
            vectors.append(load_extractor("inception", Options(weights=path))([images[:2]], ["192"])["192"])
    torch.testing.assert_close(vectors[0], vectors[1], rtol=0, atol=0)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_a_state_dict_that_does_not_fit(synthetic_weights: Path, tmp_path: Path, change: str) -> None:
    state = torch.load(synthetic_weights)
    if change == "missing":
        del state["Mixed_6a.branch3x3.conv.weight"]
    elif change == "unknown":
        state["AuxLogits.fc.weight"] = torch.zeros(1)
    else:
        state["fc.weight"] = state["fc.weight"][:1000]
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match="expected the FID Inception of 2015-12-05"):
        load_extractor("inception", Options(weights=tmp_path / "bad.pth"))
