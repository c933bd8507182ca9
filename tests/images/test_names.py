"""Sources by name: the data sets and their slices, paths that go before them, and what no source answers to."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ganmetrics.errors import SourceError
from ganmetrics.images import open_images
from tests.helpers.pictures import RGB, read

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_paths_that_are_no_source(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.png")
    (tmp_path / "x.tar").write_text("")
    (tmp_path / "x.rar").write_text("")
    (tmp_path / "gone").symlink_to("nowhere")
    expected = {
        "x.png": "is one image; expected a folder of images, so name the folder it lies in",
        "x.tar": "is no tar archive, or a damaged one (empty file), after 0 images",
        "x.rar": "not a kind of file that is understood; expected a folder of images, .zip, .tar, .npy or .npz",
        "gone": "broken link to nowhere",
        "absent": "no such file or folder, and no dataset of that name "
        "(known: digits, mnist, fashion-mnist, cifar10, cifar100, svhn)",
    }
    for name, message in expected.items():
        with pytest.raises(SourceError) as caught:
            open_images(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {message}"
    with pytest.raises(SourceError, match="no such file or folder"):
        open_images("zero\0byte")


def test_digits_are_the_scans():
    scans = np.floor(load_digits().images * 255 / 16 + 0.5).astype(np.uint8)[:, None]
    assert np.array_equal(read("digits").numpy(), scans)
    assert np.array_equal(read("digits[100:]").numpy(), scans[100:])
    assert np.array_equal(read("digits[:3]").numpy(), scans[:3])
    assert open_images("digits[5:9]").name == "digits[5:9]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits[7:7]", "digits[7:7]: expected 0 <= start < stop <= 1797, the number of images"),
        ("digits[9:7]", "digits[9:7]: expected 0 <= start < stop <= 1797, the number of images"),
        ("digits[0:1798]", "digits[0:1798]: expected 0 <= start < stop <= 1797, the number of images"),
        ("digits:test", "digits:test: digits has no parts, only slices; got test"),
        ("mnist:val", "mnist:val: mnist has the parts train and test; got val"),
        ("mnist", "mnist:train: say where its files lie with --data-root FOLDER (data_root=, or GANMETRICS_DATA)"),
        (
            "digits[1:2:3]",
            "digits[1:2:3]: expected NAME, NAME:train or NAME:test with an optional slice, such as mnist:test[0:1000]; "
            "NAME is one of digits, mnist, fashion-mnist, cifar10, cifar100, svhn",
        ),
    ],
)
def test_dataset_names_that_mean_nothing(name, message, monkeypatch):
    monkeypatch.delenv("GANMETRICS_DATA", raising=False)
    with pytest.raises(SourceError) as caught:
        open_images(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["mnist:test", "fashion-mnist", "cifar10:train[0:5]", "cifar100", "svhn:test"])
def test_absent_datasets_say_where_they_were_looked_for(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GANMETRICS_DATA", str(tmp_path))
    with pytest.raises(SourceError, match=re.escape(f"not found or not readable at {tmp_path}/")) as caught:
        open_images(name)
    assert "--data-root" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_goes_before_a_dataset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    Image.fromarray(RGB).save(tmp_path / "digits" / "x.png")
    assert len(open_images("digits")) == 1


needs_mnist = pytest.mark.skipif(not (DATA / "MNIST").is_dir(), reason=f"MNIST is not at {DATA}")


@needs_mnist
def test_mnist_slices_are_the_files(monkeypatch):
    raw = np.fromfile(DATA / "MNIST/raw/t10k-images-idx3-ubyte", np.uint8, offset=16).reshape(-1, 1, 28, 28)
    monkeypatch.setenv("GANMETRICS_DATA", "/nowhere")
    assert np.array_equal(read("mnist:test[10:50]", data_root=DATA).numpy(), raw[10:50])
    monkeypatch.setenv("GANMETRICS_DATA", str(DATA))
    assert open_images("MNIST:test").n_images == 10_000
    assert open_images("mnist").name == "mnist:train"
