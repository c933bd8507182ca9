"""Each resize rule against the tool it is named after, on images drawn afresh, up and down, square and not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ganmetrics.images.resize import RESIZES
from tests.conftest import peer

SIZES = [(1, 1), (8, 8), (32, 32), (17, 45), (299, 299), (300, 298), (512, 640), (1, 700)]


def draw(rng: np.random.Generator, n: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, (n, 3, height, width), dtype=np.uint8))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [299, 224])
def test_pil_bicubic_is_pillow(rng: np.random.Generator, height: int, width: int, size: int) -> None:
    images = draw(rng, 2, height, width)
    ours = RESIZES["pil-bicubic"](images, size, torch.float32)
    for image, mine in zip(images, ours, strict=True):
        for channel, result in zip(image, mine, strict=True):
            plain = Image.fromarray(channel.numpy().astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
            np.testing.assert_allclose(result.numpy(), np.asarray(plain).clip(0, 255), rtol=1e-6, atol=255e-7)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pil_bicubic_is_clean_fid(rng: np.random.Generator, height: int, width: int) -> None:
    resize = peer("cleanfid.resize")
    images = draw(rng, 1, height, width)
    theirs = resize.build_resizer("clean")(images[0].permute(1, 2, 0).numpy())
    ours = RESIZES["pil-bicubic"](images, 299, torch.float32)[0].permute(1, 2, 0)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=255e-7)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tf1_bilinear_is_torch_fidelity_to_the_bit(
    rng: np.random.Generator, height: int, width: int, dtype: torch.dtype
) -> None:
    tf1 = peer("torch_fidelity.interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    images = draw(rng, 2, height, width).to(dtype)
    theirs = tf1(images, size=(299, 299), align_corners=False)
    torch.testing.assert_close(RESIZES["tf1-bilinear"](images, 299, dtype), theirs, rtol=0, atol=0)


def test_tf1_bilinear_by_hand() -> None:
    """In 2 -> out 4: positions 0, .5, 1, 1.5 with the upper neighbour clamped; half-pixel centres give other values."""
    row = torch.tensor([0.0, 100.0]).expand(1, 1, 2, 2)
    assert RESIZES["tf1-bilinear"](row, 4, row.dtype)[0, 0, 0].tolist() == [0, 50, 100, 100]
    assert RESIZES["bilinear"](row, 4, row.dtype)[0, 0, 0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("name", RESIZES)
def test_rules_keep_constants_identity_and_range(rng: np.random.Generator, name: str) -> None:
    resize = RESIZES[name]
    flat = torch.full((1, 3, 40, 60), 77.0)
    torch.testing.assert_close(resize(flat, 299, torch.float32), torch.full((1, 3, 299, 299), 77.0), rtol=1e-6, atol=0)
    same = draw(rng, 1, 299, 299).float()
    torch.testing.assert_close(resize(same, 299, torch.float32), same, rtol=0, atol=1e-4)
    extreme = resize((draw(rng, 4, 33, 21) > 127).float() * 255, 64, torch.float32)
    assert 0 <= float(extreme.min()) <= float(extreme.max()) <= 255


@pytest.mark.parametrize("name", RESIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batched_equals_one_by_one(rng: np.random.Generator, name: str, dtype: torch.dtype) -> None:
    images = draw(rng, 5, 50, 31)
    one_by_one = torch.cat([RESIZES[name](image[None], 99, dtype) for image in images])
    whole = RESIZES[name](images, 99, dtype)
    assert whole.dtype == dtype
    torch.testing.assert_close(RESIZES[name](images.to(dtype), 99, dtype), whole, rtol=0, atol=0)
    torch.testing.assert_close(whole, one_by_one, rtol=1e-6, atol=1e-4)


def test_the_rules_differ(rng: np.random.Generator) -> None:
    images = draw(rng, 1, 40, 40)
    results = [resize(images, 299, torch.float32) for resize in RESIZES.values()]
    for i, one in enumerate(results[:2]):
        for other in results[i + 1 :]:
            if other is not results[2] or i == 0:  # antialiasing changes nothing where an image grows
                assert (one - other).abs().max() > 1
    shrunk = [RESIZES[name](images, 10, torch.float32) for name in ("bilinear", "bilinear-antialias")]
    assert (shrunk[0] - shrunk[1]).abs().max() > 1
