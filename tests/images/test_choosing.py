"""`--include` and `--exclude`: which images of a folder, archive or list are taken, and kinds that lie together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganmetrics as gm
from ganmetrics.errors import OptionError, SourceError
from ganmetrics.images import open_images
from ganmetrics.images.name_kinds import kinds
from ganmetrics.images.patterns import Selection
from tests.helpers.cached import OPTIONS, stored
from tests.helpers.commands import PIXELS, Cli
from tests.helpers.packed import KINDS, frechet, packed
from tests.helpers.pictures import png

N = 60
NAMED = ("real_A", "fake_B", "rec_A")


@pytest.fixture
def drawn(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {kind: rng.integers(0, 200 + 20 * i, (N, 2, 2, 3), dtype=np.uint8) for i, kind in enumerate(NAMED)}


def results(drawn: dict[str, np.ndarray], form: str = "{i:03}_{kind}.png") -> dict[str, bytes]:
    """Files as CycleGAN writes its results."""
    return {form.format(i=i, kind=kind): png(images[i]) for kind, images in drawn.items() for i in range(N)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["{i:03}_{kind}.png", "images/{i:03}-{kind}.png", "{kind}_{i}.png"])
def test_one_folder_of_results_is_both_sides(
    kind: str, form: str, drawn: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = packed(kind, tmp_path / "results", results(drawn, form))
    include = ["real:*real_A*", "fake:*fake_B*"]
    score = gm.fid(source, source, include=include, **OPTIONS)
    assert score.value == pytest.approx(frechet(drawn["real_A"], drawn["fake_B"]), rel=1e-5)
    assert (score.n_real, score.n_fake) == (N, N)
    assert score.protocol["include"] == {"real": ["*real_A*"], "fake": ["*fake_B*"]}
    assert score.protocol_line().endswith("; real only *real_A*; fake only *fake_B*")
    assert not score.warnings  # neither of kinds, nor of one source twice
    left = gm.fid(source, source, exclude=["real:*_B*", "real:*rec*", "fake:*_A*"], **OPTIONS)
    assert left.value == score.value
    assert left.protocol["exclude"] == {"real": ["*_B*", "*rec*"], "fake": ["*_A*"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pattern_for_both_sides(kind: str, drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    real, fake = (packed(kind, tmp_path / name, results(drawn)) for name in ("real", "fake"))
    score = gm.fid(real, fake, include="*_rec_A.png", **OPTIONS)
    assert (score.n_real, score.value) == (N, pytest.approx(0, abs=1e-12))
    assert score.protocol["include"] == {"real": ["*_rec_A.png"], "fake": ["*_rec_A.png"]}
    both = gm.fid(real, fake, include=["*_rec_A.png", "*_fake_B.png"], exclude="fake:*_rec_A.png", **OPTIONS)
    expected = frechet(np.concatenate([drawn["rec_A"], drawn["fake_B"]]), drawn["fake_B"])
    assert both.value == pytest.approx(expected, rel=1e-5)


NAMES = ["a/1_x.png", "a/2_y.png", "b/c/1_x.png", "b/c/3_z.jpg", "top_x.png"]


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        (["*_x.png"], [], [0, 2, 4]),
        ([], ["*_x.png"], [1, 3]),
        (["a/*"], [], [0, 1]),
        (["c/*"], [], [2, 3]),
        (["b/*"], [], []),
        (["b/**"], [], [2, 3]),
        (["b/"], [], [2, 3]),
        (["/c/*"], [], []),
        (["/a/*"], ["2*"], [0]),
        (["?_[xy].png"], [], [0, 1, 2]),
        (["[!12]_*"], [], [3]),
        (["{1,3}_*"], [], [0, 2, 3]),
        (["*_x.png", "*.jpg"], ["top*"], [0, 2, 3]),
        (["1_X.png"], [], []),
        (["**/1_x.png"], ["/b/**"], [0]),
        (["./a/1_x.png"], [], [0]),
        (["a\\*_x.png"], [], [0]),
    ],
)
def test_what_a_pattern_means(include: list[str], exclude: list[str], taken: list[int]) -> None:
    selection = Selection(tuple(include), tuple(exclude), frozenset([*include, *exclude]))
    if not taken:
        with pytest.raises(
            SourceError, match=rf"^here: no image is left by --include .*; it holds {NAMES[0]}, {NAMES[1]}, "
        ):
            selection.chosen(NAMES, "here")
        return
    assert selection.chosen(NAMES, "here")[0] == taken


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_matches(kind: str, drawn: dict[str, np.ndarray], tmp_path: Path, cli: Cli) -> None:
    source = packed(kind, tmp_path / "results", results(drawn))
    error = cli("fid", source, source, *PIXELS, "--include", "fake:*_fake_C.png").error
    assert error.startswith(f"{source}: no image matches --include *_fake_C.png; it holds 000_")
    assert "_real_A.png, " in error
    error = cli("stats", source, *PIXELS, "--exclude", "*_recA.png", "-o", "x.npz").error
    assert error.startswith(f"{source}: no image matches --exclude *_recA.png; it holds 000_")
    error = cli("fid", source, source, *PIXELS, "--include", "x*").error
    assert error.startswith(f"{source}: no image is left by --include x*; it holds 000_")


def test_a_pattern_for_both_that_matches_on_one_is_told(drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    one = packed("folder", tmp_path / "one", {f"{i}.png": png(image) for i, image in enumerate(drawn["real_A"])})
    other = packed("zip", tmp_path / "other", results(drawn))
    score = gm.fid(one, other, exclude=["*_real_A.png", "*_rec_A.png"], **OPTIONS)
    assert score.value == pytest.approx(frechet(drawn["real_A"], drawn["fake_B"]), rel=1e-5)
    assert score.warnings == [
        "real images: none matches --exclude *_real_A.png", "real images: none matches --exclude *_rec_A.png"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"include": ""}, "--include: expected a pattern of names such as '*_fake_B.png', got ''"),
        ({"exclude": ["fake:"]}, "--exclude: expected a pattern of names such as '*_fake_B.png', got ''"),
        ({"include": [3]}, "--include: expected a pattern of names such as '*_fake_B.png', got 3"),
        ({"include": "[z-a]*"}, "--include: [z-a]* is no pattern of names (bad character range z-a)"),
        ({"include": "test:*.png"}, "--include test:*.png: expected one of the sides real, fake; leave test: out, or "
                                    "write [t]est: if it is part of a name"),
    ],
)  # fmt: skip
def test_patterns_that_are_none(
    options: dict[str, Any], error: str, drawn: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = packed("folder", tmp_path / "results", results(drawn))
    with pytest.raises(OptionError) as told:
        gm.fid(source, source, **options, **OPTIONS)
    assert str(told.value) == error


def test_sides_that_are_not_there(drawn: dict[str, np.ndarray], tmp_path: Path, cli: Cli) -> None:
    source = packed("folder", tmp_path / "results", results(drawn))
    error = cli("is", source, "--features", "efficientnet-lite0", "--include", "real:*").error
    assert error.startswith("--include real:*: expected one of the sides fake; ")
    error = cli("stats", source, *PIXELS, "--include", "real:*", "-o", "x.npz").error
    assert error == "--include real:*: names a side, and here is one source; leave real: out"


@pytest.mark.parametrize("make", ["array", "dataset", "npy", "statistics", "digits"])
def test_what_has_no_names_takes_no_pattern(make: str, drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = packed("folder", tmp_path / "results", results(drawn))
    images = drawn["real_A"]
    np.save(tmp_path / "x.npy", images)
    gm.stats(tmp_path / "x.npy", layout="NHWC", **OPTIONS).save(tmp_path / "s.npz")
    other = {
        "array": images,
        "dataset": list(images),
        "npy": tmp_path / "x.npy",
        "statistics": tmp_path / "s.npz",
        "digits": "digits",
    }[make]
    options = {"layout": "NHWC", **OPTIONS}
    with pytest.raises(OptionError, match=r"--include and --exclude choose .*write real:PATTERN or fake:PATTERN$"):
        gm.fid(other, folder, include="*_fake_B.png", **options)
    if make != "digits":
        score = gm.fid(other, folder, include="fake:*_fake_B.png", **options)
        assert score.value == pytest.approx(frechet(images, drawn["fake_B"]), rel=1e-5)


def test_lists_and_globs_of_images(drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = packed("folder", tmp_path / "results", results(drawn))
    paths = sorted(folder.iterdir())
    chosen = open_images(paths, selection=Selection(("*_rec_A.png",)))
    assert [entry.name for entry in chosen.entries] == [str(path) for path in paths if path.name.endswith("_rec_A.png")]
    assert len(open_images(f"{folder}/*_rec_A.png")) == N
    score = gm.fid(f"{folder}/*_real_A.png", f"{folder}/*_fake_B.png", **OPTIONS)
    assert score.value == pytest.approx(frechet(drawn["real_A"], drawn["fake_B"]), rel=1e-5)


def test_shards_are_chosen_from_by_the_names_in_them(drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    files = results(drawn)
    for number in range(2):
        packed("tar", tmp_path / "shards" / str(number), {n: c for n, c in files.items() if int(n[:3]) % 2 == number})
    score = gm.fid(
        tmp_path / "shards", f"{tmp_path}/shards/*.tar", include=["real:*_real_A.png", "fake:*B.png"], **OPTIONS
    )
    assert score.value == pytest.approx(frechet(drawn["real_A"], drawn["fake_B"]), rel=1e-5)


@pytest.mark.usefixtures("statistics_cache")
@pytest.mark.parametrize("kind", KINDS)
def test_the_choice_is_part_of_the_cache_key(kind: str, drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    source = packed(kind, tmp_path / "results", results(drawn))
    for n, pattern in enumerate(NAMED, 1):
        for again in (False, True):
            score = gm.fid(source, source, include=[f"real:*_{pattern}.png", "fake:*_fake_B.png"], **OPTIONS)
            assert score.value == pytest.approx(frechet(drawn[pattern], drawn["fake_B"]), rel=1e-5, abs=1e-9)
            assert ("cached" in score.protocol) == again
        assert len(stored()) == n


def test_saved_statistics_say_what_was_chosen(drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    source = packed("zip", tmp_path / "results", results(drawn))
    gm.stats(source, include="*_real_A.png", **OPTIONS).save(tmp_path / "s.npz")
    score = gm.fid(tmp_path / "s.npz", source, include="fake:*_fake_B.png", **OPTIONS)
    assert score.value == pytest.approx(frechet(drawn["real_A"], drawn["fake_B"]), rel=1e-5)
    assert score.protocol["include"] == {"real": ["*_real_A.png"], "fake": ["*_fake_B.png"]}


def test_parzen_and_held_out_images_are_chosen_too(drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    from ganmetrics.held_out import read_test_images, reading

    source = packed("folder", tmp_path / "results", results(drawn))
    options = {"progress": False, "device": "cpu"}
    score = gm.parzen_log_likelihood(
        source, source, source, bandwidths=0.3, **options,
        include=["samples:*_fake_B.png", "validation:*_rec_A.png", "test:*_real_A.png"],
    )  # fmt: skip
    x, y = (drawn[kind].reshape(N, -1) / 255 for kind in ("fake_B", "real_A"))
    exponents = -((y[:, None] - x) ** 2).sum(-1) / (2 * 0.3**2)
    high = exponents.max(1, keepdims=True)
    log = np.log(np.exp(exponents - high).mean(1)) + high[:, 0] - 12 * np.log(0.3 * np.sqrt(2 * np.pi))
    assert score.value == pytest.approx(log.mean(), rel=1e-6)
    assert score.protocol["include"]["test"] == ["*_real_A.png"]
    held = read_test_images(source, None, reading({"include": "*_rec_A.png", **options}))
    assert np.array_equal(held.pixels.permute(0, 2, 3, 1).numpy(), drawn["rec_A"])


def test_a_folder_that_cannot_be_listed_is_not_chosen_away() -> None:
    assert Selection(("*.png",)).chosen(["a.png", "b/", "c.jpg", ""], "here")[0] == [0, 1, 3]


def named(*forms: str, n: int = 20) -> list[str]:
    return sorted(form.format(i) for i in range(n) for form in forms)


@pytest.mark.parametrize(
    ("forms", "found"),
    [
        (["{}_real_A.png", "{}_fake_B.png", "{}_rec_A.png"], ["*_fake_B.png", "*_real_A.png", "*_rec_A.png"]),
        ([f"{{}}_{kind}_{side}.png" for kind in ("real", "fake", "rec") for side in "AB"], 6),
        (["x/n1_{}_real_A.png", "x/n1_{}_fake_B.png"], ["*_fake_B.png", "*_real_A.png"]),
        (["{}-input.jpg", "{}-output.png"], ["*-input.jpg", "*-output.png"]),
        (["{}.real.png", "{}.fake.png"], ["*.fake.png", "*.real.png"]),
        (["{} (real).png", "{} (fake).png"], ["* (fake).png", "* (real).png"]),
        (["img_{}.png", "img_{}_mask.png"], ["*.png", "*_mask.png"]),
        (["{}.jpg", "{}.png"], ["*.jpg", "*.png"]),
        (["real_A_{}.png", "fake_B_{}.png"], ["fake_B_*.png", "real_A_*.png"]),
        (["{}real.png", "{}fake.png"], ["*fake.png", "*real.png"]),
        (["images/real_A/{}.png", "images/fake_B/{}.png", "images/real_B/{}.png"], ["fake_B/", "real_A/", "real_B/"]),
        (["input/{}.jpg", "output/{}.jpg"], ["input/", "output/"]),
        (["{}_x2.png", "{}_x4.png"], ["*_x2.png", "*_x4.png"]),
        (["{}_2x.png", "{}_4x.png"], []),
        (["train/cat/{}.png", "train/dog/{}.png"], []),
        (["{:05}.png"], []),
        (["img_{:05}.png"], []),
        (["cat_{}.png", "dog_{}.png"], []),
        (["seed{}_0.png", "seed{}_1.png"], []),
        (["{}_sample.png"], []),
        (["cat/{}.png", "dog/{}.png"], []),
    ],
)
def test_kinds_are_seen_in_the_names(forms: Sequence[str], found: list[str] | int) -> None:
    for names in (named(*forms), [name for form in forms for name in named(form)], named(*forms, n=400)):
        assert (len(kinds(names)) if isinstance(found, int) else kinds(names)) == found


def test_kinds_in_other_numbers_are_none() -> None:
    assert kinds(named("{}_real_A.png", n=40) + named("{}_fake_B.png", n=10)) == []
    assert kinds(["1_real.png", "1_fake.png"]) == []  # too few to tell
    nearly = [*named("{}_real_A.png", "{}_fake_B.png"), "grid.png"]
    assert kinds(nearly) == ["*_fake_B.png", "*_real_A.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_are_taken_together_are_told(kind: str, drawn: dict[str, np.ndarray], tmp_path: Path) -> None:
    real = packed("folder", tmp_path / "real", {f"{i}.png": png(image) for i, image in enumerate(drawn["real_A"])})
    source = packed(kind, tmp_path / "results", results(drawn))
    told = (
        "fake images: the names are of 3 kinds in equal numbers (*_fake_B.png, *_real_A.png, *_rec_A.png), and all are "
        "taken: --include or --exclude chooses one kind"
    )
    assert told in gm.fid(real, source, **OPTIONS).warnings
    assert not gm.fid(real, source, include="fake:*_fake_B.png", **OPTIONS).warnings


def test_images_to_reconstruct_are_chosen(tmp_path: Path) -> None:
    from tests.helpers.generators import photos, small

    network, images = small(), photos(12)
    names = [f"{i:02}_{'a' if i < 5 else 'b'}.png" for i in range(12)]
    files = {name: png(image.permute(1, 2, 0).numpy()) for name, image in zip(names, images, strict=True)}
    source = packed("zip", tmp_path / "test", files)
    options = {"steps": 10, "pool": 16, "progress": False}
    score = gm.reconstruction_loss(network, source, include="*_a.png", **options)
    assert score.value == pytest.approx(gm.reconstruction_loss(network, images[:5], **options).value, rel=1e-6)
    assert (score.n_real, score.protocol["include"]) == (5, {"test": ["*_a.png"]})
    with pytest.raises(OptionError, match="choose images by their names, and the source is an array; leave them out"):
        gm.reconstruction_loss(network, images, include="*_a.png", **options)
