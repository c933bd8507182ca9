"""Arrays in `.npy` and `.npz` files: by rule, memory-mapped, never unpickled, damaged."""

import numpy as np
import pytest
import torch

from ganmetrics.errors import SourceError
from ganmetrics.images import open_images
from tests.helpers.pictures import whole

RNG = np.random.default_rng(5)
NHWC = RNG.integers(0, 256, (6, 9, 8, 3), np.uint8)
NCHW = torch.from_numpy(NHWC.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_by_rule(save, tmp_path):
    path = tmp_path / "x.npz"
    for arrays in ({"arr_0": NHWC, "arr_1": np.arange(6)}, {"samples": NHWC, "mu": np.zeros(9)}):
        save(path, **arrays)
        source = open_images(path)
        assert source.name == str(path)
        assert torch.equal(whole(source)[0], NCHW)
    save(path, arr_0=NHWC, other=NHWC)
    assert torch.equal(whole(path)[0], NCHW)


def test_npy_is_memory_mapped_in_any_order(tmp_path):
    for images in (NHWC, np.asfortranarray(NHWC), NHWC[..., 0]):
        np.save(tmp_path / "x.npy", images)
        source = open_images(tmp_path / "x.npy")
        assert isinstance(source._images, np.memmap)
        assert torch.equal(whole(source)[0], NCHW[:, : 1 if images.ndim == 3 else 3])
    np.savez(tmp_path / "x.npz", NHWC)
    assert isinstance(open_images(tmp_path / "x.npz")._images, np.memmap)


class Trap:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_is_unpickled(tmp_path):
    traps = np.array([Trap(str(tmp_path / "sprung"))], dtype=object)
    np.save(tmp_path / "x.npy", traps, allow_pickle=True)
    np.savez(tmp_path / "x.npz", arr_0=np.array([[[traps[0]]]], dtype=object))
    np.savez_compressed(tmp_path / "y.npz", arr_0=np.array([[[traps[0]]]], dtype=object))
    for name in ("x.npy", "x.npz", "y.npz"):
        with pytest.raises(SourceError, match="holds Python objects, which only pickle could read"):
            open_images(tmp_path / name)
    (tmp_path / "z.npy").write_bytes(b"\x80\x09.")
    with pytest.raises(SourceError, match=r"z.npy: is no array in NumPy's format"):
        open_images(tmp_path / "z.npy")
    assert not (tmp_path / "sprung").exists()


def test_npz_without_one_image_array(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(SourceError) as caught:
        open_images(path)
    assert str(caught.value) == (
        f"{path}: holds statistics (mu and sigma), not images; this use needs the images themselves"
    )
    np.savez(path, a=NHWC, b=NHWC)
    with pytest.raises(SourceError) as caught:
        open_images(path)
    assert str(caught.value) == (
        f"{path}: expected images in an array arr_0, or in the only array with 3 or 4 axes; found a (6, 9, 8, 3), "
        f"b (6, 9, 8, 3); name one, as in {path}:a"
    )


def test_damaged_array_files(tmp_path):
    np.save(tmp_path / "x.npy", NHWC)
    data = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(data[:-100])
    with pytest.raises(SourceError, match=r"truncated file: the shape \(6, 9, 8, 3\) needs 1,296 bytes"):
        open_images(tmp_path / "x.npy")
    (tmp_path / "x.npz").write_text("no zip")
    with pytest.raises(SourceError, match=r"is no \.npz archive, or a damaged one"):
        open_images(tmp_path / "x.npz")
    np.save(tmp_path / "e.npy", NHWC[:0])
    with pytest.raises(SourceError, match=r"holds no image, its shape is \(0, 9, 8, 3\)"):
        open_images(tmp_path / "e.npy")
    with pytest.raises(SourceError, match=r"holds no image, its shape is \(0, 9, 8, 3\)"):
        open_images(NHWC[:0])
