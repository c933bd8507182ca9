"""Axes and ranges of arrays: what is understood, what is refused, and the exact bytes that floats become."""

import re

import numpy as np
import pytest
import torch

from ganmetrics.errors import ImageError, OptionError, SourceError
from ganmetrics.images import open_images, to_uint8
from ganmetrics.images.decode import ALPHA
from tests.helpers.pictures import whole

RNG = np.random.default_rng(5)
NHWC = RNG.integers(0, 256, (6, 9, 8, 3), np.uint8)
NCHW = torch.from_numpy(NHWC.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize(
    "images",
    [
        NHWC,
        NCHW,
        NCHW.numpy(),
        torch.from_numpy(NHWC),
        np.asfortranarray(NHWC),
        NHWC[::-1][::-1],
        NCHW.contiguous(memory_format=torch.channels_last),
        np.dstack([NHWC.reshape(54, 8, 3), np.full((54, 8), 255, np.uint8)]).reshape(6, 9, 8, 4),
    ],
)
def test_layout_is_read_from_the_shape(images):
    assert torch.equal(to_uint8(images), NCHW)
    assert to_uint8(images).is_contiguous()
    assert torch.equal(whole(images)[0], NCHW)


def test_read_only_and_negative_strides():
    frozen = NHWC.copy()
    frozen.flags.writeable = False
    assert torch.equal(to_uint8(frozen), NCHW)
    assert torch.equal(to_uint8(NHWC[:, ::-1]), NCHW.flip(2))


def test_grey_stacks_and_one_channel():
    grey = NHWC[..., 0]
    for images in (grey, grey[..., None], grey[:, None]):
        assert torch.equal(to_uint8(images), NCHW[:, :1])


def test_alpha_is_dropped_and_noted():
    alpha = np.full((6, 9, 8, 1), 255, np.uint8)
    alpha[[1, 5], 3] = 254
    pixels, summary = whole(np.concatenate([NHWC, alpha], 3))
    assert torch.equal(pixels, NCHW)
    assert summary.notes == {ALPHA: 2}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 3, 6, 3), 'the shape (5, 3, 6, 3) can be NHWC or NCHW; say which with layout="NHWC" or layout="NCHW"'),
        ((5, 1, 6, 1), 'the shape (5, 1, 6, 1) can be NHWC or NCHW; say which with layout="NHWC" or layout="NCHW"'),
        (
            (3, 28, 28),
            "the shape (3, 28, 28) can be 3 grey images or one single image; say which with "
            'layout="NHW" for a stack of grey images, layout="NCHW" or layout="NHWC" for one image',
        ),
        ((5, 7, 28, 28), "no axis of the shape (5, 7, 28, 28) is 1, 3 or 4 channels (expected NCHW or NHWC)"),
        ((28, 28), "expected images of shape (N, C, H, W), (N, H, W, C) or (N, H, W), got (28, 28)"),
        ((5, 3, 0, 8), "images of shape (5, 3, 0, 8) have no pixel"),
    ],
)
@pytest.mark.parametrize("kind", [torch.zeros, np.zeros])
def test_shapes_that_say_too_little(shape, message, kind):
    images = kind(shape, dtype=torch.uint8 if kind is torch.zeros else np.uint8)
    with pytest.raises(SourceError) as caught:
        to_uint8(images)
    assert str(caught.value) == f"images: {message}"
    with pytest.raises(SourceError, match=re.escape(message)):
        open_images(images)


def test_stated_layout_settles_it():
    images = RNG.integers(0, 256, (5, 3, 6, 3), np.uint8)
    assert to_uint8(images, layout="NHWC").shape == (5, 3, 3, 6)
    assert to_uint8(images, layout="NCHW").shape == (5, 3, 6, 3)
    assert whole(images, layout="NHWC")[0].shape == (5, 3, 3, 6)
    one = RNG.integers(0, 256, (3, 28, 28), np.uint8)
    assert to_uint8(one, layout="NHW").shape == (3, 1, 28, 28)
    assert to_uint8(one, layout="NCHW").shape == whole(one, layout="NCHW")[0].shape == (1, 3, 28, 28)
    assert to_uint8(np.zeros((2, 1, 1, 1), np.uint8)).shape == (2, 1, 1, 1)
    with pytest.raises(SourceError, match=r"expected 1, 3 or 4 channels, got 28 in the shape \(2, 28, 28, 3\) as NCHW"):
        to_uint8(np.zeros((2, 28, 28, 3), np.uint8), layout="NCHW")


RANGE = (
    "images: floating-point images need their range: value_range=(-1, 1) for a tanh output, value_range=(0, 1) for a "
    "sigmoid output (on the command line --value-range -1 1 or --value-range 0 1)"
)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_float_without_range_is_refused(dtype):
    with pytest.raises(SourceError) as caught:
        to_uint8(torch.zeros(2, 3, 8, 8, dtype=dtype))
    assert str(caught.value) == RANGE
    with pytest.raises(SourceError, match="floating-point images need their range"):
        open_images(torch.zeros(2, 3, 8, 8, dtype=dtype))


@pytest.mark.parametrize(
    ("dtype", "way"),
    [
        ("bool", "multiply by 255 and cast to uint8"),
        ("uint16", "cast to uint8 if the values are 0 to 255"),
        ("int64", "cast to uint8 if the values are 0 to 255"),
        ("int8", "cast to uint8 if the values are 0 to 255"),
        ("complex64", "hand over pixels"),
    ],
)
def test_other_dtypes_are_refused(dtype, way):
    with pytest.raises(SourceError) as caught:
        to_uint8(np.zeros((2, 3, 8, 8), dtype), value_range=(0, 1))
    assert str(caught.value) == f"images: expected uint8 or floating-point images, got {dtype}; {way}"


def test_objects_that_are_no_arrays_are_refused():
    with pytest.raises(SourceError, match="expected a tensor or an array of images, got list"):
        to_uint8([1, 2])
    with pytest.raises(SourceError, match="expected uint8 or floating-point images, got object"):
        to_uint8(np.zeros((2, 3, 8, 8), object))


# every float32 that a uint8 pixel can come from, its two neighbours, and noise
def ladder(low, high):
    steps = torch.arange(256, dtype=torch.float64) / 255 * (high - low) + low
    exact = steps.float()
    below, above = (torch.nextafter(exact, torch.full_like(exact, end)) for end in (-9.0, 9.0))
    noise = torch.rand(9984, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    values = torch.cat([exact, below, above, (exact[:-1] + exact[1:]) / 2, noise]).clamp(low, high)
    return values[: len(values) // 36 * 36].reshape(-1, 1, 6, 6)


def test_round_is_bit_equal_to_stylegan():
    images = ladder(-1.0, 1.0)
    peer = (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)  # stylegan3/gen_images.py
    assert torch.equal(to_uint8(images, value_range=(-1, 1)), peer)


def test_truncate_is_bit_equal_to_torchmetrics():
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        images = ladder(0.0, 1.0).to(dtype)
        peer = (images * 255).byte()  # torchmetrics/image/fid.py, normalize=True
        assert torch.equal(to_uint8(images, value_range=(0, 1), quantize="truncate"), peer)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255), (-0.5, 0.5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uint8_survives_the_round_trip(low, high, dtype):
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    images = pixels.to(dtype) / 255 * (high - low) + low
    assert torch.equal(to_uint8(images, value_range=(low, high)), pixels)


def test_big_endian_floats():
    images = (NHWC / 255).astype(">f4")
    assert torch.equal(to_uint8(images, value_range=(0, 1)), NCHW)


def test_wrong_range_is_told_and_slack_is_clamped():
    images = torch.linspace(-1, 1, 2 * 3 * 64).reshape(2, 3, 8, 8)
    with pytest.raises(SourceError) as caught:
        to_uint8(images, value_range=(0, 1))
    assert str(caught.value) == (
        "images: values from -1 to 1 do not fit the stated value_range=(0, 1); state the range that the images have"
    )
    assert to_uint8(images * 1.0019, value_range=(-1, 1)).flatten()[[0, -1]].tolist() == [0, 255]
    with pytest.raises(SourceError, match=r"values from -1\.003 to 1\.003 do not fit"):
        to_uint8(images * 1.003, value_range=(-1, 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_name_their_image(value):
    images = torch.zeros(7, 3, 8, 8)
    images[5, 1, 2, 3] = value
    with pytest.raises(ImageError) as caught:
        to_uint8(images, value_range=(-1, 1), where="batch")
    assert str(caught.value) == "batch[5]: holds NaN or infinite values"
    with pytest.raises(ImageError, match=re.escape("tensor of shape (7, 3, 8, 8)[5]: holds NaN")):
        whole(images, batch_size=2, value_range=(-1, 1))


@pytest.mark.parametrize("value_range", [(1, -1), (0, 0), (0,), 1, "tanh", (0, float("inf")), (float("nan"), 1)])
def test_malformed_range(value_range):
    with pytest.raises(OptionError, match=r"value_range: expected two numbers, low < high, such as \(-1, 1\), got"):
        to_uint8(torch.zeros(2, 3, 8, 8), value_range=value_range)


def test_malformed_layout_and_quantize():
    with pytest.raises(OptionError, match="layout: expected one of NHWC, NCHW, NHW, got 'CHW'"):
        open_images(NHWC, layout="CHW")
    with pytest.raises(OptionError, match="quantize: expected one of round, truncate, got 'floor'"):
        to_uint8(NHWC, quantize="floor")


def test_gradient_and_device_do_not_leak():
    images = torch.zeros(2, 3, 8, 8, requires_grad=True)
    assert not to_uint8(images, value_range=(-1, 1)).requires_grad
    assert images.sum() == 0


@pytest.mark.gpu
def test_stays_on_the_gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    images = torch.zeros(5, 3, 8, 8, device="cuda")
    assert to_uint8(images, value_range=(-1, 1)).is_cuda
    assert whole(images, value_range=(-1, 1))[0].is_cuda
