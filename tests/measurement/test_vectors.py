"""Vectors `(N, D)` as sources: every metric over features gives what its definition gives in float64."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, SourceError, StatisticsError
from tests.helpers.commands import Cli

NAMES = ["fid", "kid", "prdc", "vendi", "authenticity"]
QUIET = {"progress": False, "device": "cpu"}


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    s, t = (np.cov(rows, rowvar=False) for rows in (x, y))
    values, vectors = np.linalg.eigh(s)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ t @ root).clip(0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * cross)


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    n, m, d = len(x), len(y), x.shape[1]
    within_x, within_y, between = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    same = [(k.sum() - np.trace(k)) / (c * (c - 1)) for k, c in ((within_x, n), (within_y, m))]
    return float(sum(same) - 2 * between.mean())


def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x[:, None] - y[None]) ** 2).sum(2)


def definitions(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Every value of NAMES of real `x` and fake `y` by its definition."""
    radius3, radius3_fake = (np.partition(squared(s, s), 3, axis=1)[:, 3] for s in (x, y))
    radius5 = np.partition(squared(x, x), 5, axis=1)[:, 5]
    between = squared(y, x)  # fakes by real images
    units = y / np.linalg.norm(y, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(units @ units.T / len(y)).clip(1e-300)
    nearest = between.argmin(1)
    own = squared(x, x) + np.diag(np.full(len(x), np.inf))
    return {
        "fid": frechet(x, y),
        "kid": kernel_distance(x, y),
        "precision": float((between <= radius3[None]).any(1).mean()),
        "recall": float((radius3_fake[None] >= between.T).any(1).mean()),
        "density": float((between < radius5[None]).sum() / (5 * len(y))),
        "coverage": float((between < radius5[None]).any(0).mean()),
        "vendi": float(np.exp(-(eigenvalues * np.log(eigenvalues)).sum())),
        "authenticity": float((between[np.arange(len(y)), nearest] > own.min(1)[nearest]).mean()),
    }


def saved_npz(path: Path, x: np.ndarray) -> Path:
    np.savez(path.with_suffix(".npz"), embeddings=x, labels=np.arange(len(x)) % 2)
    return path.with_suffix(".npz")


def saved_npy(path: Path, x: np.ndarray) -> Path:
    np.save(path.with_suffix(".npy"), x)
    return path.with_suffix(".npy")


def saved_pt(path: Path, x: np.ndarray) -> Path:
    torch.save(torch.from_numpy(x), path.with_suffix(".pt"))
    return path.with_suffix(".pt")


class Foreign:
    """As an array of JAX or a data frame: `shape`, `dtype`, `__array__`."""

    def __init__(self, x: np.ndarray):
        self._x, self.shape, self.dtype = x, x.shape, x.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._x


def saved_pt_before_zip(path: Path, x: np.ndarray) -> Path:
    torch.save(torch.from_numpy(x), path.with_suffix(".pt"), _use_new_zipfile_serialization=False)
    return path.with_suffix(".pt")


KINDS: dict[str, Callable[[Path, np.ndarray], Any]] = {
    "npy": saved_npy,
    "npy in Fortran order": lambda path, x: saved_npy(path, np.asfortranarray(x)),
    "npy, big-endian": lambda path, x: saved_npy(path, x.astype(x.dtype.newbyteorder(">"))),
    "npz": saved_npz,
    "compressed npz": lambda path, x: (np.savez_compressed(f"{path}.npz", x), Path(f"{path}.npz"))[1],
    "pt": saved_pt,
    "pt of torch before 1.6": saved_pt_before_zip,
    "array": lambda path, x: x,
    "tensor": lambda path, x: torch.from_numpy(x),
    "an array of another library": lambda path, x: Foreign(x),
    "strided": lambda path, x: np.repeat(x, 2, axis=1)[::-1, ::2][::-1],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_what_the_definitions_give(
    rng: np.random.Generator, tmp_path: Path, kind: str
) -> None:
    x, y = rng.standard_normal((60, 7)), rng.standard_normal((50, 7)) * 0.8 + 0.2
    real, fake = KINDS[kind](tmp_path / "real", x), KINDS[kind](tmp_path / "fake", y)
    scores = gm.evaluate(real, fake, NAMES, **QUIET)
    assert {name: score.value for name, score in scores.items()} == pytest.approx(definitions(x, y), rel=1e-8)
    expected = ["fd", "kd", "precision", "recall", "density", "coverage", "vendi", "authenticity"]
    assert [score.metric for score in scores.values()] == [f"{name}-vectors" for name in expected]
    assert {(score.n_real, score.n_fake) for score in scores.values()} <= {(60, 50), (None, 50)}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int16", "int32", "int64", "uint16"])
def test_no_dtype_is_narrowed(rng: np.random.Generator, dtype: str) -> None:
    """Values of int64 and float64 beyond 2^24 differ in their last digits, which float32 does not hold."""
    base = 2**27 if dtype in ("int32", "int64", "float64") else 0
    x, y = (base + rng.integers(1, 100, (40, 3)) for _ in range(2))
    scores = gm.evaluate(x.astype(dtype), y.astype(dtype), ["fid", "prdc", "authenticity"], **QUIET)
    centred = [rows.astype(np.float64) - base for rows in (x, y)]
    right = definitions(*centred)
    for name, score in scores.items():
        assert score.value == pytest.approx(right[name], rel=1e-7), name


def test_vectors_have_intervals_and_streams(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((80, 4)), rng.standard_normal((70, 4))
    scores = gm.evaluate(x, y, ["fid", "kid"], confidence=True, resamples=200, **QUIET)
    for score in scores.values():
        assert score.interval is not None
        assert score.interval[0] < score.value < score.interval[1]


def test_they_are_the_inceptions_only_if_the_user_says_so(rng: np.random.Generator) -> None:
    x, y = rng.random((20, 2048)), rng.random((24, 2048))
    assert gm.fid(x, y, **QUIET).metric == "fd-vectors"
    score = gm.fid(x, y, features_are="inception", **QUIET)
    assert (score.metric, score.value) == ("fid", pytest.approx(frechet_of_rows(x, y), rel=1e-7))
    assert any("is said to hold features of inception" in text for text in score.warnings)
    assert gm.fid(x, y, features_are="dinov2", **QUIET).metric == "fd-dinov2"
    logits = rng.standard_normal((30, 1008))
    score = gm.inception_score(logits, features_are="inception:logits-unbiased", splits=1, **QUIET)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    right = np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean())
    assert (score.metric, score.value) == ("is", pytest.approx(right, rel=1e-9))
    own = gm.inception_score(logits, features_are="digit-net:logits", splits=1, **QUIET)
    assert (own.metric, own.value) == ("is-digit-net", score.value)
    with pytest.raises(StatisticsError, match=r"^is: needs logits, and .* is taken for features; .*--features-are"):
        gm.inception_score(logits, **QUIET)


def frechet_of_rows(x: np.ndarray, y: np.ndarray) -> float:
    """From the rows: for more dimensions than rows, eigenvalues of the covariance would lose digits."""
    a, b = ((rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (x, y))
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * cross)


def test_classes_beside_the_vectors(rng: np.random.Generator, tmp_path: Path) -> None:
    x, y = rng.standard_normal((60, 3)), rng.standard_normal((60, 3)) + 1
    real, fake = saved_npz(tmp_path / "real", x), saved_npz(tmp_path / "fake", y)
    score = gm.evaluate(real, fake, ["class-fid"], **QUIET)["class-fid"]
    by_class = [frechet(x[i::2], y[i::2]) for i in range(2)]
    assert score.value == pytest.approx(np.mean(by_class), rel=1e-8)


BAD: dict[str, tuple[Any, str]] = {
    "NaN": (np.array([[0.0, 1], [np.nan, 2]]), r"^array of shape \(2, 2\): NaN or infinity in row 1$"),
    "beyond float64": (np.array([[2**60, 1], [3, 2]]), "int64 beyond 2.53, which float64 does not hold"),
    "complex": (np.ones((3, 2), complex), "expected vectors of real numbers .*, got complex128"),
    "bool": (torch.ones(3, 2, dtype=torch.bool), "expected vectors of real numbers .*, got bool"),
    "strings": (np.array([["a", "b"]]), "expected vectors of real numbers"),
    "no row": (np.zeros((0, 5)), "holds no vector"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str) -> None:
    source, message = BAD[case]
    with pytest.raises(SourceError, match=message):
        gm.fid(source, source, **QUIET)


def test_sides_that_cannot_be_compared(rng: np.random.Generator, tmp_path: Path, images: torch.Tensor) -> None:
    x = rng.standard_normal((9, 12))
    with pytest.raises(StatisticsError, match=r"expected features of one dimension, got 12 \(real\) and 5 \(fake\)"):
        gm.evaluate(x, rng.standard_normal((9, 5)), ["kid"], **QUIET)
    with pytest.raises(StatisticsError, match=r"features of vectors and pixels; .* --features-are"):
        gm.fid(x, images, features="pixels", **QUIET)
    with pytest.raises(OptionError, match=r"inception: that has 2048 dimensions, and array of shape \(9, 12\) has 12"):
        gm.fid(x, x, features_are="inception", **QUIET)
    with pytest.raises(OptionError, match="is for sources of vectors"):
        gm.fid(images, images, features="pixels", features_are="pixels", **QUIET)
    np.savez(tmp_path / "two.npz", a=x, b=x)
    with pytest.raises(SourceError, match=r"holds several arrays of vectors: a \(9, 12\), b \(9, 12\)"):
        gm.fid(tmp_path / "two.npz", x, **QUIET)
    np.savez(tmp_path / "two.npz", a=x, b=x + 1)
    value = gm.fid(f"{tmp_path}/two.npz:a", f"{tmp_path}/two.npz:b", **QUIET).value
    assert value == pytest.approx(12.0, rel=1e-9)  # of one covariance; the means differ by 1 in 12 dimensions
    torch.save({"a": torch.ones(2, 2)}, tmp_path / "dict.pt")
    with pytest.raises(SourceError, match=r"expected one tensor of vectors \(N, D\), got a dict"):
        gm.fid(tmp_path / "dict.pt", x, **QUIET)


def test_a_mean_and_a_covariance_are_no_vectors(rng: np.random.Generator, tmp_path: Path) -> None:
    x = rng.standard_normal((40, 5))
    np.savez(tmp_path / "fit.npz", mean=x.mean(0), cov=np.cov(x, rowvar=False))
    with pytest.raises(SourceError, match=r"fit\.npz: cov \(5, 5\) is symmetric, and beside mean it is a covariance"):
        gm.fid(tmp_path / "fit.npz", x, **QUIET)
    np.savez(tmp_path / "rows.npz", features=x[:5], weights=np.ones(5))
    assert gm.fid(tmp_path / "rows.npz", x, **QUIET).value == pytest.approx(frechet_of_rows(x[:5], x), rel=1e-8)


def test_metrics_that_vectors_alone_do_not_serve(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 5))
    with pytest.raises(StatisticsError, match=r"^class-fid: needs the class of each vector, and .* has none; give "):
        gm.evaluate(x, x + 1, ["class-fid"], **QUIET)
    with pytest.raises(StatisticsError, match=r"^ms-ssim: compares the images themselves, and .* holds vectors$"):
        gm.evaluate(None, x, ["ms-ssim"], **QUIET)
    assert "--prepare 8: changes nothing, because no image was read" in gm.fid(x, x + 1, prepare=8, **QUIET).warnings


def test_no_file_of_vectors_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save(Evil(), tmp_path / "evil.pt")
    with pytest.raises(SourceError, match=r"expected one tensor saved by torch\.save"):
        gm.fid(tmp_path / "evil.pt", np.ones((3, 2)), **QUIET)
    assert not (tmp_path / "ran").exists()


# --- statistics that keep vectors


def test_a_file_that_keeps_vectors_serves_what_they_serve(cli: Cli, rng: np.random.Generator, tmp_path: Path) -> None:
    """Equal to the images themselves, to the last bit: KID, PRDC, Vendi, MiFID, authenticity and intervals."""
    names = ["fid", "kid", "prdc", "vendi", "mifid", "authenticity", "fid-infinity"]
    real, fake = (torch.from_numpy(rng.integers(0, 256, (n, 3, 6, 6), dtype=np.uint8)) for n in (150, 140))
    options = {"features": "pixels", "layout": "NCHW", "confidence": True, "resamples": 100, **QUIET}
    direct = gm.evaluate(real, fake, names, **options)
    for source, name in ((real, "real"), (fake, "fake")):
        np.save(tmp_path / f"{name}.npy", source.numpy())
        ran = cli("stats", f"{tmp_path}/{name}.npy", "--keep", "vectors", "-o", f"{tmp_path}/{name}.npz",
                  "--features", "pixels", "--layout", "NCHW", "--quiet")  # fmt: skip
        assert ran.out.endswith("108 dimensions, pixels (vectors of features)\n")
    scores = gm.evaluate(tmp_path / "real.npz", tmp_path / "fake.npz", names, **options)
    for name, score in direct.items():
        assert scores[name].value == pytest.approx(score.value, rel=1e-11), name
        assert scores[name].interval == pytest.approx(score.interval, rel=1e-9), name
        assert scores[name].metric == score.metric, name


@pytest.mark.parametrize("metrics", [["is"], ["sfid"], ["fid", "sfid", "is", "kid"], ["class-fid"]])
def test_statistics_for_named_metrics(
    photo_patches: Callable[..., np.ndarray], tmp_path: Path, synthetic_weights: Path, metrics: list[str]
) -> None:
    images = [torch.from_numpy(photo_patches(8, 40, seed)).permute(0, 3, 1, 2) for seed in (1, 2)]
    paths = []
    for name, side in zip(("real", "fake"), images, strict=True):
        labels = np.arange(8) % 2
        np.savez(tmp_path / f"{name}.npz", arr_0=side.permute(0, 2, 3, 1).numpy(), arr_1=labels)
        kept = tmp_path / f"{name}-kept.npz"
        gm.stats(tmp_path / f"{name}.npz", metrics, weights=synthetic_weights, **QUIET).save(kept)
        paths.append((tmp_path / f"{name}.npz", kept))
    options = {"weights": synthetic_weights, "splits": 2, **QUIET}
    direct = gm.evaluate(paths[0][0], paths[1][0], metrics, **options)
    scores = gm.evaluate(paths[0][1], paths[1][1], metrics, **{**options, "weights": "/nowhere"})
    for name, score in direct.items():
        assert scores[name].value == pytest.approx(score.value, rel=1e-9), name
        assert (scores[name].metric, scores[name].n_fake) == (score.metric, 8)


def test_kept_vectors_merge_in_order(cli: Cli, rng: np.random.Generator, tmp_path: Path) -> None:
    images = torch.from_numpy(rng.integers(0, 256, (30, 3, 4, 4), dtype=np.uint8))
    options = {"features": "pixels", "layout": "NCHW", **QUIET}
    for name, part in (("a", images[:11]), ("b", images[11:])):
        gm.stats(part, keep="vectors", **options).save(tmp_path / f"{name}.npz")
    merged = gm.merge([tmp_path / "a.npz", tmp_path / "b.npz"])
    whole = gm.stats(images, keep="vectors", **options)
    rows = [torch.cat(list(file.parts[-1].statistic.blocks())) for file in (merged, whole)]
    assert torch.equal(*rows)
    gm.stats(images, **options).save(tmp_path / "c.npz")
    with pytest.raises(StatisticsError, match=r"a\.npz holds .*, and .*c\.npz moments of features; make all files by"):
        gm.merge([tmp_path / "a.npz", tmp_path / "c.npz"])


@pytest.mark.parametrize("narrow_first", [True, False])
def test_merged_vectors_keep_the_widest_dtype(rng: np.random.Generator, tmp_path: Path, narrow_first: bool) -> None:
    wide, narrow = 2**30 + rng.standard_normal((6, 3)), rng.standard_normal((5, 3)).astype(np.float32)
    parts = [narrow, wide] if narrow_first else [wide, narrow]
    for name, part in zip("ab", parts, strict=True):
        gm.stats(part, keep="vectors", **QUIET).save(tmp_path / f"{name}.npz")
    merged = gm.merge([tmp_path / "a.npz", tmp_path / "b.npz"])
    rows = torch.cat(list(merged.parts[-1].statistic.blocks()))
    np.testing.assert_array_equal(rows.numpy(), np.concatenate(parts).astype(np.float64))
