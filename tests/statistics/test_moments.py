"""Streaming moments against numpy on the whole, and statistics files of ours and of other tools."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ganmetrics.errors import StatisticsError
from ganmetrics.statistics import files, loading
from ganmetrics.statistics.files import StatisticsFile
from ganmetrics.statistics.moments import FOLD_ROWS, Moments
from tests.conftest import peer


def streamed(x: np.ndarray, batch: int) -> Moments:
    moments = Moments()
    for start in range(0, len(x), batch):
        moments.update(torch.from_numpy(x[start : start + batch]))
    return moments


SHAPES = [(3, 8), (8, 8), (9, 8), (40, 64), (700, 16), (3 * FOLD_ROWS + 5, 24)]


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_streamed_moments_equal_numpy(rng: np.random.Generator, n: int, d: int, batch: int) -> None:
    """A mean of 1e4 times the deviation: sums of squares would lose eight digits here, centred sums do not."""
    x = rng.standard_normal((n, d)) + 1e4
    moments = streamed(x, batch)
    assert (moments.count, moments.dim) == (n, d)
    np.testing.assert_allclose(moments.mean(), x.mean(0), rtol=1e-12)
    for ddof in (0, 1):
        expected = np.cov(x, rowvar=False, ddof=ddof)
        np.testing.assert_allclose(moments.covariance(ddof), expected, rtol=1e-9, atol=1e-9)
        factor = moments.factor(ddof)
        assert len(factor) <= max(n, d)
        np.testing.assert_allclose(factor.T @ factor, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cuts", [(0,), (5,), (600,), (1, 2, 3), (65, 64 + 66), (650, 680)])
def test_merged_shards_equal_the_whole(rng: np.random.Generator, cuts: tuple[int, ...]) -> None:
    x = rng.standard_normal((700, 64)) @ rng.standard_normal((64, 64)) + 3
    whole, merged = streamed(x, 32), Moments()
    for part in np.split(x, cuts):
        merged.merge(streamed(part, 32))
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.mean(), whole.mean(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(merged.covariance(), whole.covariance(), rtol=1e-10, atol=1e-11)


def test_merging_leaves_the_other_alone(rng: np.random.Generator) -> None:
    one, other = streamed(rng.standard_normal((100, 4)), 10), streamed(rng.standard_normal((90, 4)), 10)
    before = other.covariance().clone()
    one.merge(other)
    one.update(torch.ones(600, 4))
    one.covariance()
    torch.testing.assert_close(other.covariance(), before, rtol=0, atol=0)
    assert other.count == 90


def test_memory_is_flat_in_the_number_of_vectors() -> None:
    moments, d = Moments(), 32
    for _ in range(200):
        moments.update(torch.randn(50, d))
        held = sum(rows.numel() for rows in moments._rows.pieces())
        assert held <= (FOLD_ROWS + 50) * d
    assert moments.count == 10_000


def test_float32_vectors_are_summed_in_float64(rng: np.random.Generator) -> None:
    x = (rng.standard_normal((5000, 3)) + 1000).astype(np.float32)
    np.testing.assert_allclose(streamed(x, 64).mean(), x.astype(np.float64).mean(0), rtol=1e-14)


def test_the_caller_may_reuse_its_buffer() -> None:
    moments, buffer = Moments(), torch.ones(4, 8, dtype=torch.float64)
    moments.update(buffer)
    buffer.fill_(100)
    assert float(moments.mean()[0]) == 1


@pytest.mark.parametrize("bad", [torch.ones(3, 5), torch.ones(4), torch.ones(2, 4, 1)])
def test_vectors_of_another_shape(bad: torch.Tensor) -> None:
    moments = streamed(np.ones((2, 4)), 2)
    with pytest.raises(StatisticsError, match=r"^expected vectors of shape \(N, 4\), got "):
        moments.update(bad)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_file_round_trip_and_update_afterwards(rng: np.random.Generator, tmp_path: Path, n: int, d: int) -> None:
    x, more = rng.standard_normal((n, d)), rng.standard_normal((70, d))
    path = tmp_path / "x.npz"
    files.write(path, StatisticsFile.of(streamed(x, 10), {"features": "pixels", "tap": "features"}))
    loaded = loading.load(path)
    assert loaded.protocol == {"features": "pixels", "tap": "features"}
    assert loaded.moments.count == n
    np.testing.assert_allclose(loaded.moments.covariance(), np.cov(x, rowvar=False), rtol=1e-12, atol=1e-13)
    loaded.moments.update(torch.from_numpy(more))
    both = np.concatenate([x, more])
    np.testing.assert_allclose(loaded.moments.covariance(), np.cov(both, rowvar=False), rtol=1e-10, atol=1e-12)


def test_our_files_are_read_by_pytorch_fid(rng: np.random.Generator, tmp_path: Path) -> None:
    fid_score = peer("pytorch_fid.fid_score")
    x = rng.standard_normal((100, 6))
    files.write(tmp_path / "x.npz", StatisticsFile.of(streamed(x, 10)))
    mu, sigma = fid_score.compute_statistics_of_path(str(tmp_path / "x.npz"), None, 1, 6, "cpu")
    np.testing.assert_allclose(mu, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(sigma, np.cov(x, rowvar=False), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["pytorch-fid", "ADM", "float32"])
def test_files_of_other_tools(rng: np.random.Generator, tmp_path: Path, kind: str) -> None:
    """pytorch-fid, TTUR and EDM hold mu and sigma; ADM's reference batches also mu_s, sigma_s and images."""
    x = rng.standard_normal((100, 6))
    mu, sigma = x.mean(0), np.cov(x, rowvar=False)
    extra = {}
    if kind == "ADM":
        extra = {"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "mu_s": np.zeros(3), "sigma_s": np.eye(3)}
    if kind == "float32":
        mu, sigma = mu.astype(np.float32), sigma.astype(np.float32)
    path = tmp_path / "stats.npz"
    np.savez(path, mu=mu, sigma=sigma, **extra)
    assert loading.is_statistics_file(path)
    loaded = loading.load(path)
    assert loaded.moments.count is None
    assert loaded.protocol == {}
    np.testing.assert_allclose(loaded.moments.covariance(), sigma)
    with pytest.raises(StatisticsError, match="unknown count cannot be added to"):
        loaded.moments.update(torch.ones(2, 6))
    with pytest.raises(StatisticsError, match="unknown count cannot be merged"):
        Moments().merge(loaded.moments)
    with pytest.raises(StatisticsError, match="hold the n - 1 covariance only"):
        loaded.moments.covariance(ddof=0)


def savez(**arrays: object) -> object:
    return lambda path: np.savez(path, **arrays)


BAD_FILES = {
    "no sigma": (savez(mu=np.zeros(3)), "expected a statistics file with mu and sigma, it holds mu"),
    "unlike sizes": (savez(mu=np.zeros(3), sigma=np.eye(4)), "expected mu (D,) and sigma (D, D) in floating point"),
    "integers": (savez(mu=np.zeros(3, int), sigma=np.eye(3)), "expected mu (D,) and sigma (D, D) in floating point"),
    "NaN": (savez(mu=np.zeros(3), sigma=np.full((3, 3), np.nan)), "NaN or infinity in mu or sigma"),
    "not symmetric": (savez(mu=np.zeros(2), sigma=np.array([[1.0, 2], [0, 1]])), "no covariance matrix"),
    "negative variance": (savez(mu=np.zeros(2), sigma=-np.eye(2)), "no covariance matrix"),
    "pickle inside": (savez(mu=np.array([{}], dtype=object), sigma=np.eye(1)), "which only pickle could read"),
    "empty": (lambda path: path.write_bytes(b""), "no .npz archive"),
    "text": (lambda path: path.write_text("hello"), "expected a statistics file"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"mu": 1})), "which only pickle could read"),
    "missing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_one_clear_line(tmp_path: Path, case: str) -> None:
    make, said = BAD_FILES[case]
    path = tmp_path / "bad.npz"
    make(path)
    with pytest.raises(StatisticsError) as caught:
        loading.load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_file(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    files.write(path, StatisticsFile.of(streamed(rng.standard_normal((100, 6)), 10)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StatisticsError, match=r"no \.npz archive, or a damaged one"):
        loading.load(path)


def test_a_file_of_a_later_version_is_not_taken_for_another_tools(tmp_path: Path) -> None:
    path = tmp_path / "later.npz"
    np.savez(path, mu=np.zeros(2), sigma=np.eye(2), count=5, format="ganmetrics-moments-2")
    with pytest.raises(StatisticsError, match=r"written as ganmetrics-moments-2 by another version.*upgrade"):
        loading.load(path)


def test_writing_never_destroys(rng: np.random.Generator, tmp_path: Path) -> None:
    path, file = tmp_path / "x.npz", StatisticsFile.of(streamed(rng.standard_normal((10, 3)), 10))
    files.write(path, file)
    before = path.read_bytes()
    with pytest.raises(StatisticsError, match="exists already; choose another name or give --overwrite"):
        files.write(path, file)
    assert path.read_bytes() == before
    files.write(path, file, overwrite=True)
    with pytest.raises(StatisticsError, match=r"expected a name that ends in \.npz"):
        files.write(tmp_path / "x.txt", file)
    with pytest.raises(StatisticsError, match="its folder does not exist"):
        files.write(tmp_path / "no" / "x.npz", file)
    with pytest.raises(StatisticsError, match="cannot write statistics: there are no images"):
        files.write(tmp_path / "y.npz", StatisticsFile.of(Moments()))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npz"]
