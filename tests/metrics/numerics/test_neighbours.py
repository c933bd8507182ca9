"""Nearest neighbours and balls against a float64 comparison of all pairs, where a product alone would go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganmetrics.errors import StatisticsError
from ganmetrics.metrics.numerics import distances, neighbours
from ganmetrics.metrics.numerics.distances import Pairs
from ganmetrics.metrics.numerics.neighbours import Balls, ball_counts, nearest, nearest_squared
from ganmetrics.statistics.samples import Samples


def gaussian(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, 30))


def lattice(rng: np.random.Generator, n: int) -> np.ndarray:
    """Ties everywhere, and no rounding at all."""
    return rng.integers(0, 5, (n, 3)).astype(float)


def far_from_zero(rng: np.random.Generator, n: int) -> np.ndarray:
    """Norms that float32 cannot tell apart."""
    return 1000 + 1e-3 * rng.standard_normal((n, 30))


def clusters(rng: np.random.Generator, n: int) -> np.ndarray:
    """Near-duplicates of a few points far apart: centring is of no help, and distances vanish beside the norms."""
    centres = np.random.default_rng(1).standard_normal((6, 30)) * 100
    return centres[np.arange(n) % 6] + 1e-5 * rng.standard_normal((n, 30))


def copies(rng: np.random.Generator, n: int) -> np.ndarray:
    """Most vectors several times."""
    return np.random.default_rng(2).standard_normal((40, 30))[rng.integers(0, 40, n)]


def tiny(rng: np.random.Generator, n: int) -> np.ndarray:
    """Squares that float32 flushes to zero."""
    return 1e-25 * rng.standard_normal((n, 4))


def huge(rng: np.random.Generator, n: int) -> np.ndarray:
    """Squares that float32 calls infinite."""
    return 1e25 * rng.standard_normal((n, 4))


def outlier(rng: np.random.Generator, n: int) -> np.ndarray:
    """One vector beside which float32 cannot see the others."""
    found = rng.standard_normal((n, 30))
    found[0] = 1e6
    return found


def one_point(rng: np.random.Generator, n: int) -> np.ndarray:
    """Nothing but copies: every distance is 0, and so is every norm."""
    return np.full((n, 5), 0.25)


KINDS = [one_point, gaussian, lattice, far_from_zero, clusters, copies, tiny, huge, outlier]


def all_pairs(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([(y.double() - row.double()).square().sum(dim=1) for row in x])


def brute_force(x: Tensor, y: Tensor, k: int, *, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    squared = all_pairs(x, y)
    if exclude_self:
        squared.fill_diagonal_(float("inf"))
    squared, order = squared.sort(dim=1, stable=True)
    return squared[:, :k], order[:, :k]


@pytest.fixture(params=[torch.float32, torch.float64])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(params=[37, 2048])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks with a rest, or one."""
    monkeypatch.setitem(distances.BLOCK, "cpu", request.param)


def drawn(kind, rng: np.random.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return tuple(torch.from_numpy(kind(rng, n)).to(dtype) for n in (120, 150))


def same_neighbours(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=1e-14, atol=0)
    settled = expected[0][:, -1] > 0  # where the last is 0, any of the copies may stand for the others
    assert torch.equal(found[1][settled], expected[1][settled])


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 5, 149])
def test_nearest_is_what_all_pairs_say(kind, k: int, dtype: torch.dtype, rng: np.random.Generator) -> None:
    x, y = drawn(kind, rng, dtype)
    same_neighbours(nearest_squared(x, y, k, device="cpu"), brute_force(x, y, k))
    found = nearest_squared(y, y, k, exclude_self=True, device="cpu")
    same_neighbours(found, brute_force(y, y, k, exclude_self=True))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closed", [True, False])
def test_balls_are_what_all_pairs_say(kind, closed: bool, dtype: torch.dtype, rng: np.random.Generator) -> None:
    """Radii that are distances between the two sets themselves, so that every ball has a pair on its surface."""
    x, y = drawn(kind, rng, dtype)
    squared = all_pairs(x, y)
    around_y, around_x = squared.sort(dim=0).values[4], squared.sort(dim=1).values[:, 7]
    found = ball_counts(x, y, [Balls(around_y, "points", closed), Balls(around_x, "queries", closed)], device="cpu")
    for (by_query, by_point), radii in zip(found, (around_y, around_x[:, None]), strict=True):
        within = squared <= radii if closed else squared < radii
        assert torch.equal(by_query, within.sum(dim=1))
        assert torch.equal(by_point, within.sum(dim=0))


def test_a_product_alone_would_be_wrong(rng: np.random.Generator) -> None:
    """What the above would look like without the second look: torch.cdist's own default, in float32."""
    x, y = drawn(clusters, rng, torch.float32)
    product = torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")
    assert not torch.equal(product.argmin(dim=1), brute_force(x, y, 1)[1][:, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("work", [torch.float32, torch.float64])
def test_bounds_hold(kind, work: torch.dtype, rng: np.random.Generator) -> None:
    x, y = drawn(kind, rng, torch.float64)
    pairs = Pairs(x, y, work)
    exact = all_pairs(x, y) * pairs.scale**2
    rows, columns = torch.arange(120)[:, None], torch.arange(150)
    lower = pairs.of_rows(rows[:, 0]).double()
    assert (lower <= exact).all()
    assert (exact <= lower + pairs.gap(rows, columns)).all()


def test_few_pairs_need_a_second_look(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact distances are what costs: features like a network's need them for a few pairs in a thousand."""
    looked = []
    direct = Pairs.direct
    monkeypatch.setattr(Pairs, "direct", lambda self, i, j: looked.append(len(i)) or direct(self, i, j))
    x, y = (torch.from_numpy(np.maximum(rng.standard_normal((2000, 300)), 0)).float() for _ in range(2))
    radii = nearest_squared(y, y, 5, exclude_self=True, device="cpu")[0]
    assert sum(looked) == 2000 * 11
    looked.clear()
    counts = ball_counts(x, y, [Balls(radii[:, 4], "points", closed=True)], device="cpu")
    assert int(counts[0][0].sum()) > 5000
    assert sum(looked) < 500


def test_samples_on_disk_and_in_memory_agree(rng: np.random.Generator) -> None:
    x, y = drawn(gaussian, rng, torch.float32)
    expected = nearest(x, y, 3, device="cpu")
    for limit in (1000, 10**9):
        stores = Samples(limit), Samples(limit)
        for store, vectors in zip(stores, (x, y), strict=True):
            for part in vectors.split(50):
                store.update(part)
        found = nearest(*stores, 3, device="cpu")
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
    assert expected[0].dtype == torch.float64
    torch.testing.assert_close(expected[0].square(), brute_force(x, y, 3)[0])


def test_what_is_remembered_of_samples_is_of_these(rng: np.random.Generator) -> None:
    x, y = drawn(gaussian, rng, torch.float32)
    stores = Samples(), Samples()
    for store, vectors in zip(stores, (x, y), strict=True):
        store.update(vectors)
    assert torch.equal(nearest_squared(*stores, 5, device="cpu")[0], nearest_squared(x, y, 5, device="cpu")[0])
    found = nearest_squared(*stores, 2, device="cpu")[0]
    assert torch.equal(found, nearest_squared(x, y, 2, device="cpu")[0])
    found.zero_()
    stores[1].update(x)
    grown = torch.cat([y, x])
    assert torch.equal(nearest_squared(*stores, 2, device="cpu")[0], nearest_squared(x, grown, 2, device="cpu")[0])
    other = nearest_squared(stores[1], stores[1], 2, exclude_self=True, device="cpu")
    assert torch.equal(other[0], nearest_squared(grown, grown, 2, exclude_self=True, device="cpu")[0])


def test_the_second_time_costs_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Samples()
    store.update(torch.from_numpy(gaussian(rng, 100)))
    first = nearest_squared(store, store, 5, exclude_self=True, device="cpu")
    monkeypatch.delattr(neighbours, "_nearest_squared")
    assert torch.equal(nearest_squared(store, store, 1, exclude_self=True, device="cpu")[0], first[0][:, :1])


def test_bytes_are_exact(rng: np.random.Generator) -> None:
    x, y = (torch.from_numpy(rng.integers(0, 256, (n, 64), dtype=np.uint8)) for n in (50, 60))
    found = nearest_squared(x, y, 4, device="cpu")
    integers = (x.long()[:, None] - y.long()[None]).square().sum(dim=2)
    assert torch.equal(found[0], integers.sort(dim=1, stable=True).values[:, :4].double())


@pytest.mark.parametrize(
    ("shapes", "k", "exclude_self", "message"),
    [
        (((5, 3), (4, 3)), 5, False, "5 nearest neighbours: expected at least as many points, got 4"),
        (
            ((4, 3), (4, 3)),
            4,
            True,
            "4 nearest neighbours: expected at least as many points beside the vector itself, got 3",
        ),
        (((5, 3), (4, 3)), 1, True, "expected one set to leave each vector itself out, got 5 and 4"),
        (((5, 3), (4, 2)), 1, False, "expected vectors of 2 dimensions, got 3"),
        (((0, 3), (4, 3)), 1, False, "expected at least one vector, got none"),
        (((5,), (4, 2)), 1, False, "expected vectors of shape (N, D), got (5,)"),
    ],
)
def test_what_cannot_be_answered(shapes: tuple, k: int, exclude_self: bool, message: str) -> None:
    with pytest.raises(StatisticsError) as raised:
        nearest(*(torch.zeros(shape) for shape in shapes), k, exclude_self=exclude_self, device="cpu")
    assert str(raised.value) == message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(value: float) -> None:
    vectors = torch.zeros(9, 2, dtype=torch.float64)
    vectors[4, 1] = value
    with pytest.raises(StatisticsError, match=r"^expected finite vectors, got NaN or infinity$"):
        nearest(torch.zeros(3, 2), vectors, 1, device="cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_a_cuda_device_changes_nothing(kind, dtype: torch.dtype, rng: np.random.Generator) -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    x, y = (torch.from_numpy(kind(rng, n)).to(dtype) for n in (1200, 1500))
    same_neighbours(nearest_squared(x, y, 5, device="cuda"), brute_force(x, y, 5))
    radii = nearest_squared(y, y, 5, exclude_self=True, device="cuda")[0][:, 4]
    torch.testing.assert_close(radii, brute_force(y, y, 5, exclude_self=True)[0][:, 4], rtol=1e-14, atol=0)
    counts = ball_counts(x, y, [Balls(radii, "points", closed=True)], device="cuda")[0]
    assert torch.equal(counts[0], (all_pairs(x, y) <= radii).sum(dim=1))


MEASURED = """
import re, sys
import torch
from ganmetrics.metrics.prdc import PRDC
n = int(sys.argv[1])
metric = PRDC(device="cpu")
for side in metric.sides:
    torch.manual_seed(sum(map(ord, side)))
    for start in range(0, n, 500):
        metric.update(torch.randn(500, 2048).abs(), side)
print(metric.results()["precision"].value)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 2**20)
"""


def peak_gib(n: int) -> float:
    """Of a whole process that measures precision, recall, density and coverage of n and n vectors of 2048."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak is read from /proc; that of getrusage begins at the size of the parent")
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, str(n)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return float(ran.stdout.split()[-1])


def test_memory() -> None:
    """Two sets of 2,500: all pairs at once would be 25 MB a matrix, what torch itself takes ten times that."""
    assert peak_gib(2_500) < 1.0


@pytest.mark.slow
def test_memory_of_twenty_thousand() -> None:
    """The goal of issue 6; one matrix of all pairs in float32 alone would be 1.6 GB."""
    assert peak_gib(20_000) < 1.86  # 2 GB
