"""Precision, recall, density and coverage: by hand, in closed form, and against the peers."""

from __future__ import annotations

import contextlib
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import ganmetrics as gm
from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.prdc import KYNKAANNIEMI, NAEEM, PRDC, Manifold
from ganmetrics.protocols import PROTOCOLS, MetricOptions
from tests.conftest import write_folder
from tests.helpers.commands import PIXELS, Cli
from tests.helpers.manifolds import NAMES, fed, prdc, two_sides


def line(*points: float) -> Tensor:
    return torch.tensor(points, dtype=torch.float64)[:, None]


def test_precision_is_of_the_fakes() -> None:
    """Fakes at one end of the data: precise, and not diverse. torch-fidelity#58 once had them swapped."""
    real = torch.linspace(0, 100, 101, dtype=torch.float64)[:, None]
    fake = torch.linspace(40.05, 44.95, 50, dtype=torch.float64)[:, None]
    values = prdc(real, fake)
    assert values["precision"] == 1
    # The fakes' own balls, of radius 0.3 at the ends, hold the five reals from 40 to 44 and 45 in reach of 44.95.
    assert values["recall"] == pytest.approx(6 / 101)
    swapped = prdc(fake, real)
    assert (swapped["precision"], swapped["recall"]) == (values["recall"], values["precision"])


def test_by_hand() -> None:
    """Reals 0, 1, 3, 7 with k = 1 have radii 1, 1, 2, 4; fakes -1, 2, 5.5, 20 have 3, 3, 3.5, 14.5."""
    real, fake = line(0, 1, 3, 7), line(-1, 2, 5.5, 20)
    closed, within = Manifold(1, closed=True), Manifold(1, closed=False)
    # Distances by fake: -1: 1 2 4 8; 2: 2 1 1 5; 5.5: 5.5 4.5 2.5 1.5; 20: 20 19 17 13.
    assert prdc(real, fake, precision_recall=closed, density_coverage=closed) == {
        "precision": 3 / 4,  # -1 on the surface of 0's ball, 2 on that of 1's and within 3's, 5.5 in 7's
        "recall": 1.0,
        "density": (1 + 2 + 1 + 0) / 4,
        "coverage": 1.0,
    }
    assert prdc(real, fake, precision_recall=within, density_coverage=within) == {
        "precision": 2 / 4,
        "recall": 1.0,
        "density": (0 + 1 + 1 + 0) / 4,
        "coverage": 2 / 4,  # the balls of 3 and 7
    }


def test_the_surface_is_what_tells_the_conventions_apart(rng: np.random.Generator) -> None:
    """Two grids side by side: the outermost column of one is at distance 1, on the surface of balls of radius 1."""
    real = torch.cartesian_prod(torch.arange(10), torch.arange(10)).double()
    fake = real + torch.tensor([10, 0])
    open_, closed = (prdc(real, fake, precision_recall=Manifold(3, closed=c)) for c in (False, True))
    assert closed["precision"] == 10 / 100
    assert open_["precision"] == 2 / 100  # within the balls of the corners, whose third neighbour is at sqrt 2
    copies = torch.zeros(50, 2)
    assert prdc(copies, copies) == {"precision": 1, "recall": 1, "density": 0, "coverage": 0}


@pytest.mark.parametrize("k", [1, 5])
def test_closed_form_of_coverage_where_real_and_fake_are_alike(k: int, rng: np.random.Generator) -> None:
    """Naeem et al., Lemma 3: with N reals and M fakes of one distribution E = 1 - C(N-1, k) / C(M+N-1, k) = about
    1 - 2^-k, whatever the distribution. The lemma counts k real neighbours before the first fake one.
    """
    n, m, trials = 60, 80, 60
    values = [
        prdc(
            *(torch.from_numpy(rng.standard_normal((size, 3))) for size in (n, m)), density_coverage=Manifold(k, False)
        )
        for _ in range(trials)
    ]
    expected = 1 - math.comb(n - 1, k) / math.comb(m + n - 1, k)
    coverage = np.array([value["coverage"] for value in values])
    assert coverage.mean() == pytest.approx(expected, abs=4 * coverage.std() / trials**0.5)


@pytest.mark.parametrize("k", [1, 5])
def test_closed_form_of_density_where_real_and_fake_are_alike(k: int, rng: np.random.Generator) -> None:
    """Naeem et al., section 3.3: E = 1. Of N reals, the other N - 1 and a fake are alike, so the fake is among the k
    nearest with chance k / N; N balls over k make 1.
    """
    trials = 60
    drawn = [
        prdc(*(torch.from_numpy(rng.standard_normal((60, 3))) for _ in range(2)), density_coverage=Manifold(k, False))
        for _ in range(trials)
    ]
    density = np.array([value["density"] for value in drawn])
    assert density.mean() == pytest.approx(1, abs=4 * density.std() / trials**0.5)


def reference(real: Tensor, fake: Tensor, k: int, closed: bool) -> dict[str, float]:
    """In float64, over whole matrices, with numpy."""
    x, y = real.double().numpy(), fake.double().numpy()
    cross = np.linalg.norm(x[:, None] - y[None], axis=2)
    radii_x, radii_y = (np.sort(np.linalg.norm(a[:, None] - a[None], axis=2), axis=1)[:, k] for a in (x, y))
    compare = np.less_equal if closed else np.less
    in_x, in_y = compare(cross, radii_x[:, None]), compare(cross, radii_y[None])
    return {
        "precision": in_x.any(axis=0).mean(),
        "recall": in_y.any(axis=1).mean(),
        "density": in_x.sum(axis=0).mean() / k,
        "coverage": in_x.any(axis=1).mean(),
    }


@pytest.fixture
def features(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return two_sides(rng)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_equals_a_reference_in_float64(features: tuple[Tensor, Tensor], k: int, closed: bool) -> None:
    manifold = Manifold(k, closed)
    values = prdc(*features, precision_recall=manifold, density_coverage=manifold)
    assert values == pytest.approx(reference(*features, k, closed), rel=1e-12)
    assert min(values.values()) > 0.01


@pytest.mark.parametrize("k", [1, 5])
def test_equals_the_prdc_package(features: tuple[Tensor, Tensor], k: int) -> None:
    peer = pytest.importorskip("prdc", reason="a peer; pip install 'ganmetrics[peers]'")
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = peer.compute_prdc(*(side.double().numpy() for side in features), nearest_k=k)
    manifold = Manifold(k, closed=False)
    ours = prdc(*features, precision_recall=manifold, density_coverage=manifold)
    assert ours == pytest.approx({name: float(value) for name, value in theirs.items()}, rel=1e-12)
    if k == NAEEM.k:
        default = prdc(*features)
        assert {name: default[name] for name in NAMES[2:]} == {name: ours[name] for name in NAMES[2:]}


@pytest.mark.parametrize("save_memory", [True, False])
def test_equals_torch_fidelity(features: tuple[Tensor, Tensor], save_memory: bool) -> None:
    peer = pytest.importorskip("torch_fidelity.metric_prc", reason="a peer; pip install 'ganmetrics[peers]'")
    from torch_fidelity.defaults import DEFAULTS

    real, fake = (side.double() for side in features)  # in float32 its distances are off by 1e-3 of themselves
    theirs = peer.prc_features_to_metric(fake, real, **{**DEFAULTS, "verbose": False, "save_cpu_ram": save_memory})
    metric = PRDC.configured(PROTOCOLS["torch-fidelity"], MetricOptions(device="cpu"))
    metric.update(features[0], "real")
    metric.update(features[1], "fake")
    ours = {name: result.value for name, result in metric.results().items()}
    assert [ours["precision"], ours["recall"]] == pytest.approx([theirs["precision"], theirs["recall"]], rel=1e-6)
    assert DEFAULTS["prc_neighborhood"] == KYNKAANNIEMI.k
    assert ours["precision"] != ours["recall"]


def test_protocol_says_k_and_convention(features: tuple[Tensor, Tensor]) -> None:
    said = {name: result.protocol for name, result in fed(*features).results().items()}
    assert said["precision"] == said["recall"] == {"k": 3, "within": "distance <= that to neighbour 3"}
    assert said["density"] == said["coverage"] == {"k": 5, "within": "distance < that to neighbour 5"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_k_is_for_all_four(features: tuple[Tensor, Tensor], protocol: str) -> None:
    metric = PRDC.configured(PROTOCOLS[protocol], MetricOptions(k=7))
    assert [manifold.k for manifold in metric.manifolds.values()] == [7] * 4
    assert [manifold.closed for manifold in metric.manifolds.values()] == [True, True, False, False]


@pytest.mark.parametrize(("n_real", "n_fake", "side", "n"), [(5, 40, "real", 5), (40, 3, "fake", 3), (0, 9, "real", 0)])
def test_too_few_images(n_real: int, n_fake: int, side: str, n: int) -> None:
    with pytest.raises(StatisticsError) as raised:
        prdc(torch.randn(n_real, 4), torch.randn(n_fake, 4))
    assert str(raised.value) == (
        f"precision, recall, density and coverage with k = 5 need at least 6 {side} images, got {n}; "
        "give more images or a smaller --k"
    )


def test_just_enough_images() -> None:
    assert prdc(torch.eye(6), torch.eye(6))["recall"] == 1


def test_unlike_dimensions() -> None:
    with pytest.raises(StatisticsError, match=r"^expected vectors of 5 dimensions, got 4$"):
        prdc(torch.randn(9, 5), torch.randn(9, 4))


def test_few_images_are_warned_of(features: tuple[Tensor, Tensor]) -> None:
    for result in fed(*features).results().values():
        assert result.warnings == [
            "310 real and 270 fake images: the balls are wide and the value depends on both numbers; compare it only "
            "at these, or give at least 10000 a side"
        ]


def test_new_images_are_seen(features: tuple[Tensor, Tensor]) -> None:
    """What is kept between `results` and `replicates` is of what has been seen, after a reset too."""
    metric = fed(*features)
    metric.results()
    metric.reset("fake")
    metric.update(features[0][:270], "fake")
    assert metric.results()["precision"].value == 1
    metric.update(torch.full((270, 96), 1e4), "fake")
    assert metric.results()["precision"].value == 0.5


def test_statistics_are_left_as_they_are(features: tuple[Tensor, Tensor]) -> None:
    metric = fed(*features)
    before = [torch.cat(list(metric.statistics[side].blocks())) for side in metric.sides]
    metric.results()
    metric.replicates(100, 0)
    for side, kept in zip(metric.sides, before, strict=True):
        assert torch.equal(torch.cat(list(metric.statistics[side].blocks())), kept)


def test_gm_prdc_and_the_command_line(cli: Cli, rng: np.random.Generator, tmp_path: Path) -> None:
    for name, n in (("real", 30), ("fake", 25)):
        write_folder(tmp_path / name, rng.integers(0, 256, (n, 2, 2, 3), dtype=np.uint8))
    scores = gm.prdc(tmp_path / "real", tmp_path / "fake", features="pixels", k=4, confidence=True)
    assert list(scores) == list(NAMES)
    printed = cli("prdc", "real", "fake", *PIXELS, "--k", "4", "--json").scores
    for score, row in zip(scores.values(), printed, strict=True):
        assert (row["metric"], row["value"]) == (f"{score.metric}", float(score))
        assert (row["n_real"], row["n_fake"], row["better"], row["protocol"]["k"]) == (30, 25, "higher", 4)
    low, high = scores["density"].interval
    assert low < float(scores["density"]) < high
    error = cli("prdc", "real", "fake", *PIXELS, "--k", "25").error
    assert error == (
        "precision, recall, density and coverage with k = 25 need at least 26 fake images, got 25; "
        "give more images or a smaller --k"
    )
