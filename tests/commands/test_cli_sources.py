"""Sources and options on the command line: the exact line that a mistake is answered with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import timm

from ganmetrics.images.pickles import refusal
from tests.conftest import write_folder
from tests.helpers.commands import PIXELS, Cli
from tests.helpers.spoiled import BYTES

KINDS = ".avif .bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
DATASETS = "digits, mnist, fashion-mnist, cifar10, cifar100, svhn"
NOT_THERE = f"no such file or folder, and no dataset of that name (known: {DATASETS})"


pytestmark = pytest.mark.usefixtures("real_and_fake")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("nope", f"nope: {NOT_THERE}"),
        ("", f"'': {NOT_THERE}"),
        (f"no{BYTES}\nsuch", rf"nocaf\xe9\nsuch: {NOT_THERE}"),
        ("empty", f"empty: no image in this folder; searched it for {KINDS}; saw no other file; no subfolder"),
        (
            "folders",
            f"folders: no image in this folder; searched it for {KINDS}; saw no other file; subfolders in, in/in",
        ),
        (
            "others",
            f"others: no image in this folder; searched it for {KINDS}; saw 2 .txt, 1 without extension; no subfolder",
        ),
        ("others/a.txt", "others/a.txt: not a kind of file that is understood; expected a folder of images, .zip, "
         ".tar, .npy or .npz"),
        ("real/00000.png", "real/00000.png: is one image; expected a folder of images, so name the folder it lies in"),
        ("text.zip", "text.zip: is no zip archive, or a damaged one (File is not a zip file); write it again"),
        ("text.npz", "text.npz: is no .npz archive, or a damaged one (File is not a zip file)"),
        ("link", "link: broken link to nowhere"),
        ("digits:test", "digits:test: digits has no parts, only slices; got test"),
        ("digits[7:3]", "digits[7:3]: expected 0 <= start < stop <= 1797, the number of images"),
        ("mnist:test", "mnist:test: say where its files lie with --data-root FOLDER (data_root=, or GANMETRICS_DATA)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["fid", "fid the other way round", "stats"])
def test_sources_that_are_none(command: str, source: str, error: str, cli: Cli):
    for folder in ("empty", "folders/in/in", "others"):
        Path(folder).mkdir(parents=True)
    for name in ("others/a.txt", "others/b.txt", "others/c"):
        Path(name).touch()
    for name in ("text.zip", "text.npz"):
        Path(name).write_text("text")
    os.symlink("nowhere", "link")
    arguments = {"fid": ("fid", source, "fake"), "stats": ("stats", source, "-o", "new.npz")}
    assert cli(*arguments.get(command, ("fid", "real", source)), *PIXELS).error == error
    assert not Path("new.npz").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ("--protocol", "clean-fid", *PIXELS),
            "--protocol clean-fid reproduces a tool that runs the Inception network; leave it out with "
            "--features pixels",
        ),
        (
            ("--features", "resnet"),
            "--features: expected one of inception, efficientnet-lite0, pixels, timm or module:attribute, got 'resnet'",
        ),
        (
            ("--features", "inception:99"),
            "--features inception:99: expected one of 64, 192, spatial, 768, 2048, logits-unbiased, logits after the "
            "colon",
        ),
        (("--features", "pixels:3"), "--features pixels has no taps: leave out :3"),
        (
            ("--features", "no_such_module:f"),
            "--features no_such_module:f: cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ((*PIXELS, "--device", "gpu"), "--device: expected auto, cpu, cuda or cuda:N, got 'gpu'"),
        (
            (*PIXELS, "--value-range", "1", "0"),
            "value_range: expected two numbers, low < high, such as (-1, 1), got (1.0, 0.0)",
        ),
    ],
)
def test_options_that_mean_nothing(options: tuple[str, ...], error: str, cli: Cli):
    assert cli("fid", "real", "fake", *options).error == error


def test_unknown_timm_model_is_answered_with_close_ones(cli: Cli):
    error = cli("fid", "real", "fake", "--features", "timm:resnet1818").error
    expected = f"--features timm:resnet1818: timm {timm.__version__} has no model of this name; close to resnet18."
    assert error.startswith(expected)


def test_timm_weights_offline(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    def offline(name: str, **options: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(timm, "create_model", offline)
    assert cli("fid", "real", "fake", "--features", "timm:resnet18").error == (
        "--features timm:resnet18: its pretrained weights cannot be loaded (no route); give --weights PATH, or use "
        "--features efficientnet-lite0, which needs no download"
    )


def test_inception_score_needs_logits_and_images(cli: Cli):
    assert cli("is", "fake", *PIXELS).error == (
        "--features pixels: the Inception Score is over class logits, which this extractor lacks (it gives features); "
        "use --features inception"
    )
    assert cli("is", "fake", "--protocol", "clean-fid").error == (
        "--protocol clean-fid: that tool has no Inception Score; expected one of tensorflow, adm, torch-fidelity, "
        "torchmetrics"
    )
    assert cli("is", "digits[0:4]", "--features", "efficientnet-lite0").error == (
        "an Inception Score over 10 splits needs at least two images in each, 20 in all, got 4; give more images or "
        "fewer --splits"
    )


def test_cuda_where_there_is_none(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert cli("fid", "real", "fake", *PIXELS, "--device", "cuda").error == (
        "--device cuda: this machine has 0 CUDA devices; use --device cpu"
    )


def test_one_image_is_no_distribution(cli: Cli, rng: np.random.Generator):
    write_folder(Path("one"), rng.integers(0, 256, (1, 2, 2, 3), dtype=np.uint8))
    assert cli("fid", "one", "fake", *PIXELS).error == "a Fréchet distance needs at least 2 real images, got 1"
    assert cli("fid", "real", "one", *PIXELS).error == "a Fréchet distance needs at least 2 fake images, got 1"


def test_pixels_of_mixed_sizes(cli: Cli, rng: np.random.Generator):
    write_folder(Path("fake/larger"), rng.integers(0, 256, (2, 3, 4, 3), dtype=np.uint8))
    assert cli("fid", "real", "fake", *PIXELS).error == (
        "features pixels: expected images of one size and one number of channels, got 2x2 RGB and 4x3 RGB; "
        "resize them first"
    )


def test_float_arrays_need_their_range(cli: Cli, rng: np.random.Generator, real_and_fake: dict[str, np.ndarray]):
    """A stated range gives the value of the same images in bytes; none, a wrong one or NaN gives none."""
    floats = real_and_fake["fake"].astype(np.float32) / 127.5 - 1
    np.save("tanh.npy", floats)
    asked = ("fid", "real", "tanh.npy", *PIXELS)
    assert cli(*asked).error == (
        "tanh.npy: floating-point images need their range: value_range=(-1, 1) for a tanh output, value_range=(0, 1) "
        "for a sigmoid output (on the command line --value-range -1 1 or --value-range 0 1)"
    )
    assert cli(*asked, "--value-range", "0", "1", "--batch-size", "60").error == (
        f"tanh.npy: values from {floats.min():.4g} to {floats.max():.4g} do not fit the stated value_range=(0, 1); "
        "state the range that the images have"
    )
    (stated,) = cli(*asked, "--value-range", "-1", "1", "--json").scores
    (of_bytes,) = cli("fid", "real", "fake", *PIXELS, "--json").scores
    assert stated["value"] == pytest.approx(of_bytes["value"], rel=1e-9)
    floats[3, 0, 1, 2] = np.nan
    np.save("nan.npy", floats)
    for policy in ("fail", "skip"):
        ran = cli("fid", "real", "nan.npy", *PIXELS, "--value-range", "-1", "1", "--on-error", policy)
        assert ran.error == "nan.npy[3]: holds NaN or infinite values"


def test_arrays_that_are_no_images(cli: Cli):
    np.save("objects.npy", np.array([None, 1]))
    assert cli("fid", "objects.npy", "fake", *PIXELS).error == refusal("objects.npy")
    np.save("none.npy", np.zeros((0, 2, 2, 3), np.uint8))
    assert cli("fid", "none.npy", "fake", *PIXELS).error == "none.npy: holds no image, its shape is (0, 2, 2, 3)"
    np.save("integers.npy", np.zeros((3, 2, 2, 3), np.int64))
    assert cli("fid", "integers.npy", "fake", *PIXELS).error == (
        "integers.npy: expected uint8 or floating-point images, got int64; cast to uint8 if the values are 0 to 255"
    )
    np.save("either.npy", np.zeros((4, 3, 2, 3), np.uint8))
    assert cli("fid", "either.npy", "fake", *PIXELS).error == (
        'either.npy: the shape (4, 3, 2, 3) can be NHWC or NCHW; say which with layout="NHWC" or layout="NCHW"'
    )


OWN = """
import torch
def flat(images): return images.flatten(1).float()
def raises(images): raise ValueError("first\\nsecond")
def maps(images): return images
constant = 3
class Needs(torch.nn.Module):
    def __init__(self, width): super().__init__()
"""


@pytest.mark.parametrize(
    ("features", "error"),
    [
        ("own:raises", "features own-raises: ValueError: first second (own.py, line 4); it is handed uint8 images "
         "(8, 3, 2, 2) in 0..255"),
        ("own:maps", "features own-maps: expected a tensor of shape (8, D) for 8 images, got (8, 3, 2, 2); pool or "
         "flatten inside the extractor"),
        ("own:constant", "--features own:constant: expected a callable or a torch.nn.Module, got 3"),
        ("own:absent", "--features own:absent: cannot be imported: AttributeError: module 'own' has no attribute "
         "'absent'"),
        ("broken:f", "--features broken:f: cannot be imported: ZeroDivisionError: division by zero (broken.py, "
         "line 1)"),
        ("script:f", "--features script:f: cannot be imported: SystemExit: 0 (script.py, line 2)"),
    ],
)  # fmt: skip
def test_extractor_of_the_users_own(features: str, error: str, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    """Above all `script`: its `sys.exit(0)` once ended the run with success and no score."""
    for name, text in (("own", OWN), ("broken", "1 / 0"), ("script", "import sys\nsys.exit(0)")):
        Path(f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    ran = cli("fid", "real", "fake", "--features", features, "--batch-size", "8")
    sys.modules.pop("own", None)
    assert ran.error == error
