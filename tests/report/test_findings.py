"""Numbers behind the words of the page, against the comparison of all pairs written the long way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganmetrics.report import findings
from ganmetrics.report.checks import checks
from ganmetrics.statistics.samples import Samples


def kept(vectors: np.ndarray) -> Samples:
    samples = Samples()
    samples.update(torch.from_numpy(vectors))
    return samples


def reference_ratio(query: np.ndarray, real: np.ndarray, without: int | None = None) -> float:
    """Distance to the nearest real vector over that one's distance to its own nearest other one, the long way."""
    allowed = [j for j in range(len(real)) if j != without]
    nearest = min(allowed, key=lambda j: np.linalg.norm(query - real[j]))
    own = min(np.linalg.norm(real[nearest] - real[j]) for j in allowed if j != nearest)
    return float(np.linalg.norm(query - real[nearest]) / own)


def test_ratios_and_shares_are_what_all_pairs_give(rng: np.random.Generator) -> None:
    real, fake = rng.standard_normal((60, 5)), rng.standard_normal((50, 5)) * 0.8
    fake[:9] = real[:9] + 0.01 * rng.standard_normal((9, 5))  # copies
    fake[20:30] = fake[10:20] + 0.01 * rng.standard_normal((10, 5))  # twins
    one, other = kept(real), kept(fake)
    found = findings.neighbours(one, other, seed=0)
    expected = [reference_ratio(query, real) for query in fake]
    assert found.ratios.tolist() == pytest.approx(expected, rel=1e-9)
    held_out = [reference_ratio(query, real, without=i) for i, query in enumerate(real)]
    assert findings.held_out_ratios(one, 0).tolist() == pytest.approx(held_out, rel=1e-9)
    shares = findings.shares(one, other, found, seed=0)
    assert shares is not None
    assert shares.copied == np.mean(np.array(expected) < findings.CLOSE) >= 9 / 50
    assert shares.copied_real == np.mean(np.array(held_out) < findings.CLOSE)
    drawn = real[findings.drawn(60, 50, 0).numpy()]

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    among_real, among_fake = np.sort(distances(drawn, drawn))[:, 1:], np.sort(distances(fake, fake))[:, 1]
    gap = np.sort(among_real[:, 0])[24]  # torch's median: the lower of the two in the middle
    assert shares.twins == np.mean(among_fake <= findings.TWIN * gap) >= 0.4
    assert shares.twins_real == np.mean(among_real[:, 0] <= findings.TWIN * gap)
    assert shares.variety == pytest.approx(np.sort(among_fake)[24] / gap, rel=1e-9)
    assert shares.distance == pytest.approx(np.sort(distances(fake, drawn).min(1))[24] / gap, rel=1e-9)
    assert shares.reached == np.mean(distances(drawn, fake).min(1) <= among_real[:, findings.K - 1])


def test_fresh_real_vectors_give_the_numbers_that_the_page_names(rng: np.random.Generator) -> None:
    real, fake = kept(rng.standard_normal((900, 6))), kept(rng.standard_normal((900, 6)))
    shares = findings.shares(real, fake, findings.neighbours(real, fake, 0), 0)
    assert shares is not None
    assert shares.copied == pytest.approx(shares.copied_real, abs=0.04)
    assert (shares.variety, shares.distance) == (pytest.approx(1, abs=0.1), pytest.approx(1, abs=0.1))
    assert shares.reached == pytest.approx(1 - 2.0**-findings.K, abs=0.02)  # 97 %


@pytest.mark.parametrize("split", range(5))
def test_real_images_draw_no_verdict(split: int, digits: np.ndarray, rng: np.random.Generator) -> None:
    mixed = digits[rng.permutation(len(digits))]
    real, fake = (kept(part.reshape(200, 64).astype(np.float32)) for part in (mixed[:200], mixed[200:400]))
    shares = findings.shares(real, fake, findings.neighbours(real, fake, split), split)
    assert shares is not None
    details = [findings.detail([torch.from_numpy(one)[None] for one in part]) for part in (mixed[:64], mixed[200:264])]
    assert [check.verdict for check in checks(shares, tuple(details)) if check.level != "fine"] == []


def test_detail_is_the_mean_squared_laplacian() -> None:
    step = torch.zeros(1, 6, 6, dtype=torch.uint8)
    step[:, :, 3:] = 90
    assert findings.detail([step]) == pytest.approx((90**2 * 4 * 2) / 16)  # two columns of four, of 4x4 answers
    assert findings.detail([step[:, :2]]) is None


def test_the_map_puts_clusters_apart(rng: np.random.Generator) -> None:
    vectors = torch.from_numpy(np.concatenate([rng.standard_normal((40, 9)), rng.standard_normal((40, 9)) + 9]))
    places, _ = findings.flat_map(vectors, seed=0)
    again, _ = findings.flat_map(vectors, seed=0)
    assert torch.equal(places, again)
    assert 0 <= places.min() <= places.max() <= 1
    inside, across = torch.cdist(places[:40], places[:40]), torch.cdist(places[:40], places[40:])
    assert inside.max() < across.min()
