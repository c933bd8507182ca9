"""Reference files of guided-diffusion (ADM): one file that is several things, and `--protocol adm`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganmetrics as gm
from ganmetrics.errors import OptionError, SourceError, StatisticsError
from tests.helpers.commands import Cli


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """In float64, from the rows: tr (S1 S2)^(1/2) is the sum of singular values of the product of centred rows."""
    centred = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (x, y)]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    traces = sum((rows**2).sum() for rows in centred)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + traces - 2 * cross)


def vectors(images: torch.Tensor, tap: str, weights: Path) -> np.ndarray:
    """The Inception's vectors of one tap, from the extractor itself."""
    from ganmetrics.features import load_extractor
    from ganmetrics.features.extractor import Options

    extractor = load_extractor("inception", Options(weights=weights, device=torch.device("cpu")))
    return np.concatenate([extractor([part], [tap])[tap].double().numpy() for part in images.split(4)])


@pytest.fixture(scope="module")
def adm(
    tmp_path_factory: pytest.TempPathFactory, photo_patches: Callable[..., np.ndarray], synthetic_weights: Path
) -> dict[str, Any]:
    """A file with all five arrays, whose statistics are not those of its images; fakes; and what a call needs."""
    folder, draw = tmp_path_factory.mktemp("adm"), np.random.default_rng(13)
    fake, few, mine, others = (photo_patches(n, 40, seed) for n, seed in ((6, 1), (5, 2), (9, 3), (9, 4)))
    as_tensor = {
        name: torch.from_numpy(x).permute(0, 3, 1, 2) for name, x in (("fake", fake), ("few", few), ("mine", mine))
    }
    held: dict[str, Any] = {**as_tensor, "weights": synthetic_weights}
    arrays: dict[str, np.ndarray] = {"arr_0": few}
    for tap, ending in (("2048", ""), ("spatial", "_s")):
        own = vectors(torch.from_numpy(others).permute(0, 3, 1, 2), tap, synthetic_weights)
        own += draw.standard_normal(own.shape) * own.std()
        arrays[f"mu{ending}"], arrays[f"sigma{ending}"] = own.mean(0), np.cov(own, rowvar=False)
        held[tap] = frechet(own, vectors(held["fake"], tap, synthetic_weights))
    np.savez(folder / "ref.npz", **arrays)
    options = {"weights": synthetic_weights, "device": "cpu", "progress": False}
    return {**held, "ref": folder / "ref.npz", "options": options, "arrays": arrays}


def test_every_call_takes_the_part_of_each_metric(adm: dict[str, Any], tmp_path: Path) -> None:
    ref, fake, options = adm["ref"], adm["fake"], adm["options"]
    fids = {"fid": gm.fid(ref, fake, **options)}
    for others in (["kid"], ["mifid", "authenticity", "is"]):
        scores = gm.evaluate(ref, fake, ["fid", *others], splits=1, **options)
        fids[f"evaluate {others}"] = scores["fid"]
    evaluator = gm.Evaluator(["fid", "kid"], real=ref, **options)
    evaluator.update(fake)
    fids["Evaluator"] = evaluator.compute()["fid"]
    monitor = gm.Monitor(ref, ["kid", "fid"], n_samples=6, every=1, **options)
    fids["Monitor"] = monitor(1, lambda n: fake[:n])["fid"]
    gm.stats(ref, **options).save(tmp_path / "kept.npz")
    fids["stats"] = gm.fid(tmp_path / "kept.npz", fake, **options)
    gm.stats(ref, ["fid"], keep="vectors", **options).save(tmp_path / "both.npz")
    both = gm.evaluate(tmp_path / "both.npz", fake, ["kid", "fid"], **options)
    fids["stats --keep vectors"] = both["fid"]
    assert both["kid"].value == scores_of_images(adm)["kid"].value
    for call, score in fids.items():
        assert score.value == pytest.approx(adm["2048"], rel=1e-5), call
        assert score.metric == "fid", call
        assert score.n_real is None, call
    assert {score.value for score in fids.values()} == {fids["fid"].value}
    assert fids["fid"].protocol["used"] == {"real": "mu and sigma"}


def scores_of_images(adm: dict[str, Any]) -> dict[str, gm.Score]:
    """With the few images of the file given by themselves."""
    return gm.evaluate(adm["few"], adm["fake"], ["kid"], **adm["options"])


def test_spatial_statistics_are_those_of_sfid(adm: dict[str, Any]) -> None:
    scores = gm.evaluate(adm["ref"], adm["fake"], ["sfid", "fid", "kid"], **adm["options"])
    assert scores["sfid"].value == pytest.approx(adm["spatial"], rel=1e-5)
    assert (scores["sfid"].metric, scores["sfid"].n_real) == ("sfid", None)
    used = {name: score.protocol["used"]["real"] for name, score in scores.items()}
    assert used == {"fid": "mu and sigma", "sfid": "mu_s and sigma_s", "kid": "images"}
    assert any("does not say how it was measured" in text for text in scores["sfid"].warnings)


def test_metrics_over_images_take_the_images(adm: dict[str, Any]) -> None:
    """The images are only some of those that mu and sigma are of, so they give another FID."""
    alone = gm.evaluate(adm["few"], adm["fake"], ["fid", "kid", "authenticity"], **adm["options"])
    scores = gm.evaluate(adm["ref"], adm["fake"], ["fid", "kid", "authenticity"], **adm["options"])
    assert abs(alone["fid"].value - scores["fid"].value) > 0.01 * scores["fid"].value
    for name in ("kid", "authenticity"):
        assert (scores[name].value, scores[name].n_real) == (alone[name].value, 5)


def test_mifid_divides_the_fid_of_the_file_by_the_distance_from_its_images(adm: dict[str, Any]) -> None:
    x, y = (vectors(adm[name], "2048", adm["weights"]) for name in ("fake", "few"))
    u, v = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    distance = (1 - np.abs(u @ v.T)).min(axis=1).mean()
    assert distance < 0.1
    score = gm.evaluate(adm["ref"], adm["fake"], ["mifid"], **adm["options"])["mifid"]
    assert score.value == pytest.approx(adm["2048"] / distance, rel=1e-4)
    assert (score.n_real, score.protocol["used"]) == (5, {"real": "mu and sigma, images"})


def test_other_features_are_measured_on_the_images(adm: dict[str, Any]) -> None:
    options = {"features": "pixels", "progress": False}
    score = gm.fid(adm["ref"], adm["fake"], **options)
    assert (score.value, score.n_real) == (gm.fid(adm["few"], adm["fake"], **options).value, 5)
    assert score.protocol["used"] == {"real": "images"}


def test_an_interval_is_not_taken_from_other_images(adm: dict[str, Any]) -> None:
    score = gm.fid(adm["ref"], adm["fake"], confidence=True, resamples=100, **adm["options"])
    assert score.value == pytest.approx(adm["2048"], rel=1e-5)
    assert score.interval is None
    assert any(text.startswith("no 95 % interval") for text in score.warnings)


def test_the_file_as_the_fake_side(adm: dict[str, Any]) -> None:
    score = gm.evaluate(adm["fake"], adm["ref"], ["fid", "kid"], **adm["options"])["fid"]
    assert score.value == pytest.approx(adm["2048"], rel=1e-5)
    assert score.protocol["used"] == {"fake": "mu and sigma"}


@pytest.mark.parametrize("lost", [("arr_0",), ("mu", "sigma"), ("mu_s", "sigma_s", "arr_0"), ("mu", "sigma", "arr_0")])
def test_files_that_hold_some_of_it(adm: dict[str, Any], tmp_path: Path, lost: tuple[str, ...]) -> None:
    np.savez(tmp_path / "some.npz", **{name: array for name, array in adm["arrays"].items() if name not in lost})
    few = gm.evaluate(adm["few"], adm["fake"], ["fid", "sfid"], **adm["options"])
    right = {"fid": ("mu", adm["2048"]), "sfid": ("mu_s", adm["spatial"])}
    for name, (array, value) in right.items():
        if array in lost and "arr_0" in lost:
            with pytest.raises(StatisticsError, match=f"^{name}: needs the real images themselves"):
                gm.evaluate(tmp_path / "some.npz", adm["fake"], [name], **adm["options"])
            continue
        expected = few[name].value if array in lost else value
        score = gm.evaluate(tmp_path / "some.npz", adm["fake"], [name], **adm["options"])[name]
        assert score.value == pytest.approx(expected, rel=1e-6)


def test_the_protocol_is_that_of_tensorflow_but_for_the_inception_score(adm: dict[str, Any]) -> None:
    names = ["fid", "sfid", "kid", "is"]
    plain = gm.evaluate(adm["ref"], adm["fake"], names, splits=1, **adm["options"])
    scores = gm.evaluate(adm["ref"], adm["fake"], names, protocol="adm", **adm["options"])
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {name: score.value for name, score in plain.items()}, rel=1e-12
    )
    assert {score.protocol["protocol"] for score in scores.values()} == {"adm"}


# --- stats --for adm


def test_a_reference_file_of_ones_own(cli: Cli, adm: dict[str, Any], tmp_path: Path) -> None:
    options = ["--weights", str(adm["weights"]), "--quiet", "--device", "cpu"]
    pixels = adm["mine"].permute(0, 2, 3, 1).contiguous().numpy()
    np.save(tmp_path / "mine.npy", pixels)
    made = cli("stats", str(tmp_path / "mine.npy"), "--for", "adm", "-o", str(tmp_path / "own.npz"), *options)
    assert made.out.endswith(
        "own.npz: 9 images, 2048 dimensions, inception (moments of features, moments of spatial)\n"
    )
    with np.load(tmp_path / "own.npz", allow_pickle=False) as own:
        np.testing.assert_array_equal(own["arr_0"], pixels)
        for tap, ending, dim in (("2048", "", 2048), ("spatial", "_s", 2023)):
            rows = vectors(adm["mine"], tap, adm["weights"])
            np.testing.assert_allclose(own[f"mu{ending}"], rows.mean(0), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(own[f"sigma{ending}"], np.cov(rows, rowvar=False), rtol=1e-3, atol=1e-6)
            assert own[f"sigma{ending}"].shape == (dim, dim)
    scores = gm.evaluate(tmp_path / "own.npz", adm["fake"], ["fid", "sfid", "kid"], **adm["options"])
    direct = gm.evaluate(adm["mine"], adm["fake"], ["fid", "sfid", "kid"], **adm["options"])
    assert {name: score.n_real for name, score in scores.items()} == dict.fromkeys(scores, 9)
    for name, score in direct.items():
        assert scores[name].value == pytest.approx(score.value, rel=1e-6)
        assert scores[name].metric == name


def test_grey_images_become_rgb_and_sizes_must_agree() -> None:
    from ganmetrics.measurement.kept_images import KeptImages

    kept = KeptImages(most=3, seed=1)
    grey = torch.arange(10 * 4 * 5, dtype=torch.uint8).view(10, 1, 4, 5)
    kept.watch(grey[:4])
    kept.watch(grey[4:])
    array = kept.array()
    blocks = np.concatenate(list(array.blocks))
    assert array.shape == blocks.shape == (3, 4, 5, 3)
    found = [next(i for i, image in enumerate(grey) if (image[0].numpy() == block[..., 0]).all()) for block in blocks]
    assert found == sorted(found)
    assert (blocks[..., 0] == blocks[..., 2]).all()
    with pytest.raises(SourceError, match=r"holds images of one size, and here are 5x4 and 7x6"):
        kept.watch(torch.zeros(1, 3, 6, 7, dtype=torch.uint8))


def test_every_image_has_the_same_chance_to_be_kept() -> None:
    from ganmetrics.measurement.kept_images import KeptImages

    counts = np.zeros(20)
    for seed in range(400):
        kept = KeptImages(most=5, seed=seed)
        kept.watch(torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1))
        np.add.at(counts, np.concatenate(list(kept.array().blocks))[:, 0, 0, 0], 1)
    assert counts.sum() == 2000
    assert abs(counts - 100).max() < 5 * np.sqrt(100 * 0.75)


def test_a_layout_of_its_own_takes_no_other_options(
    cli: Cli, adm: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("stats", "digits[0:4]", "--for", "adm", "-m", "kid", "-o", "x.npz").code == 2
    error = cli("stats", "digits[0:4]", "--for", "adm", "--features", "pixels", "-o", "x.npz", "--quiet").error
    assert error == "--for adm: guided-diffusion runs the Inception; leave out --features pixels"
    np.save("vectors.npy", np.eye(9))
    error = cli("stats", "vectors.npy", "--for", "adm", "-o", "x.npz", "--quiet").error
    assert error == "images are needed here, and vectors.npy holds vectors; give the images"
    with pytest.raises(OptionError, match=r"^--keep moments: kid needs the vectors"):
        gm.stats(adm["ref"], ["fid", "kid"], keep="moments", **adm["options"])


def test_moments_are_kept_once(adm: dict[str, Any], tmp_path: Path) -> None:
    gm.stats(adm["ref"], ["fid", "kid"], **adm["options"]).save(tmp_path / "kept.npz")
    with np.load(tmp_path / "kept.npz", allow_pickle=False) as kept:
        assert {name for name in kept.files if name.startswith(("mu", "sigma"))} == {"mu", "sigma"}
